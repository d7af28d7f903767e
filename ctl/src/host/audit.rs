//! Where records go besides the supervisor's own file.

use super::read;
use fetchml_api::host::{Finding, Group};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::Duration;

pub(super) fn findings() -> Vec<Finding> {
    let state = if Path::new("/proc/self/loginuid").exists() { asked() } else { Kernel::Absent };
    vec![
        journal(Path::new("/run/systemd/journal/socket").exists()),
        kernel(state, &read("/proc/cmdline").unwrap_or_default()),
    ]
}

fn journal(there: bool) -> Finding {
    if there {
        return Finding::ok(Group::Audit, "journal", "each audit record is copied to it");
    }
    Finding::missing(Group::Audit, "journal", "no socket /run/systemd/journal/socket")
        .so("the audit log is kept in its file alone, with nothing to compare it with")
        .fix("start systemd-journald")
}

/// The kernel's own audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    Absent,
    On,
    Off,
    Unknown,
}

fn kernel(state: Kernel, command_line: &str) -> Finding {
    const NAME: &str = "kernel-audit";
    const LOST: &str = "denials by Landlock are in no report and not in the kernel's log; those of system \
                        calls are counted all the same";
    let off = command_line.split(' ').any(|w| matches!(w, "audit=0" | "audit=off"));
    match state {
        Kernel::Absent => Finding::absent(Group::Audit, NAME, "not in this kernel").so(LOST),
        Kernel::Off | Kernel::Unknown if off => {
            Finding::absent(Group::Audit, NAME, "off (audit=0)")
                .so(LOST)
                .fix("boot without audit=0")
        }
        Kernel::Off => Finding::absent(Group::Audit, NAME, "off")
            .so(LOST)
            .fix("auditctl -e 1, or audit=1 at boot"),
        Kernel::On => {
            Finding::ok(Group::Audit, NAME, "on: denials by Landlock (level 7) are logged")
        }
        Kernel::Unknown => {
            Finding::unknown(Group::Audit, NAME, "in the kernel; only root sees whether it is on")
        }
    }
}

/// AUDIT_GET of audit_netlink: answers who has CAP_AUDIT_CONTROL in the initial
/// namespaces.
fn asked() -> Kernel {
    ask().map_or(Kernel::Unknown, |enabled| if enabled { Kernel::On } else { Kernel::Off })
}

fn ask() -> Option<bool> {
    const HEADER: usize = 16;
    const AUDIT_GET: u16 = 1000;
    const REQUEST: u16 = 1;
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkAudit,
    )
    .ok()?;
    set_socket_timeout(&netlink, Timeout::Recv, Some(Duration::from_millis(500))).ok()?;
    let mut message = Vec::with_capacity(HEADER);
    message.extend(u32::try_from(HEADER).ok()?.to_ne_bytes());
    message.extend(AUDIT_GET.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    let fd = netlink.as_raw_fd();
    sendto(fd, &message, &NetlinkAddr::new(0, 0), MsgFlags::empty()).ok()?;
    let mut answer = [0; 256];
    let len = recv(fd, &mut answer, MsgFlags::empty()).ok()?;
    // A header, the mask of struct audit_status, and then whether it is enabled.
    let kind = answer.get(4..6).filter(|_| len >= HEADER + 8)?;
    let enabled = answer.get(HEADER + 4..HEADER + 8)?;
    (kind == AUDIT_GET.to_ne_bytes()).then(|| enabled.iter().any(|b| *b != 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchml_api::host::FindingState::{Absent, Missing, Ok as Fine, Unknown};

    #[test]
    fn what_is_lost_without_journal_and_kernel_audit_is_said() {
        assert_eq!(journal(true).state, Fine);
        let none = journal(false);
        assert!(none.state == Missing && !none.needed && none.consequence.is_some());
        assert_eq!(kernel(Kernel::On, "").state, Fine);
        assert_eq!(kernel(Kernel::Unknown, "quiet").state, Unknown);
        let off = kernel(Kernel::Unknown, "quiet audit=0");
        assert_eq!((off.state, off.detail.as_str()), (Absent, "off (audit=0)"));
        assert!(kernel(Kernel::Off, "").remedy.is_some_and(|r| r.contains("auditctl")));
    }
}
