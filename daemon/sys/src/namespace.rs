//! Namespaces: user and network namespaces made ahead, and private ones for a thread.

use crate::Errno;
use crate::clone::{Child, CloneFlags, Stack, spawn_sleeper};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Signal, Uid, WaitId, WaitIdOptions, geteuid, pidfd_send_signal, waitid};
use rustix::thread::{capabilities, set_capabilities};
use std::io::Write;

/// One line of a uid_map or gid_map (user_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMapping {
    /// First id inside the namespace; for an id-mapped mount, on the file system.
    pub inside: u32,
    /// First id in the caller's namespace.
    pub outside: u32,
    /// Number of ids.
    pub count: u32,
}

/// A user namespace that nobody lives in, kept alive by its descriptor.
///
/// Made ahead, so that a job enters it with one setns(2) as its last step and
/// nobody has to wait for maps to be written. setgroups(2) is denied in it.
///
/// It belongs to the host user `owner`. What a job uses up of the things that the
/// kernel counts for each user (inotify instances, pending signals, locked memory)
/// is counted for the owner of its namespace as well: were that root, one job
/// could leave root with none.
///
/// # Errors
/// ENOSPC above `user.max_user_namespaces`; EPERM without CAP_SETUID, CAP_SETGID.
pub fn user(owner: u32, uids: &[IdMapping], gids: &[IdMapping]) -> std::io::Result<OwnedFd> {
    const STACK_BYTES: usize = 16 * 1024;
    let mut stack = Stack::new(STACK_BYTES)?;
    let child = {
        let _acting = ActingAs::user(owner)?;
        // With copies of descriptors it could hold for a moment what others close.
        spawn_sleeper(CloneFlags::USER.and(CloneFlags::SHARED_DESCRIPTORS), &mut stack)?
    };
    let made = write_maps(child.pid, uids, gids);
    // The sleeper has served whatever became of the maps; its stack may only go
    // when it is gone.
    pidfd_send_signal(&child.pidfd, Signal::KILL)?;
    waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED)?;
    made
}

/// The calling thread with another effective user id and its capabilities kept,
/// until this is dropped.
struct ActingAs {
    before: Uid,
}

impl ActingAs {
    fn user(id: u32) -> Result<Self, Errno> {
        let held = capabilities(None)?;
        // Made first, so that the id goes back whatever fails after it.
        let acting = Self { before: geteuid() };
        set_effective_id(Uid::from_raw(id))?;
        // An effective id other than root's empties the effective set.
        set_capabilities(None, held)?;
        Ok(acting)
    }
}

impl Drop for ActingAs {
    fn drop(&mut self) {
        if set_effective_id(self.before).is_err() {
            // It is the saved id still, so this cannot fail; a supervisor that
            // went on as somebody else would answer for nothing.
            std::process::abort();
        }
    }
}

/// Of the calling thread alone.
fn set_effective_id(id: Uid) -> Result<(), Errno> {
    const UNCHANGED: libc::uid_t = libc::uid_t::MAX;
    // The C library's function would change every thread.
    // SAFETY: no memory is passed.
    crate::check(unsafe { libc::syscall(libc::SYS_setresuid, UNCHANGED, id.as_raw(), UNCHANGED) })?;
    Ok(())
}

fn write_maps(pid: i32, uids: &[IdMapping], gids: &[IdMapping]) -> std::io::Result<OwnedFd> {
    let proc = rustix::fs::open(
        format!("/proc/{pid}"),
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let write = |name: &str, text: String| -> std::io::Result<()> {
        let fd = rustix::fs::openat(&proc, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        std::fs::File::from(fd).write_all(text.as_bytes())
    };
    let lines = |maps: &[IdMapping]| {
        maps.iter().map(|m| format!("{} {} {}\n", m.inside, m.outside, m.count)).collect::<String>()
    };
    write("setgroups", "deny".into())?;
    write("uid_map", lines(uids))?;
    write("gid_map", lines(gids))?;
    Ok(rustix::fs::openat(&proc, "ns/user", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The mount namespace of a child that was not waited for. While it is held, the
/// child's end does not wait until the kernel has taken its mounts apart.
///
/// # Errors
/// ESRCH when the child has ended; EPERM without CAP_SYS_PTRACE for one that is not
/// dumpable.
pub fn mounts_of(child: &Child) -> Result<OwnedFd, Errno> {
    // PIDFD_GET_MNT_NAMESPACE, Linux 6.11.
    const GET_MOUNTS: libc::c_ulong = 0xff03;
    // SAFETY: the request takes no argument and answers with a new descriptor.
    match crate::check(unsafe { libc::ioctl(child.pidfd.as_raw_fd(), GET_MOUNTS, 0) }.into()) {
        Ok(number) => {
            let number = i32::try_from(number).map_err(|_| Errno::BADF)?;
            // SAFETY: the kernel made a fresh descriptor for us.
            Ok(unsafe { OwnedFd::from_raw_fd(number) })
        }
        Err(Errno::NOTTY | Errno::INVAL) => {
            let path = format!("/proc/{}/ns/mnt", child.pid);
            rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        }
        Err(e) => Err(e),
    }
}

/// Enters a user namespace. Child-safe. The caller then has every capability in
/// it and none outside.
///
/// # Errors
/// EINVAL for a process with several threads or a shared file-system context.
pub fn enter_user(namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::User))
}

/// Namespaces through which processes talk to each other, that nobody lives in: each is
/// kept alive by its descriptor. They belong to the user namespace of who made them.
#[derive(Debug)]
pub struct Channels {
    /// `None` where the network is not an own one.
    pub network: Option<OwnedFd>,
    /// System V IPC and POSIX message queues.
    pub ipc: OwnedFd,
}

/// What the network of [`Channels`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkKind {
    /// No interface that is up.
    Nothing,
    /// A loopback that is up.
    Loopback,
    /// The caller's own; nothing is made.
    Host,
}

/// Makes [`Channels`].
#[derive(Debug)]
pub struct ChannelMaker {
    network: OwnedFd,
    ipc: OwnedFd,
}

impl ChannelMaker {
    /// Remembers the namespaces of the calling thread.
    ///
    /// # Errors
    /// Without /proc.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { network: this_network()?, ipc: this_ipc()? })
    }

    /// New namespaces. The calling thread is in them for a moment.
    ///
    /// # Errors
    /// ENOSPC above `user.max_net_namespaces` or `user.max_ipc_namespaces`, ENOMEM,
    /// EPERM without CAP_SYS_ADMIN.
    pub fn make(&self, kind: NetworkKind) -> std::io::Result<Channels> {
        use rustix::thread::UnshareFlags;
        let flags = match kind {
            NetworkKind::Host => UnshareFlags::NEWIPC,
            _ => UnshareFlags::NEWIPC | UnshareFlags::NEWNET,
        };
        // SAFETY: no descriptor table is unshared, which is what makes the call unsafe.
        unsafe { rustix::thread::unshare_unsafe(flags) }?;
        let made = made_here(kind);
        // A thread that stayed would keep a job's namespace alive after the job.
        enter_ipc(self.ipc.as_fd())?;
        if kind != NetworkKind::Host {
            enter_network(self.network.as_fd())?;
        }
        made
    }
}

fn made_here(kind: NetworkKind) -> std::io::Result<Channels> {
    if kind == NetworkKind::Loopback {
        crate::net::loopback_up()?;
    }
    let network = (kind != NetworkKind::Host).then(this_network).transpose()?;
    Ok(Channels { network, ipc: this_ipc()? })
}

fn this_network() -> std::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(c"/proc/thread-self/ns/net", flags, Mode::empty())?)
}

fn this_ipc() -> std::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(c"/proc/thread-self/ns/ipc", flags, Mode::empty())?)
}

/// Enters a network namespace. Child-safe.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN in it.
pub fn enter_network(namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
}

/// Enters an IPC namespace. Child-safe.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN in it.
pub fn enter_ipc(namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::InterProcessCommunication))
}

/// Gives the calling thread an empty network of its own, for good.
///
/// # Errors
/// ENOSPC above `user.max_net_namespaces`, ENOMEM, EPERM without CAP_SYS_ADMIN.
pub fn own_network_for_thread() -> Result<(), Errno> {
    // SAFETY: no descriptor table is unshared, which is what makes the call unsafe.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }
}

/// Makes the cgroup that the caller is in the root of its cgroup namespace. Child-safe.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN.
pub fn own_cgroup_view() -> Result<(), Errno> {
    // SAFETY: no descriptor table is unshared, which is what makes the call unsafe.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWCGROUP) }
}

/// Gives the calling thread a mount namespace and a file-system context (root,
/// working directory) of its own.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN.
pub fn own_mounts_for_thread() -> Result<(), Errno> {
    use rustix::thread::UnshareFlags;
    // SAFETY: no descriptor table is unshared, which is what makes the call unsafe.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }
}

/// Moves the calling thread into a mount namespace, with a file-system context
/// (root, working directory) of its own.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN and CAP_SYS_CHROOT.
pub fn enter_mounts_for_thread(namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    use rustix::thread::UnshareFlags;
    // SAFETY: no descriptor table is unshared, which is what makes the call unsafe.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }?;
    enter_mounts(namespace)
}

/// Moves the calling thread, which has a file-system context of its own, into a
/// mount namespace and to its root.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN and CAP_SYS_CHROOT; EINVAL for a shared
/// file-system context.
pub fn enter_mounts(namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Mount))
}
