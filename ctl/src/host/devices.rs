//! Accelerators: driver, nodes, and whether a job's user could open them.

use super::read;
use fetchml_api::host::{Finding, Group};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

pub(super) fn findings() -> Vec<Finding> {
    let nodes = nodes();
    vec![
        nvidia(
            &nodes,
            read("/proc/driver/nvidia/version").as_deref().and_then(nvidia_version).as_deref(),
        ),
        amd(
            &nodes,
            Path::new("/sys/module/amdgpu").exists(),
            read("/sys/module/amdgpu/version").as_deref(),
        ),
    ]
}

/// A character device and its permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    path: String,
    mode: u32,
}

impl Node {
    /// Jobs run under ids that own nothing and are in no group.
    fn for_everybody(&self) -> bool {
        self.mode & 0o006 == 0o006
    }
}

fn nodes() -> Vec<Node> {
    let listed = ["/dev", "/dev/dri"].into_iter().flat_map(|dir| {
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
    });
    let mut nodes: Vec<_> = listed
        .filter_map(|path| {
            let meta = path.symlink_metadata().ok().filter(|m| m.file_type().is_char_device())?;
            Some(Node { path: path.to_str()?.to_owned(), mode: meta.permissions().mode() })
        })
        .collect();
    nodes.sort_by(|a, b| a.path.cmp(&b.path));
    nodes
}

/// The number in `NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  …`.
fn nvidia_version(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("NVRM version:"))?;
    let number = |w: &&str| w.contains('.') && w.starts_with(|c: char| c.is_ascii_digit());
    line.split_ascii_whitespace().find(number).map(str::to_owned)
}

fn nvidia(nodes: &[Node], driver: Option<&str>) -> Finding {
    const NAME: &str = "nvidia";
    let is_card = |n: &&Node| {
        n.path.strip_prefix("/dev/nvidia").is_some_and(|rest| rest.parse::<u32>().is_ok())
    };
    let cards: Vec<&Node> = nodes.iter().filter(is_card).collect();
    let Some(driver) = driver else {
        return Finding::absent(Group::Devices, NAME, "no driver")
            .so("jobs with the profile gpu see no NVIDIA card");
    };
    let node = |name: &str| nodes.iter().find(|n| n.path == name);
    let needed = ["/dev/nvidiactl", "/dev/nvidia-uvm"];
    let lacking: Vec<_> = needed.into_iter().filter(|name| node(name).is_none()).collect();
    if cards.is_empty() || !lacking.is_empty() {
        let lacking = if cards.is_empty() { "/dev/nvidia0".to_owned() } else { lacking.join(", ") };
        return Finding::partial(
            Group::Devices,
            NAME,
            format!("driver {driver} without {lacking}"),
        )
        .so("CUDA finds no card in a job")
        .fix("nvidia-modprobe -c 0 -u, or start nvidia-persistenced");
    }
    let controls = needed.into_iter().filter_map(node);
    let closed = cards.iter().copied().chain(controls).find(|n| !n.for_everybody());
    let detail = format!("driver {driver}, {} with nodes", count(cards.len(), "card"));
    closed_or_ok(NAME, detail, closed)
}

fn amd(nodes: &[Node], module: bool, version: Option<&str>) -> Finding {
    const NAME: &str = "amd";
    if !module {
        return Finding::absent(Group::Devices, NAME, "no driver")
            .so("jobs with the profile gpu see no AMD card");
    }
    let driver =
        version.map_or_else(|| "amdgpu of the kernel".to_owned(), |v| format!("amdgpu {v}"));
    let Some(kfd) = nodes.iter().find(|n| n.path == "/dev/kfd") else {
        return Finding::partial(Group::Devices, NAME, format!("{driver} without /dev/kfd"))
            .so("ROCm finds no card in a job")
            .fix("use a card and a kernel with CONFIG_HSA_AMD");
    };
    let renders: Vec<&Node> =
        nodes.iter().filter(|n| n.path.starts_with("/dev/dri/renderD")).collect();
    let closed = std::iter::once(kfd).chain(renders.iter().copied()).find(|n| !n.for_everybody());
    let detail = format!("{driver}, {}", count(renders.len(), "render node"));
    closed_or_ok(NAME, detail, closed)
}

fn closed_or_ok(name: &str, detail: String, closed: Option<&Node>) -> Finding {
    match closed {
        None => Finding::ok(Group::Devices, name, detail),
        Some(Node { path, mode }) => Finding::partial(
            Group::Devices,
            name,
            format!("{detail}; {path} has the mode {:04o}", mode & 0o7777),
        )
        .so("a job runs under an id of its own, which may not open it")
        .fix(format!(
            "open it to all: a rule in /etc/udev/rules.d with KERNEL==\"{}\", MODE=\"0666\"; the \
             sandbox decides which job sees it",
            path.rsplit('/').next().unwrap_or_default()
        )),
    }
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchml_api::host::FindingState::{Absent, Ok as Fine, Partial};

    fn nodes(paths: &[(&str, u32)]) -> Vec<Node> {
        paths.iter().map(|(p, mode)| Node { path: (*p).into(), mode: 0o020_000 | mode }).collect()
    }

    #[test]
    fn the_driver_says_its_version() {
        let text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22\nGCC version: 12.2";
        assert_eq!(nvidia_version(text).as_deref(), Some("550.54.14"));
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86  Release Build";
        assert_eq!(nvidia_version(open).as_deref(), Some("570.86"));
        assert_eq!(nvidia_version("x"), None);
    }

    #[test]
    fn a_card_needs_its_nodes_and_their_modes() {
        let all = [("/dev/nvidia0", 0o666), ("/dev/nvidiactl", 0o666), ("/dev/nvidia-uvm", 0o666)];
        let good = nvidia(&nodes(&all), Some("550.1"));
        assert_eq!((good.state, good.detail.as_str()), (Fine, "driver 550.1, 1 card with nodes"));
        let without = nvidia(&nodes(&all[..2]), Some("550.1"));
        assert_eq!(without.state, Partial);
        assert!(without.detail.contains("/dev/nvidia-uvm"), "{without:?}");
        let closed = nvidia(&nodes(&[("/dev/nvidia0", 0o660), all[1], all[2]]), Some("550.1"));
        assert!(closed.detail.contains("mode 0660"), "{closed:?}");
        assert!(closed.remedy.is_some_and(|r| r.contains("KERNEL==\"nvidia0\"")));
        assert_eq!(nvidia(&[], None).state, Absent);
    }

    #[test]
    fn rocm_needs_the_compute_node_and_a_render_node() {
        let both = [("/dev/dri/renderD128", 0o660), ("/dev/kfd", 0o666)];
        let closed = amd(&nodes(&both), true, None);
        assert!(closed.state == Partial && closed.detail.contains("renderD128"), "{closed:?}");
        assert_eq!(amd(&nodes(&both[..1]), true, None).state, Partial);
        assert_eq!(amd(&[], false, None).state, Absent);
    }
}
