//! Which devices of the host a profile may show: accelerators and what connects
//! them, by name, and nothing else. A device that is not here may be memory, a
//! disk or somebody's terminal.

use crate::problem::Fault;

/// Patterns of what may be shown, each with what it is. One `*` stands for any
/// part of a name, never for a slash.
const ACCELERATORS: [(&str, &str); 13] = [
    ("/dev/nvidia*", "NVIDIA cards, their control and their unified memory"),
    ("/dev/nvidia-caps/nvidia-cap*", "NVIDIA parts of cards (MIG)"),
    ("/dev/nvidia-caps-imex-channels/channel*", "NVIDIA memory across machines"),
    ("/dev/gdrdrv", "NVIDIA GPUDirect copies"),
    ("/dev/nvmap", "NVIDIA Jetson memory"),
    ("/dev/nvhost-*", "NVIDIA Jetson engines"),
    ("/dev/kfd", "AMD compute"),
    ("/dev/dri/renderD*", "computing with AMD and Intel cards"),
    ("/dev/accel/accel*", "accelerators of the kernel's accel subsystem"),
    ("/dev/neuron*", "AWS Neuron"),
    ("/dev/dxg", "the host's card in WSL"),
    ("/dev/infiniband/uverbs*", "remote memory access"),
    ("/dev/infiniband/rdma_cm", "connections for remote memory access"),
];

/// Of those, devices by which a job would reach other machines.
const NETWORKS: &str = "/dev/infiniband/";
/// Not for computing: it steers the card for every user.
const CONTROLS: [(&str, &str); 3] = [
    ("/dev/dri/card*", "it controls displays as well; show \"/dev/dri/renderD*\""),
    ("/dev/nvidia-nvswitch*", "it controls the links between all cards"),
    ("/dev/nvidia-vgpu*", "it divides cards among virtual machines"),
];

/// Whether a path is one that a pattern stands for.
#[must_use]
pub fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((begin, end)) => path
            .strip_prefix(begin)
            .and_then(|rest| rest.strip_suffix(end))
            .is_some_and(|middle| !middle.is_empty() && !middle.contains('/')),
    }
}

/// Whether a device may be shown to a job. Whoever expands a pattern asks for
/// each path: `/dev/nvidia*` stands for more than may be shown.
#[must_use]
pub fn may_be_shown(path: &str) -> bool {
    ACCELERATORS.iter().any(|(pattern, _)| matches(pattern, path))
        && !CONTROLS.iter().any(|(pattern, _)| matches(pattern, path))
}

/// Whether a job reaches other machines by the device.
pub(crate) fn reaches_out(path: &str) -> bool {
    path.starts_with(NETWORKS)
}

/// Refuses a pattern that stands for anything but accelerators.
pub(crate) fn check(pattern: &str) -> Result<(), Fault> {
    let refuse = |why: String, remedy: &str| {
        Err(Fault::new(format!("{pattern:?} is refused: {why}"), remedy.to_owned()))
    };
    let known = || ACCELERATORS.map(|(pattern, _)| pattern).join(", ");
    if let Some((_, why)) = CONTROLS.iter().find(|(control, _)| covers(control, pattern)) {
        return refuse((*why).to_owned(), "remove it");
    }
    if pattern.matches('*').count() > 1 || pattern.chars().any(char::is_control) {
        return refuse("one * at most is understood".to_owned(), "list the devices one by one");
    }
    match ACCELERATORS.iter().any(|(known, _)| covers(known, pattern)) {
        true => Ok(()),
        false => {
            let why = format!("it is no accelerator that is known here ({})", known());
            refuse(why, "remove it; disks, memory, terminals and virtual machines are not for jobs")
        }
    }
}

/// Whether all that `narrow` stands for is also meant by `wide`.
fn covers(wide: &str, narrow: &str) -> bool {
    // A star of the narrow one must lie within the star of the wide one; a name
    // with another character in its place shows that.
    narrow == wide || matches(wide, &narrow.replace('*', "0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accelerators_may_be_shown() {
        for pattern in [
            "/dev/nvidia0",
            "/dev/nvidia*",
            "/dev/nvidiactl",
            "/dev/nvidia-uvm",
            "/dev/nvidia-caps/nvidia-cap*",
            "/dev/dri/renderD*",
            "/dev/dri/renderD128",
            "/dev/kfd",
            "/dev/infiniband/uverbs*",
        ] {
            assert!(check(pattern).is_ok(), "{pattern}");
        }
        for path in ["/dev/nvidia0", "/dev/nvidia-uvm-tools", "/dev/dri/renderD129"] {
            assert!(may_be_shown(path), "{path}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for pattern in [
            "/dev/mem",
            "/dev/kmem",
            "/dev/kvm",
            "/dev/sda",
            "/dev/nvme0n1",
            "/dev/tty",
            "/dev/pts/0",
            "/dev/fuse",
            "/dev/vfio/vfio",
            "/dev/net/tun",
            "/dev/loop0",
            "/dev/*",
            "/dev/n*",
            "/dev/dri/*",
            "/dev/dri/card0",
            "/dev/dri/card*",
            "/dev/nvidia-nvswitch0",
            "/dev/nvidia*/../sda",
            "/dev/nvidia/../sda",
            "/dev/**",
            "nvidia0",
            "/etc/passwd",
            "",
        ] {
            assert!(check(pattern).is_err(), "{pattern}");
        }
        for path in ["/dev/nvidia-nvswitchctl", "/dev/nvidia0/x", "/dev/nvidia", "/dev/sda"] {
            assert!(!may_be_shown(path), "{path}");
        }
    }
}
