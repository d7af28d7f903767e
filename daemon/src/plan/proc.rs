//! A job's /proc: what covers entries of it, and what of it can be written.

use crate::launch::devices::Devices;
use fetchml_policies::masks::{DIRECTORIES, FILES};
use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// How /proc of one job is set up after it is mounted.
#[derive(Debug)]
pub(crate) struct ProcPlan {
    /// What every job's has.
    pub(crate) masks: Arc<[ProcCover]>,
    /// What this one's has besides.
    pub(crate) further: Vec<ProcCover>,
    /// Whether the entries of the job's own processes can be written; all others are
    /// then among `further`.
    pub(crate) processes_writable: bool,
}

/// One entry of /proc that is covered.
#[derive(Debug)]
pub(crate) struct ProcCover {
    /// Path below the root.
    pub(crate) path: CString,
    pub(crate) with: Cover,
}

/// What an entry of /proc is covered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cover {
    /// /dev/null.
    EmptyFile,
    EmptyDirectory,
    /// Itself, read-only.
    Itself,
}

impl ProcCover {
    /// For an entry of this kernel's /proc; `None` where it has none of that name.
    fn new(name: &str, with: Cover) -> Option<Self> {
        Path::new("/proc").join(name).exists().then_some(())?;
        Some(Self { path: CString::new(format!("proc/{name}")).ok()?, with })
    }
}

/// The masks that [`fetchml_policies::masks`] names, for what this kernel has.
pub(crate) fn masks_of_this_kernel() -> Vec<ProcCover> {
    let files = FILES.iter().map(|name| (name, Cover::EmptyFile));
    let all = files.chain(DIRECTORIES.iter().map(|name| (name, Cover::EmptyDirectory)));
    all.filter_map(|(name, with)| ProcCover::new(name, with)).collect()
}

impl ProcPlan {
    pub(super) fn new(masks: Arc<[ProcCover]>, devices: &Devices) -> std::io::Result<Self> {
        let hidden = devices.hidden.iter();
        let mut further: Vec<_> =
            hidden.filter_map(|name| ProcCover::new(name, Cover::EmptyDirectory)).collect();
        // The driver's library ends with CUDA_ERROR_OPERATING_SYSTEM (304) when it
        // cannot write the names of its threads to /proc/self/task/TID/comm.
        let processes_writable = devices.has_nvidia();
        if processes_writable {
            let mut fixed = entries_of_no_process()?;
            let covered = |cover: &ProcCover| masks.iter().any(|mask| mask.path == cover.path);
            fixed.retain(|cover| !covered(cover));
            // Before what hides parts of them, which a later mount would uncover.
            fixed.append(&mut further);
            further = fixed;
        }
        Ok(Self { masks, further, processes_writable })
    }
}

/// All but the processes, and the links into them (`self`, `net`).
fn entries_of_no_process() -> std::io::Result<Vec<ProcCover>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let is_process = name.bytes().all(|byte| byte.is_ascii_digit());
        if !is_process && !entry.file_type()?.is_symlink() {
            found.extend(ProcCover::new(&name, Cover::Itself));
        }
    }
    Ok(found)
}
