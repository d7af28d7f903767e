//! System calls that a seccomp program refuses by asking
//! (`SECCOMP_RET_USER_NOTIF`, seccomp_unotify(2)): PID 1 of a job hears of each,
//! counts it and answers with the error that the policy has for it.
//!
//! Only refusals are asked about, and every answer is an error: nothing is ever
//! allowed or done on behalf of the job, so that what the job's memory holds
//! between the question and the answer does not matter.

use crate::Errno;
use crate::call::call;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

// linux/seccomp.h: _IOWR('!', 0, struct seccomp_notif), _IOWR('!', 1, struct
// seccomp_notif_resp), _IOW('!', 4, __u64).
const NOTIF_RECV: usize = 0xc050_2100;
const NOTIF_SEND: usize = 0xc018_2101;
const NOTIF_SET_FLAGS: usize = 0x4008_2104;
const SYNC_WAKE_UP: usize = 1;

const _: () = assert!(size_of::<libc::seccomp_notif>() == 0x50);
const _: () = assert!(size_of::<libc::seccomp_notif_resp>() == 0x18);

/// Where the questions about one process tree arrive. Readable when there is one.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One refused call that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    id: u64,
    /// Number of the system call.
    pub call: u32,
    /// Its arguments as the registers held them.
    pub args: [u64; 6],
}

/// Installs a seccomp program for the calling thread, as
/// [`crate::confine::install_filter`] does, and returns where its questions
/// arrive. Child-safe.
///
/// A signal that does not end the process waits until the answer is there where
/// the kernel can do that (Linux 5.19).
///
/// # Errors
/// Those of `install_filter`; EBUSY when the thread has such a program already.
pub fn install_filter_and_listen(program: &[u8]) -> Result<Listener, Errno> {
    const WAIT_KILLABLE: libc::c_ulong = 1 << 5;
    let base = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let fd = match crate::confine::set_filter(program, base | WAIT_KILLABLE) {
        Err(Errno::INVAL) => crate::confine::set_filter(program, base),
        other => other,
    }?;
    let fd = i32::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: with NEW_LISTENER the kernel made a fresh descriptor for us.
    Ok(Listener(unsafe { OwnedFd::from_raw_fd(fd) }))
}

impl Listener {
    /// Asks the kernel to hand the processor over directly between the two sides,
    /// which makes a question about four times cheaper. A wish: before Linux 6.6
    /// there was no such thing.
    pub fn prefer_direct_switches(&self) {
        // SAFETY: this command takes its argument by value.
        let _ = unsafe { self.control(NOTIF_SET_FLAGS, SYNC_WAKE_UP) };
    }

    /// The next question. Blocks when there is none: poll first.
    ///
    /// # Errors
    /// ENOENT when the asking process has gone meanwhile, EINTR.
    pub fn receive(&self) -> Result<Question, Errno> {
        // SAFETY: plain data, which the kernel wants to be zero.
        let mut notice: libc::seccomp_notif = unsafe { core::mem::zeroed() };
        // SAFETY: the pointer is to a structure of the size that the command encodes.
        unsafe { self.control(NOTIF_RECV, (&raw mut notice) as usize) }?;
        Ok(Question { id: notice.id, call: notice.data.nr.cast_unsigned(), args: notice.data.args })
    }

    /// Lets the call fail with this error number (1 to 4095).
    ///
    /// # Errors
    /// ENOENT when the asking process has gone meanwhile.
    pub fn refuse(&self, question: Question, errno: u16) -> Result<(), Errno> {
        // Zero would be a success that never happened.
        let error = -i32::from(errno.max(1));
        let mut answer = libc::seccomp_notif_resp { id: question.id, val: 0, error, flags: 0 };
        // SAFETY: as in receive.
        unsafe { self.control(NOTIF_SEND, (&raw mut answer) as usize) }?;
        Ok(())
    }

    /// ioctl(2).
    ///
    /// # Safety
    /// The argument is what the command takes.
    unsafe fn control(&self, command: usize, argument: usize) -> Result<usize, Errno> {
        // SAFETY: as the caller says.
        unsafe { call(libc::SYS_ioctl, [self.0.as_raw_fd() as usize, command, argument]) }
    }
}
