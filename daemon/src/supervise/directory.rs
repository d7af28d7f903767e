//! The directory of one job on the disk:
//! `users/UID/EXPERIMENT/JOB/{log,report,outputs/,work/{upper,work}/}`.
//!
//! Each attempt has a log and a report of its own: `log` and `report` are those of
//! the first, `log.2` and `report.2` those of the second. `outputs` and `work` are
//! the job's: a further attempt goes on with what the one before it left.
//!
//! Everything down to the job is root's alone. `outputs` and `work/upper` belong
//! to the submitter, who reaches them through descriptors that the supervisor
//! hands out.

use super::{Refusal, Submitter};
use crate::plan::failed;
use fetchml_api::job::JobId;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, FallocateFlags, Gid, Mode, OFlags, ResolveFlags, Uid, fallocate, fchmod, fchown,
    mkdirat, openat2, unlinkat,
};
use rustix::io::Errno;
use std::io;
use std::path::Path;

/// An open job directory.
#[derive(Debug)]
pub struct JobDirectory {
    directory: OwnedFd,
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
const OURS: Mode = Mode::RWXU;

/// Opens below a directory; the kernel refuses every way out of it.
fn below(base: &OwnedFd, name: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(base, name, flags | OFlags::CLOEXEC, mode, resolve)
}

fn ensure(base: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    match mkdirat(base, name, OURS) {
        Err(e) if e != Errno::EXIST => return Err(e),
        _ => {}
    }
    below(base, name, DIRECTORY, Mode::empty())
}

/// The name of an attempt's file.
fn of_attempt(name: &str, attempt: u32) -> String {
    match attempt {
        0 | 1 => name.to_owned(),
        further => format!("{name}.{further}"),
    }
}

/// An overlay that never syncs leaves a mark behind, with which it refuses to be
/// mounted again: after a crash its upper layer may lack what was written last.
/// /work is scratch, so a further attempt of the job goes on with what is there.
fn forget_unsynced(area: &OwnedFd) {
    let _ = unlinkat(area, "work/work/incompat/volatile/dirty", AtFlags::empty());
    for mark in ["work/work/incompat/volatile", "work/work/incompat"] {
        // Mostly it is not there.
        let _ = unlinkat(area, mark, AtFlags::REMOVEDIR);
    }
}

impl JobDirectory {
    /// Opens the directory of a job; `users` is the state directory's.
    pub(super) fn open(
        users: &OwnedFd,
        uid: u32,
        experiment: &str,
        job: JobId,
    ) -> io::Result<Self> {
        let path = format!("{uid}/{experiment}/{job}");
        Ok(Self { directory: below(users, &path, DIRECTORY, Mode::empty())? })
    }

    /// Makes the directory with all that a job needs in it.
    pub(super) fn create(
        users: &OwnedFd,
        submitter: Submitter,
        experiment: &str,
        job: JobId,
    ) -> Result<Self, Refusal> {
        let made = || -> Result<Self, Errno> {
            let user = ensure(users, &submitter.uid.to_string())?;
            let experiment = ensure(&user, experiment)?;
            let directory = ensure(&experiment, &job.to_string())?;
            let outputs = ensure(&directory, "outputs")?;
            let work = ensure(&directory, "work")?;
            ensure(&work, "work")?;
            forget_unsynced(&work);
            let upper = ensure(&work, "upper")?;
            for theirs in [outputs, upper] {
                let (uid, gid) = (Uid::from_raw(submitter.uid), Gid::from_raw(submitter.gid));
                fchown(&theirs, Some(uid), Some(gid))?;
                fchmod(&theirs, Mode::from_raw_mode(0o755))?;
            }
            Ok(Self { directory })
        };
        made().map_err(failed("make the job's directory"))
    }

    /// The log of an attempt, for reading.
    ///
    /// # Errors
    /// `NotFound` before the attempt has started.
    pub fn open_log(&self, attempt: u32) -> io::Result<OwnedFd> {
        Ok(below(&self.directory, &of_attempt("log", attempt), OFlags::RDONLY, Mode::empty())?)
    }

    /// The directory that the job saw as `/outputs`.
    ///
    /// # Errors
    /// `NotFound` before the job has started.
    pub fn open_outputs(&self) -> io::Result<OwnedFd> {
        Ok(below(&self.directory, "outputs", DIRECTORY, Mode::empty())?)
    }

    /// What the job wrote in `/work`.
    ///
    /// # Errors
    /// `NotFound` before the job has started.
    pub fn open_work(&self) -> io::Result<OwnedFd> {
        Ok(below(&self.directory, "work/upper", DIRECTORY, Mode::empty())?)
    }

    /// A directory of the job, to be mounted.
    pub(crate) fn open_for_mount(&self, name: &str) -> Result<OwnedFd, Refusal> {
        below(&self.directory, name, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
            .map_err(failed("open the job's directory"))
    }

    /// The overlay's own area: `upper` and `work`.
    pub(crate) fn open_work_area(&self) -> Result<OwnedFd, Refusal> {
        self.open_for_mount("work")
    }

    /// The log, for the agent to append to.
    pub(crate) fn create_log(&self, attempt: u32) -> Result<OwnedFd, Refusal> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
        below(&self.directory, &of_attempt("log", attempt), flags, Mode::from_raw_mode(0o600))
            .map_err(failed("make the job's log"))
    }

    /// The report, empty, for the agent to write. Its place on the disk is taken now,
    /// so that the end of a job that fills the disk is known all the same.
    pub(crate) fn create_report(&self, attempt: u32) -> Result<OwnedFd, Refusal> {
        const BYTES: u64 = fetchml_api::agent::MAX_REPORT_BYTES as u64;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let name = of_attempt("report", attempt);
        let file = below(&self.directory, &name, flags, Mode::from_raw_mode(0o600))
            .map_err(failed("make the job's report"))?;
        match fallocate(&file, FallocateFlags::KEEP_SIZE, 0, BYTES) {
            // Not every file system can.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(file),
            Err(e) => Err(failed("make room for the job's report")(e)),
        }
    }

    /// Directories of what the job writes to the disk: outputs, and the overlay.
    pub(super) fn written(&self) -> io::Result<[OwnedFd; 2]> {
        let open = |name| below(&self.directory, name, DIRECTORY, Mode::empty());
        Ok([open("outputs")?, open("work")?])
    }

    /// Whether the file system has no room left for anybody but root.
    pub(super) fn is_on_full_disk(&self) -> bool {
        const NOTHING_BYTES: u64 = 256 * 1024;
        rustix::fs::fstatvfs(&self.directory).is_ok_and(|s| {
            let no_inodes = s.f_files > 0 && s.f_favail == 0;
            no_inodes || s.f_bavail.saturating_mul(s.f_frsize) < NOTHING_BYTES
        })
    }

    /// Whether there is a report file and nothing was ever written to it.
    pub(super) fn report_is_empty(&self, attempt: u32) -> bool {
        below(&self.directory, &of_attempt("report", attempt), OFlags::RDONLY, Mode::empty())
            .and_then(rustix::fs::fstat)
            .is_ok_and(|stat| stat.st_size == 0)
    }

    /// At most one byte more than a report can have, so that a longer one is seen.
    pub(super) fn read_report(&self, attempt: u32) -> Vec<u8> {
        const MOST: usize = fetchml_api::agent::MAX_REPORT_BYTES + 64;
        let mut bytes = vec![0; MOST];
        let name = of_attempt("report", attempt);
        let read = below(&self.directory, &name, OFlags::RDONLY, Mode::empty())
            .and_then(|f| rustix::io::read(f.as_fd(), &mut bytes[..]));
        bytes.truncate(read.unwrap_or(0));
        bytes
    }
}

/// Opens (and makes) a directory of the supervisor's own.
pub(super) fn own_directory(path: &Path) -> Result<OwnedFd, Refusal> {
    let failed = |e: io::Error| {
        Refusal::Infrastructure(format!("cannot use directory {}: {e}", path.display()))
    };
    std::fs::create_dir_all(path).map_err(failed)?;
    let fd = rustix::fs::open(path, DIRECTORY, Mode::empty()).map_err(|e| failed(e.into()))?;
    fchmod(&fd, OURS).map_err(|e| failed(e.into()))?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_further_attempt_can_mount_the_overlay_that_a_crash_left() {
        let place = tempfile::tempdir().expect("a directory can be made");
        let users = own_directory(place.path()).expect("it is ours");
        let uid = rustix::process::geteuid().as_raw();
        let submitter = Submitter { uid, gid: rustix::process::getegid().as_raw() };
        let create = || JobDirectory::create(&users, submitter, "e", JobId(1)).map(drop);
        create().expect("the first attempt");
        let work = place.path().join(format!("{uid}/e/1/work"));
        fs::create_dir_all(work.join("work/work/incompat/volatile")).expect("the kernel's mark");
        fs::write(work.join("work/work/incompat/volatile/dirty"), "").expect("the kernel's mark");
        fs::write(work.join("upper/kept"), "").expect("the job's file");
        create().expect("the second attempt");
        assert!(!work.join("work/work/incompat").exists());
        assert!(work.join("upper/kept").exists());
    }

    #[test]
    fn each_attempt_has_a_log_and_a_report_of_its_own() {
        let place = tempfile::tempdir().expect("a directory can be made");
        let users = own_directory(place.path()).expect("it is ours");
        let uid = rustix::process::geteuid().as_raw();
        let submitter = Submitter { uid, gid: rustix::process::getegid().as_raw() };
        let job = JobDirectory::create(&users, submitter, "e", JobId(1)).expect("it is made");
        assert!(job.open_log(1).is_err(), "before the attempt there is none");
        for attempt in 1..=2u32 {
            let said = attempt.to_string();
            for file in [job.create_log(attempt), job.create_report(attempt)] {
                let file = file.expect("it is made");
                rustix::io::write(&file, said.as_bytes()).expect("it can be written");
            }
        }
        for attempt in 1..=2u32 {
            let mut log = fs::File::from(job.open_log(attempt).expect("it is there"));
            let mut said = String::new();
            io::Read::read_to_string(&mut log, &mut said).expect("it can be read");
            assert_eq!(said, attempt.to_string());
            assert_eq!(job.read_report(attempt), said.as_bytes());
        }
        assert!(place.path().join(format!("{uid}/e/1/log")).exists(), "where older stores have it");
    }
}
