//! Devices in a prepared root: the five that every program expects, and the
//! accelerators that the profile shows.

use super::host_view::HostView;
use crate::accelerators::{self, Accelerators};
use crate::plan::failed;
use crate::supervise::Refusal;
use fetchml_api::job::{Layer, LayerState};
use fetchml_policies::{Shown, devices};
use fetchml_sys::mount::{MountAttributes, Scope, restrict};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev};
use rustix::mount::{MoveMountFlags, move_mount};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::sync::Arc;

const USUAL: [(&str, u32, u32); 5] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9)];

/// The usual devices, each checked to be what its name says, and links.
pub(super) fn show_usual(host: &HostView, root: &Path) -> Result<(), Refusal> {
    for (name, major, minor) in USUAL {
        let path = format!("/dev/{name}");
        show(host, root, &path, Some(makedev(major, minor)))?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, root.join("dev").join(name)).map_err(failed("link in /dev"))?;
    }
    Ok(())
}

/// Where a job's own pseudo-terminals are mounted, and the link by which they are
/// opened. A node of the host in its place would look for them where it came from.
pub(super) fn lead_to_terminals(root: &Path) -> io::Result<()> {
    fs::create_dir(root.join("dev/pts"))?;
    symlink("pts/ptmx", root.join("dev/ptmx"))
}

/// Shows one character device, with `number` if that is known.
pub(super) fn show(
    host: &HostView,
    root: &Path,
    path: &str,
    number: Option<u64>,
) -> Result<(), Refusal> {
    let place = || -> io::Result<()> {
        let source = path.to_owned();
        let tree = host.run(move || device(&source, number))?;
        let target = root.join(path.trim_start_matches('/'));
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        super::template::empty_file(&target)?;
        // Read-only: a device can be written all the same, but not its times, which
        // everybody may set who may write, nor its mode, by whoever should own it.
        // The node is the host's.
        let attributes =
            MountAttributes::READ_ONLY.and(MountAttributes::NO_SUID).and(MountAttributes::NO_EXEC);
        restrict(tree.as_fd(), c"", Scope::One, attributes)?;
        Ok(move_mount(&tree, "", CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
    };
    place().map_err(|e| Refusal::Infrastructure(format!("cannot show {path}: {e}")))
}

fn device(path: &str, number: Option<u64>) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = rustix::fs::open(path, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&node)?;
    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if !is_device || number.is_some_and(|number| stat.st_rdev != number) {
        return Err(io::Error::other("is not the device of that name"));
    }
    Ok(crate::plan::detached_tree(node.as_fd(), false)?)
}

/// The devices that one job sees beyond the usual ones.
#[derive(Debug)]
pub(crate) struct Devices {
    /// Absolute, in order.
    pub(crate) paths: Vec<String>,
    /// The NVIDIA cards among them, by their address on the PCI bus.
    pub(crate) cards: Vec<String>,
    /// What they are, in words; `None` where neither job nor profile asks for any.
    detail: Option<String>,
}

/// How accelerators are given out on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Allotment {
    pub(crate) accelerators: Arc<Accelerators>,
    /// A job that has none of its own sees all that its profile shows.
    pub(crate) shared: bool,
}

impl Devices {
    /// What a job sees that has these accelerators for itself: those and what goes
    /// with them, whatever the profile shows, and of what nobody gives out all that
    /// the profile shows.
    ///
    /// # Errors
    /// A refusal when an accelerator, or a device that the profile demands, is not
    /// there.
    pub(crate) fn of_job(
        host: &HostView,
        allotment: &Allotment,
        patterns: &[Shown],
        gpus: &[String],
    ) -> Result<Self, Refusal> {
        let mut paths = present(host, patterns)?;
        let before = paths.len();
        if !(allotment.shared && gpus.is_empty()) {
            paths.retain(|path| !allotment.accelerators.governs(path));
        }
        let withheld = paths.len() < before && gpus.is_empty();
        let own = allotment.accelerators.nodes(gpus).map_err(|name| {
            Refusal::BarrierUnavailable(format!(
                "the accelerator {name} is not there any more; reload fetchmld when it is back"
            ))
        })?;
        paths.extend(own.into_iter().filter(|path| devices::may_be_shown(path)));
        paths.sort();
        paths.dedup();
        let asked = !patterns.is_empty() || !gpus.is_empty();
        let own = allotment.accelerators.describe(gpus);
        let detail = asked.then(|| words(&own, &paths, withheld));
        let cards = allotment.accelerators.addresses(&paths);
        Ok(Self { paths, cards, detail })
    }

    /// Whether it computes by CUDA, whose library needs more than its devices.
    pub(crate) fn has_nvidia(&self) -> bool {
        self.paths.iter().any(|path| accelerators::is_nvidia(path))
    }

    /// The layer that names them. That there is none is said, since a job then
    /// computes on the processor and nothing else tells why.
    pub(crate) fn layer(&self) -> Option<Layer> {
        let (name, state) = (Layer::DEVICES.to_owned(), LayerState::Held);
        self.detail.clone().map(|detail| Layer { name, state, detail })
    }
}

fn words(own: &str, paths: &[String], withheld: bool) -> String {
    let paths = paths.join(" ");
    match (own, withheld, paths.as_str()) {
        ("", true, "") => NOT_ASKED.to_owned(),
        ("", true, paths) => format!("{paths}; otherwise {NOT_ASKED}"),
        ("", false, "") => "no accelerator of the profile is on this machine".to_owned(),
        ("", false, paths) => paths.to_owned(),
        (own, _, paths) => format!("{own}: {paths}"),
    }
}

const NOT_ASKED: &str =
    "no accelerator: each is given to one job at a time, and this one asked for none (--gpus N)";

/// The devices of this machine that a profile's patterns stand for, in order.
/// Looked up for each job: a card may come with its driver, or go.
fn present(host: &HostView, patterns: &[Shown]) -> Result<Vec<String>, Refusal> {
    let mut found = Vec::new();
    for shown in patterns {
        let pattern = shown.path.clone();
        let matching = host.run(move || Ok(matching(&pattern))).map_err(failed("look at /dev"))?;
        if matching.is_empty() && !shown.optional {
            return Err(Refusal::BarrierUnavailable(format!(
                "there is no device {} on this machine; load its driver, or use another profile",
                shown.path
            )));
        }
        found.extend(matching);
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn matching(pattern: &str) -> Vec<String> {
    let Some((directory, _)) = pattern.rsplit_once('/') else { return Vec::new() };
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_char_device()))
        .filter_map(|entry| entry.path().into_os_string().into_string().ok())
        .filter(|path| devices::matches(pattern, path) && devices::may_be_shown(path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{matching, words};

    #[test]
    fn a_profile_for_accelerators_says_what_there_is_and_why_there_is_none() {
        let paths = ["/dev/nvidia0".to_owned(), "/dev/nvidiactl".to_owned()];
        assert_eq!(words("", &[], false), "no accelerator of the profile is on this machine");
        assert!(words("", &[], true).contains("--gpus N"));
        assert_eq!(words("", &paths, false), "/dev/nvidia0 /dev/nvidiactl");
        assert_eq!(
            words("nvidia0 (NVIDIA H100)", &paths, false),
            "nvidia0 (NVIDIA H100): /dev/nvidia0 /dev/nvidiactl"
        );
    }

    #[test]
    fn only_accelerators_are_found_whatever_the_pattern() {
        assert!(matching("/dev/nul*").is_empty());
        assert!(matching("/dev/null").is_empty());
        assert!(matching("/dev/no-such-directory/x*").is_empty());
    }
}
