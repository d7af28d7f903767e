//! A job's /proc: what covers entries of it, and what of it can be written.

use crate::launch::devices::Devices;
use fetchml_policies::masks::{DIRECTORIES, FILES};
use std::ffi::CString;
use std::fs::{self, DirEntry, FileType};
use std::io::ErrorKind;
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
    /// Whether the job goes before anything of the host when memory runs out.
    pub(crate) killed_first: bool,
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
    /// For a job that sees these devices. `floor_holds`: what the supervisor writes as
    /// its score for the out-of-memory killer is the least that the job can write.
    pub(super) fn new(
        masks: Arc<[ProcCover]>,
        devices: &Devices,
        floor_holds: bool,
    ) -> std::io::Result<Self> {
        // The driver's library ends with CUDA_ERROR_OPERATING_SYSTEM (304) when it
        // cannot write the names of its threads to /proc/self/task/TID/comm.
        let processes_writable = devices.has_nvidia();
        let mut further = if processes_writable { fixed_entries(&masks)? } else { Vec::new() };
        // After what covers them whole, which would uncover them.
        further.extend(of_other_cards(devices)?);
        // A job that could lower its score again would have its agent killed first.
        let killed_first = !processes_writable || floor_holds;
        Ok(Self { masks, further, processes_writable, killed_first })
    }
}

/// All but the processes that the job will have, the links into them (`self`, `net`)
/// and what is masked. Process 1 is the agent, which is there already.
fn fixed_entries(masks: &[ProcCover]) -> std::io::Result<Vec<ProcCover>> {
    let mut found = vec![ProcCover { path: c"proc/1".to_owned(), with: Cover::Itself }];
    for (name, kind) in entries("")? {
        let is_process = name.bytes().all(|byte| byte.is_ascii_digit());
        let entry = ProcCover::new(&name, Cover::Itself);
        let entry = entry.filter(|_| !is_process && !kind.is_symlink());
        found.extend(entry.filter(|new| !masks.iter().any(|mask| mask.path == new.path)));
    }
    // The job's own /proc shows them whatever the supervisor's leaves out.
    if !found.iter().any(|cover| *cover.path == *c"proc/sys") {
        return Err(std::io::Error::other("it does not show /proc/sys (mounted with subset=pid?)"));
    }
    Ok(found)
}

/// What NVIDIA's driver tells of cards that the job does not see: all that it tells
/// where the job sees none. `nvidia-uvm` and others beside it tell of every card that
/// is in use.
fn of_other_cards(devices: &Devices) -> std::io::Result<Vec<ProcCover>> {
    if !Path::new("/proc/driver/nvidia").exists() {
        return Ok(Vec::new());
    }
    let foreign = |place: &str, is_foreign: &dyn Fn(&str) -> bool| -> std::io::Result<Vec<_>> {
        let found = entries(place)?.into_iter().filter(|(name, _)| is_foreign(name));
        let cover = |(name, kind): (String, FileType)| {
            let with = if kind.is_dir() { Cover::EmptyDirectory } else { Cover::EmptyFile };
            ProcCover::new(&format!("{place}/{name}"), with)
        };
        Ok(found.filter_map(cover).collect())
    };
    let of_driver = |name: &str| name.starts_with("nvidia");
    if !devices.has_nvidia() {
        return foreign("driver", &of_driver);
    }
    let mut covers = foreign("driver", &|name| of_driver(name) && name != "nvidia")?;
    covers.extend(foreign("driver/nvidia", &|name| name == "capabilities")?);
    covers.extend(foreign("driver/nvidia/gpus", &|name| {
        !devices.cards.iter().any(|card| card == name)
    })?);
    Ok(covers)
}

/// What is in a directory of /proc; nothing where there is none.
fn entries(place: &str) -> std::io::Result<Vec<(String, FileType)>> {
    let of = |entry: std::io::Result<DirEntry>| {
        let entry = entry?;
        Ok((entry.file_name().to_string_lossy().into_owned(), entry.file_type()?))
    };
    match fs::read_dir(Path::new("/proc").join(place)) {
        Ok(found) => found.map(of).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
