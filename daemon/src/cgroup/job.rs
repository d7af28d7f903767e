//! The group of one job: its limits, and what it says of the job's use.

use super::JobLimits;
use fetchml_api::job::LiveUsage;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, XattrFlags, fstat, openat, statat, unlinkat};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// Files for the weight of a group on the disks: of the cost model, which a disk
/// uses where `io.cost.qos` enables it, and of the BFQ scheduler.
pub(super) const IO_WEIGHTS: [&str; 2] = ["io.weight", "io.bfq.weight"];

/// The group of one job. What is done to it is done by descriptors: the launcher's thread,
/// which removes those of launches that were given up, sees no path of the host.
#[derive(Debug)]
pub(crate) struct JobCgroup {
    parent: OwnedFd,
    name: String,
    directory: OwnedFd,
}

/// What a group says at the end of its job.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GroupUse {
    /// Highest memory use in bytes (`memory.peak`, Linux 5.19).
    pub(crate) memory_peak_bytes: Option<u64>,
    /// Its memory limit in bytes, when it had one.
    pub(crate) memory_max_bytes: Option<u64>,
    /// Processes that the out-of-memory killer ended (`memory.events`).
    pub(crate) oom_kills: u64,
    /// Most processes and threads at once (`pids.peak`, Linux 6.1).
    pub(crate) pids_peak: Option<u64>,
    /// How many it could have had, when that was limited.
    pub(crate) pids_max: Option<u64>,
    /// How often one more was refused (`pids.events`).
    pub(crate) pids_refused: u64,
    /// CPU time in user mode and in the kernel, microseconds (`cpu.stat`).
    pub(crate) cpu_usec: Option<(u64, u64)>,
    /// Bytes read from and written to disks (`io.stat`).
    pub(crate) io_bytes: Option<(u64, u64)>,
}

impl JobCgroup {
    pub(super) fn open(parent: &Path, name: String) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::open(parent, flags | OFlags::PATH, Mode::empty())?;
        let directory = openat(&parent, &name, flags, Mode::empty())?;
        Ok(Self { parent, name, directory })
    }

    /// For CLONE_INTO_CGROUP.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Writes the job's name where root alone can read it (`systemd-cgls --xattr`).
    /// The group's own name is the job's number: everybody can read that, and what
    /// somebody calls an experiment is nobody else's business.
    pub(crate) fn call(&self, name: &str) {
        // A kernel without such attributes in this file system shows the number.
        let _ = rustix::fs::fsetxattr(
            &self.directory,
            c"trusted.fetchml.name",
            name.as_bytes(),
            XattrFlags::empty(),
        );
    }

    /// No `memory.high` is set: above it the kernel makes the job wait for memory to
    /// be reclaimed, and without swap nothing of what a program allocated ever is.
    /// A job just below its limit would crawl for hours, where one at its limit ends
    /// with a reason. What is reclaimable, the page cache, is reclaimed at
    /// `memory.max` as well, before anything is killed.
    pub(super) fn set(&self, limits: &JobLimits) -> io::Result<()> {
        const PERIOD_USEC: f64 = 100_000.0;
        if let Some(bytes) = limits.memory_bytes {
            self.write("memory.max", &bytes.to_string())?;
            // Without swap the limit means what it says. A kernel without swap
            // accounting has no such file.
            self.write_if_there("memory.swap.max", "0")?;
        }
        if let Some(cpus) = limits.cpus {
            let quota = (cpus * PERIOD_USEC).max(1000.0);
            self.write("cpu.max", &format!("{quota:.0} {PERIOD_USEC:.0}"))?;
        }
        if let Some(set) = limits.cpuset {
            self.write("cpuset.cpus", &set.to_string())?;
        }
        if let Some(pids) = limits.pids {
            self.write("pids.max", &pids.to_string())?;
        }
        if let Some(weight) = limits.cpu_weight {
            self.write("cpu.weight", &weight.to_string())?;
        }
        if let Some(weight) = limits.io_weight {
            for file in IO_WEIGHTS {
                self.write_if_there(file, &weight.to_string())?;
            }
        }
        Ok(())
    }

    /// Never creates: the kernel calls a file that a group lacks one that may not be
    /// made, and not one that is not there.
    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&self.directory, file, flags, Mode::empty())?;
        fs::File::from(file).write_all(text.as_bytes())
    }

    fn write_if_there(&self, file: &str, text: &str) -> io::Result<()> {
        match self.write(file, text) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    fn read(&self, file: &str) -> Option<String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(&self.directory, file, flags, Mode::empty()).ok()?;
        let mut text = String::new();
        fs::File::from(file).read_to_string(&mut text).ok()?;
        Some(text)
    }

    fn number(&self, file: &str) -> Option<u64> {
        self.read(file)?.trim().parse().ok()
    }

    fn cpu_usec(&self) -> Option<(u64, u64)> {
        let text = self.read("cpu.stat")?;
        keyed(&text, "user_usec").zip(keyed(&text, "system_usec"))
    }

    fn io_bytes(&self) -> Option<(u64, u64)> {
        self.read("io.stat").map(|text| io_totals(&text))
    }

    /// Whether no process is left in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.read("cgroup.events").is_some_and(|e| e.lines().any(|l| l == "populated 0"))
    }

    /// What the job used. Read before [`JobCgroup::remove`].
    pub(crate) fn usage(&self) -> GroupUse {
        let events = |file, kind| self.read(file).and_then(|text| keyed(&text, kind)).unwrap_or(0);
        GroupUse {
            memory_peak_bytes: self.number("memory.peak"),
            memory_max_bytes: self.number("memory.max"),
            oom_kills: events("memory.events", "oom_kill"),
            pids_peak: self.number("pids.peak"),
            pids_max: self.number("pids.max"),
            pids_refused: events("pids.events", "max"),
            cpu_usec: self.cpu_usec(),
            io_bytes: self.io_bytes(),
        }
    }

    /// What the job uses now.
    pub(crate) fn live_usage(&self) -> LiveUsage {
        let (user_usec, system_usec) = self.cpu_usec().unwrap_or_default();
        let (read_bytes, written_bytes) = self.io_bytes().unzip();
        LiveUsage {
            user_usec,
            system_usec,
            memory_bytes: self.number("memory.current").or_else(|| self.resident_bytes()),
            memory_peak_bytes: self.number("memory.peak"),
            processes: self.number("pids.current").or_else(|| self.threads()),
            read_bytes,
            written_bytes,
            disk_bytes: None,
            gpus: Vec::new(),
        }
    }

    /// Without a memory controller: what the processes have in memory, shared pages
    /// counted with each (proc_pid_statm(5)).
    fn resident_bytes(&self) -> Option<u64> {
        let page = rustix::param::page_size() as u64;
        let resident = |pid: &str| -> Option<u64> {
            let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
            text.split(' ').nth(1)?.parse().ok()
        };
        let pages: u64 = self.read("cgroup.procs")?.lines().filter_map(resident).sum();
        Some(pages * page)
    }

    fn threads(&self) -> Option<u64> {
        Some(self.read("cgroup.threads")?.lines().count() as u64)
    }

    /// As [`JobCgroup::remove`], unless another attempt of the same job has made it anew.
    pub(crate) fn remove_unless_replaced(&self) {
        let there = statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW);
        let own = fstat(&self.directory);
        if there.is_ok_and(|there| own.is_ok_and(|own| own.st_ino == there.st_ino)) {
            self.remove();
        }
    }

    /// Kills what may be left and removes the group.
    pub(crate) fn remove(&self) {
        // EBUSY as long as there is a process; what is left when a killed one is not gone
        // the next attempt at the same name removes.
        let remove = || unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR);
        if remove().is_err() {
            let _ = self.write("cgroup.kill", "1");
            let _ = remove();
        }
    }
}

/// The number behind a key of a flat keyed file.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Bytes read and written over all disks: `MAJ:MIN rbytes=… wbytes=…` each.
fn io_totals(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        let of_line = |line: &str| -> u64 {
            let found = line.split(' ').find_map(|word| word.strip_prefix(key)?.parse().ok());
            found.unwrap_or(0)
        };
        text.lines().map(of_line).sum()
    };
    (sum("rbytes="), sum("wbytes="))
}

#[cfg(test)]
mod tests {
    use super::io_totals;

    #[test]
    fn disks_are_added_up() {
        let text = "8:0 rbytes=1 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n7:1 \n\
                    253:0 rbytes=300 wbytes=4000 rios=1 wios=2 dbytes=0 dios=0\n";
        assert_eq!(io_totals(text), (301, 4020));
        assert_eq!(io_totals(""), (0, 0));
    }
}
