//! clone3(2) with a shared address space.
//!
//! A supervisor of 1 GiB takes 40 ms to fork, because every page-table entry is
//! copied. A child that shares the address space and the stack-less rest costs
//! the same for any size. It is what vfork(2) does, with a stack of its own and
//! with namespaces.

use crate::Errno;
use crate::process::{EVERY_SIGNAL, block_signals, exit};
use core::ffi::c_void;
use core::ptr::null_mut;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
compile_error!("fetchml-sys knows the system-call convention of x86-64 Linux only");

/// What a child starts with.
#[derive(Debug, Clone, Copy)]
pub struct CloneFlags(u64);

impl CloneFlags {
    /// Mount, process-id and UTS namespaces of its own, but no user namespace: they
    /// belong to the caller's, so that the job can never regain power over them. Those of
    /// network and IPC are joined.
    pub const SANDBOX: Self =
        Self((libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS) as u64);
    /// Only a user namespace, for a child that does nothing but keep it alive.
    pub const USER: Self = Self(libc::CLONE_NEWUSER as u64);

    /// The caller's descriptor table, until the child executes: what either opens
    /// or replaces, the other has as well.
    pub const SHARED_DESCRIPTORS: Self = Self(libc::CLONE_FILES as u64);

    /// Both sets of flags.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Memory for a child's stack, with an inaccessible page below it.
#[derive(Debug)]
pub struct Stack {
    base: *mut c_void,
    len: usize,
}

// SAFETY: the mapping is owned by this value alone and not tied to a thread.
unsafe impl Send for Stack {}

impl Stack {
    const GUARD_BYTES: usize = 4096;

    /// Maps a stack of `len` bytes, rounded up to pages.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn new(len: usize) -> Result<Self, Errno> {
        let len = len.next_multiple_of(4096) + Self::GUARD_BYTES;
        let (protection, flags) = (
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::STACK | MapFlags::NORESERVE,
        );
        // SAFETY: a fresh anonymous mapping touches no existing memory.
        let base = unsafe { mmap_anonymous(null_mut(), len, protection, flags) }?;
        let stack = Self { base, len };
        // SAFETY: the first page lies inside the mapping made above.
        unsafe { mprotect(base, Self::GUARD_BYTES, MprotectFlags::empty()) }?;
        Ok(stack)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: base and len are those of our own mapping; whoever used it as a
        // stack has exited, since spawn borrows it mutably until then.
        let _ = unsafe { munmap(self.base, self.len) };
    }
}

/// A started child.
#[derive(Debug)]
pub struct Child {
    /// Its process id in the caller's namespace.
    pub pid: i32,
    /// A descriptor that names it whatever becomes of the number.
    pub pidfd: OwnedFd,
}

type Body<'a> = &'a mut dyn FnMut() -> i32;
type Entry = extern "C" fn(*mut c_void) -> !;

/// First function of a [`spawn`] child: `arg` points at the fat reference of its body.
extern "C" fn run_body(arg: *mut c_void) -> ! {
    // SAFETY: spawn passes the address of a live `Body`; the parent thread
    // sleeps (CLONE_VFORK), so nobody else touches it. What it refers to and other
    // threads use meanwhile is what threads may share (an atomic, a `OnceLock`).
    let body: &mut Body<'_> = unsafe { &mut *arg.cast::<Body<'_>>() };
    exit(body())
}

/// First and only function of a [`spawn_sleeper`] child.
///
/// It has the descriptors of its parent. Were it to outlive a parent that
/// is killed, locks and sockets of a supervisor that is gone would stay taken.
#[cfg(feature = "std")]
extern "C" fn sleep_for_ever(parent: *mut c_void) -> ! {
    use rustix::process::{Signal, getppid};
    // rustix issues the system calls itself, so that the thread-local errno, which
    // this child shares with a running parent, is untouched.
    let dies_along = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let alone = getppid().is_none_or(|pid| pid.as_raw_nonzero().get() as usize != parent.addr());
    if dies_along.is_err() || alone {
        exit(1)
    }
    loop {
        rustix::event::pause();
    }
}

/// Runs `body` in a child that shares this process's memory, and sleeps until
/// the child executes a program or exits with the status that `body` returns.
///
/// The child has its own signal handlers, file-system context and, unless the flags
/// say otherwise, descriptor table. With `cgroup` it is born in that cgroup (CLONE_INTO_CGROUP, Linux
/// 5.7). All signals are blocked in the child; whatever it executes inherits that.
///
/// `body` must be child-safe: it may only call what is marked so, must not
/// allocate, lock, format, panic or touch thread-local state.
///
/// # Errors
/// Those of clone3(2): EAGAIN, ENOMEM, ENOSPC (too many namespaces), EBUSY
/// (the cgroup has inner processes), EOPNOTSUPP.
pub fn spawn(
    flags: CloneFlags,
    cgroup: Option<BorrowedFd<'_>>,
    stack: &mut Stack,
    mut body: Body<'_>,
) -> Result<Child, Errno> {
    // A signal handler of the supervisor must never run in the child: it would
    // act on the shared memory. Blocked signals stay pending for the parent.
    let _blocked = BlockedSignals::all();
    let arg = core::ptr::from_mut(&mut body).cast();
    raw_clone(flags.0 | libc::CLONE_VFORK as u64, cgroup, stack, run_body, arg)
}

/// Starts a child that only sleeps, without suspending the caller. It must be
/// killed and waited for before `stack` is used again or dropped.
#[cfg(feature = "std")]
pub(crate) fn spawn_sleeper(flags: CloneFlags, stack: &mut Stack) -> Result<Child, Errno> {
    let _blocked = BlockedSignals::all();
    let parent = rustix::process::getpid().as_raw_nonzero().get() as usize;
    raw_clone(flags.0, None, stack, sleep_for_ever, core::ptr::without_provenance_mut(parent))
}

fn raw_clone(
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    stack: &mut Stack,
    entry: Entry,
    arg: *mut c_void,
) -> Result<Child, Errno> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd: libc::c_int = -1;
    let mut args = libc::clone_args {
        flags: flags
            | libc::CLONE_VM as u64
            | libc::CLONE_PIDFD as u64
            | if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 },
        pidfd: core::ptr::from_mut(&mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.base as u64,
        stack_size: stack.len as u64,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |c| c.as_raw_fd() as u64),
    };
    let ret: i64;
    // SAFETY: in the parent this is an ordinary system call that clobbers rax,
    // rcx and r11. In the child, which begins on its own stack with every other
    // register as the parent had it, control goes to `entry` and never comes
    // back; the stack pointer is 16-byte aligned before the call as the ABI asks
    // (base and length are multiples of 4096). What `arg` points at outlives the
    // child's use of it: spawn's caller sleeps meanwhile, sleep_for_ever ignores it.
    unsafe {
        core::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r8",
            "call r9",
            "ud2",
            "2:",
            in("r8") arg,
            in("r9") entry,
            inlateout("rax") libc::SYS_clone3 => ret,
            in("rdi") core::ptr::from_mut(&mut args),
            in("rsi") size_of::<libc::clone_args>(),
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    if ret < 0 {
        let code = i32::try_from(-ret).unwrap_or(libc::EINVAL);
        return Err(Errno::from_raw_os_error(code));
    }
    // SAFETY: CLONE_PIDFD stored a fresh descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid: i32::try_from(ret).unwrap_or(i32::MAX), pidfd })
}

/// Blocks every signal of this thread until it is dropped.
struct BlockedSignals {
    before: u64,
}

impl BlockedSignals {
    fn all() -> Self {
        Self { before: block_signals(EVERY_SIGNAL) }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        block_signals(self.before);
    }
}
