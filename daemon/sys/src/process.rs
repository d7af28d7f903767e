//! Programs: executing one by descriptor, and what PID 1 of a job needs.

use crate::Errno;
use crate::call::call;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char};
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// An argument or environment vector in the form execve(2) takes, made before
/// the clone.
#[derive(Debug)]
pub struct CStringVector {
    // Keeps the strings that the pointers point into.
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers point into the strings owned beside them, which nobody changes.
unsafe impl Send for CStringVector {}
// SAFETY: as above; shared references only read.
unsafe impl Sync for CStringVector {}

impl CStringVector {
    /// Copies the strings.
    ///
    /// # Errors
    /// EINVAL for a string with a NUL byte in it.
    pub fn new<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Result<Self, Errno> {
        let strings = items
            .into_iter()
            .map(|s| CString::new(s.as_ref()).map_err(|_| Errno::INVAL))
            .collect::<Result<Vec<_>, _>>()?;
        let pointers =
            strings.iter().map(|s| s.as_ptr()).chain(core::iter::once(core::ptr::null())).collect();
        Ok(Self { _strings: strings, pointers })
    }
}

/// Executes the file behind a descriptor. Returns only on failure. Child-safe.
#[must_use]
pub fn execute_descriptor(
    file: BorrowedFd<'_>,
    argv: &CStringVector,
    env: &CStringVector,
) -> Errno {
    // SAFETY: both vectors are NULL-terminated arrays of NUL-terminated strings.
    let executed = unsafe {
        call(
            libc::SYS_execveat,
            [
                file.as_raw_fd() as usize,
                c"".as_ptr() as usize,
                argv.pointers.as_ptr() as usize,
                env.pointers.as_ptr() as usize,
                libc::AT_EMPTY_PATH as usize,
            ],
        )
    };
    executed.err().unwrap_or(Errno::INVAL)
}

/// Executes a path. Returns only on failure. Child-safe.
#[must_use]
pub fn execute_path(path: &CStr, argv: &CStringVector, env: &CStringVector) -> Errno {
    // SAFETY: as in execute_descriptor.
    let executed = unsafe {
        call(
            libc::SYS_execve,
            [
                path.as_ptr() as usize,
                argv.pointers.as_ptr() as usize,
                env.pointers.as_ptr() as usize,
            ],
        )
    };
    executed.err().unwrap_or(Errno::INVAL)
}

/// A set of signals as the kernel has it, one bit for each of its 64.
pub(crate) const EVERY_SIGNAL: u64 = u64::MAX;

/// Sets the signal mask of the calling thread to nothing or to everything. Child-safe.
pub fn block_all_signals(block: bool) {
    block_signals(if block { EVERY_SIGNAL } else { 0 });
}

/// Sets the signal mask of the calling thread and returns what it was. Child-safe.
pub(crate) fn block_signals(set: u64) -> u64 {
    let mut before = 0u64;
    let (new, old) = ((&raw const set) as usize, (&raw mut before) as usize);
    // SAFETY: both are sets of the size that is passed; SIG_SETMASK cannot fail.
    let _ = unsafe {
        call(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, new, old, size_of::<u64>()])
    };
    before
}

/// Gives SIGPIPE its default action back, which Rust's start-up changed to
/// "ignored" and which exec would keep. Child-safe.
pub fn restore_sigpipe() {
    // struct sigaction of the kernel: SIG_DFL, no flags, no restorer, no mask.
    let action = [0u64; 4];
    let new = (&raw const action) as usize;
    // SAFETY: it has the kernel's size, and SIG_DFL runs no code of ours.
    let _ =
        unsafe { call(libc::SYS_rt_sigaction, [libc::SIGPIPE as usize, new, 0, size_of::<u64>()]) };
}

/// Makes a function of the first argument the whole of a program, without what the
/// standard library does before and after `main`: it asks for the bounds of the stack
/// (by reading /proc/self/maps), handles its overflow to print a message, and takes
/// all apart in the end, which the kernel does anyway. The function must not depend
/// on SIGPIPE being ignored, and what it writes must not lie in buffers when it
/// returns. What it returns is the exit status.
#[macro_export]
macro_rules! program {
    ($start:path) => {
        /// Called by the C library, or by the start of this crate where there is none.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn main(count: i32, arguments: *const *const core::ffi::c_char) -> i32 {
            // SAFETY: these are the arguments of main as the C library passes them.
            let first = unsafe { $crate::process::first_argument(count, arguments) };
            $crate::process::leave($start(first))
        }
    };
}

/// What follows the name of a program; empty without that.
///
/// # Safety
/// `arguments` points at `count` NUL-terminated strings that nobody changes.
#[must_use]
pub unsafe fn first_argument(count: i32, arguments: *const *const c_char) -> &'static [u8] {
    if count < 2 {
        return b"";
    }
    // SAFETY: there are two, says the caller.
    let second = unsafe { arguments.add(1) };
    // SAFETY: as above.
    let first = unsafe { *second };
    // SAFETY: it is a string and stays as it is, says the caller.
    unsafe { CStr::from_ptr(first) }.to_bytes()
}

/// Ends this process at once: no destructor and no exit handler runs.
pub fn leave(status: u8) -> ! {
    exit(status.into())
}

/// The same, with any status. Child-safe: a process that shares the memory goes on.
pub(crate) fn exit(status: i32) -> ! {
    loop {
        // SAFETY: the call has no conditions.
        let _ = unsafe { call(libc::SYS_exit_group, [status as usize]) };
    }
}

/// Gives every signal that this process was started to ignore its default action
/// back, but for SIGPIPE: what is ignored stays so through every exec, and a shell
/// ignores SIGINT and SIGQUIT for what it starts in the background. To be called
/// before the process handles any signal.
#[cfg(feature = "std")]
pub fn stop_ignoring_signals() {
    for signal in (1..=libc::SIGRTMAX()).filter(|signal| *signal != libc::SIGPIPE) {
        // SAFETY: sigaction is plain data, all zero is a valid value.
        let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is valid, and a null action only asks.
        unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut now) };
        if now.sa_sigaction == libc::SIG_IGN {
            // SAFETY: SIG_DFL runs no code of ours.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
}

/// A descriptor that reads the signals blocked by [`block_all_signals`] (signalfd(2)).
///
/// # Errors
/// EMFILE, ENOMEM.
pub fn signal_descriptor() -> Result<OwnedFd, Errno> {
    let set = EVERY_SIGNAL;
    let flags = (libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) as usize;
    let (new, set) = (-1isize as usize, (&raw const set) as usize);
    // SAFETY: the set has the size that is passed, and -1 asks for a new descriptor.
    let fd = unsafe { call(libc::SYS_signalfd4, [new, set, size_of::<u64>(), flags]) }?;
    let fd = i32::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel made a fresh descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes one pending signal off a [`signal_descriptor`]; false when there is none.
///
/// Which signal it was and who sent it is not told: for a process whose children
/// are hostile that is nothing to act on. A sender can make the kernel deliver a
/// signal without any such information (by filling the queue of pending signals),
/// and it then looks as if it came from outside the process-id namespace.
///
/// # Errors
/// EBADF.
pub fn take_signal(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(fd, &mut info) {
        Ok(n) => Ok(n > 0),
        Err(Errno::AGAIN | Errno::INTR) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Waits for any child without blocking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reaped {
    /// Process id of the child.
    pub pid: i32,
    /// Exit code, or the signal that ended it.
    pub status: ExitStatus,
    /// CPU time in user mode, microseconds, of it and what it waited for.
    pub user_usec: u64,
    /// CPU time in the kernel, microseconds.
    pub system_usec: u64,
    /// Largest resident set, bytes.
    pub max_rss_bytes: u64,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code.
    Exited(u8),
    /// This signal ended it.
    Signaled(u8),
}

/// Reaps one child that has ended; `None` when none has.
///
/// # Errors
/// ECHILD when there are no children at all.
pub fn reap() -> Result<Option<Reaped>, Errno> {
    loop {
        let mut status = 0;
        // SAFETY: plain data, overwritten by the kernel.
        let mut usage: libc::rusage = unsafe { core::mem::zeroed() };
        let (any, options) = (-1isize as usize, (libc::WNOHANG | libc::__WALL) as usize);
        let (told, used) = ((&raw mut status) as usize, (&raw mut usage) as usize);
        // SAFETY: the kernel writes one status and one such structure.
        let pid = unsafe { call(libc::SYS_wait4, [any, told, options, used]) }?;
        if pid == 0 {
            return Ok(None);
        }
        // A child that asked to be traced by its parent (PTRACE_TRACEME) is told of
        // at each of its stops, whatever the options. It has not ended.
        if !libc::WIFSTOPPED(status) {
            return Ok(Some(reaped(pid, status, &usage)));
        }
    }
}

fn reaped(pid: usize, status: i32, usage: &libc::rusage) -> Reaped {
    let low = |n: i32| u8::try_from(n & 0xff).unwrap_or(u8::MAX);
    let usec = |t: libc::timeval| {
        u64::try_from(t.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(t.tv_usec).unwrap_or(0)
    };
    Reaped {
        pid: i32::try_from(pid).unwrap_or(0),
        status: if libc::WIFEXITED(status) {
            ExitStatus::Exited(low(libc::WEXITSTATUS(status)))
        } else {
            ExitStatus::Signaled(low(libc::WTERMSIG(status)))
        },
        user_usec: usec(usage.ru_utime),
        system_usec: usec(usage.ru_stime),
        max_rss_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
    }
}

/// Signals every process of the caller's process-id namespace but the caller
/// itself (kill(2) with -1). Signal 0 only asks whether there is one.
///
/// Meant for PID 1 of a job.
///
/// # Errors
/// ESRCH when nobody else is there; EBUSY outside a namespace of its own.
pub fn signal_all(signal: i32) -> Result<(), Errno> {
    if rustix::process::getpid() != rustix::process::Pid::INIT {
        // Anywhere else this would reach the whole machine.
        return Err(Errno::BUSY);
    }
    // SAFETY: kill touches no memory of ours.
    unsafe { call(libc::SYS_kill, [-1isize as usize, signal as usize]) }?;
    Ok(())
}

/// The user ids of the calling thread: real, effective, saved, of the file system.
///
/// # Errors
/// None that the kernel documents.
pub fn user_ids() -> Result<[u32; 4], Errno> {
    // SAFETY: these are the calls for user ids.
    unsafe { ids(libc::SYS_getresuid, libc::SYS_setfsuid) }
}

/// The group ids of the calling thread, in the same order.
///
/// # Errors
/// None that the kernel documents.
pub fn group_ids() -> Result<[u32; 4], Errno> {
    // SAFETY: these are the calls for group ids.
    unsafe { ids(libc::SYS_getresgid, libc::SYS_setfsgid) }
}

/// # Safety
/// `all` writes three ids, and `of_files` answers with the one for files and changes
/// nothing when it is asked for one that is no id (setfsuid(2)).
unsafe fn ids(all: libc::c_long, of_files: libc::c_long) -> Result<[u32; 4], Errno> {
    let mut ids = [0u32; 4];
    let [real, effective, saved, _] =
        ids.each_mut().map(|id| core::ptr::from_mut(id).expose_provenance());
    // SAFETY: three places that live long enough.
    unsafe { call(all, [real, effective, saved]) }?;
    // SAFETY: no memory is passed.
    ids[3] = unsafe { call(of_files, [u32::MAX as usize]) }? as u32;
    Ok(ids)
}

/// A descriptor that was left open at a fixed number by whoever executed this
/// program, and that stays open until its end.
#[must_use]
pub fn inherited(number: i32) -> BorrowedFd<'static> {
    // SAFETY: number is not -1, and the descriptor is never closed by this
    // process; if it was not open, system calls answer EBADF.
    unsafe { BorrowedFd::borrow_raw(number.max(0)) }
}

/// Gives back the memory in which this program's code lies, until it is run again:
/// start-up touches most of it, and a process that then only waits needs a few pages.
/// A wish; nothing depends on it.
pub fn forget_code() {
    // Of the linker (ld(1), "Source Code Reference"): the first byte of the image,
    // and the first after its code.
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    const PAGE: usize = 4096;
    let start = (&raw const __executable_start).addr();
    let end = (&raw const etext).addr() / PAGE * PAGE;
    let bytes = end.saturating_sub(start);
    // One page at a time from now on, not those around it as well.
    for advice in [libc::MADV_RANDOM, libc::MADV_DONTNEED] {
        // SAFETY: from the start of the image to the end of the code there are only
        // the file's headers, constants and code: mapped privately, never written,
        // and read from the file again when they are touched.
        let _ = unsafe { call(libc::SYS_madvise, [start, bytes, advice as usize]) };
    }
}

/// Gives the caller a new, empty session keyring instead of the one it
/// inherited (keyctl(2), KEYCTL_JOIN_SESSION_KEYRING). Child-safe. A kernel
/// without keyrings has none to leak.
///
/// # Errors
/// EDQUOT, ENOMEM.
pub fn start_empty_session_keyring() -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: usize = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    match unsafe { call(libc::SYS_keyctl, [KEYCTL_JOIN_SESSION_KEYRING, 0]) } {
        Ok(_) | Err(Errno::NOSYS) => Ok(()),
        Err(e) => Err(e),
    }
}
