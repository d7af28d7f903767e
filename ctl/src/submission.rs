//! From the words after `run` and `submit` to what the supervisor is asked:
//! a specification, and directories that this program opened with the rights
//! of the person who runs it.

use crate::cli;
use crate::error::{Failure, Result};
use crate::input::Mount;
use crate::link::Link;
use crate::reference;
use crate::view::queue::Wants;
use crate::view::text::visible;
use fetchml_api::job::{JobSpec, MountMode, NetworkMode};
use fetchml_api::names::MAX_SPEC_BYTES;
use rustix::fs::{Access, AtFlags, Mode, OFlags};
use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use zbus::{Fd, Variant};

/// Where the job sees its project.
const PROJECT_TARGET: &str = "/work";

/// A job that can be submitted.
#[derive(Debug)]
pub(crate) struct Submission {
    job: cli::Job,
    env: BTreeMap<String, String>,
    mounts: Vec<Opened>,
    /// Jobs that it waits for, and how they must end.
    after: Vec<(u64, &'static str)>,
}

/// A directory the caller opened for the job.
#[derive(Debug)]
struct Opened {
    target: String,
    mode: &'static str,
    label: String,
    fd: OwnedFd,
}

impl Submission {
    /// Opens the directories and checks what can be checked here.
    pub(crate) fn prepare(mut job: cli::Job) -> Result<Self> {
        match job.command.first() {
            None => {
                return Err(Failure::usage("empty command")
                    .hint("write it after --, such as -- python3 train.py"));
            }
            Some(first) if first.is_empty() => {
                return Err(Failure::usage("empty command: its first word is empty")
                    .hint("name a program, such as -- python3 train.py"));
            }
            Some(_) => {}
        }
        let mut mounts = vec![project(job.dir.as_deref())?];
        for mount in &job.mounts {
            mounts.push(shown(mount)?);
        }
        let env: BTreeMap<_, _> = job.env.drain(..).collect();
        let submission = Self { job, env, mounts, after: Vec::new() };
        submission.check_size()?;
        Ok(submission)
    }

    /// Finds the jobs that it is to wait for.
    pub(crate) async fn find_jobs_before(&mut self, link: &Link) -> Result<()> {
        for (words, condition) in [(&self.job.after, "any"), (&self.job.after_ok, "ok")] {
            let found = reference::resolve(link, words).await?;
            self.after.extend(found.into_iter().map(|id| (id, condition)));
        }
        Ok(())
    }

    /// The profile that was named.
    pub(crate) fn profile(&self) -> Option<&str> {
        self.job.profile.as_deref()
    }

    /// The jobs that were found for it to wait for.
    pub(crate) fn jobs_before(&self) -> impl Iterator<Item = u64> {
        self.after.iter().map(|(id, _)| *id)
    }

    /// What it asks for of the machine.
    pub(crate) fn wants(&self) -> Wants<'_> {
        let job = &self.job;
        Wants {
            gpus: job.gpus.unwrap_or(0),
            gpu_kind: job.gpu_type.as_deref(),
            memory_bytes: job.memory.unwrap_or(0),
            cpus: job.cpus.unwrap_or(0.0),
        }
    }

    /// What the job would be, as far as it is known here.
    pub(crate) fn preview(&self) -> JobSpec {
        let job = &self.job;
        let plain = JobSpec::plain(job.command.clone());
        let last = plain.name.rsplit('/').find(|part| !part.is_empty()).unwrap_or("job");
        let name = job.name.clone().unwrap_or_else(|| last.to_owned());
        JobSpec { name, env: self.env.clone(), ..plain }
    }

    /// The supervisor refuses it too; here the person learns it before anything is sent.
    fn check_size(&self) -> Result<()> {
        const OVERHEAD: usize = 16;
        let words = self.job.command.iter().map(String::len);
        let variables = self.env.iter().map(|(n, v)| n.len() + v.len() + OVERHEAD);
        let labels = self.mounts.iter().map(|m| m.target.len() + m.label.len() + OVERHEAD);
        let bytes: usize = words.map(|w| w + OVERHEAD).chain(variables).chain(labels).sum();
        if bytes > MAX_SPEC_BYTES {
            return Err(Failure::no(format!(
                "the job's description is too large: {bytes} bytes of at most {MAX_SPEC_BYTES}"
            ))
            .hint("put long arguments into a file of the project"));
        }
        Ok(())
    }

    /// The first argument of `SubmitJob`.
    pub(crate) fn spec(&self) -> HashMap<&'static str, Variant<'_>> {
        let job = &self.job;
        let mut spec = HashMap::from([("command", Variant::from(&job.command))]);
        if !self.env.is_empty() {
            let env: HashMap<&str, &str> =
                self.env.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            spec.insert("env", Variant::from(env));
        }
        if !job.secrets.is_empty() {
            spec.insert("secrets", Variant::from(&job.secrets));
        }
        if !job.secret_env.is_empty() {
            let variables: HashMap<&str, &str> =
                job.secret_env.iter().map(|(name, v)| (v.as_str(), name.as_str())).collect();
            spec.insert("secret-env", Variant::from(variables));
        }
        let words = [
            ("name", &job.name),
            ("experiment", &job.experiment),
            ("profile", &job.profile),
            ("gpu-type", &job.gpu_type),
        ];
        for (key, word) in words {
            if let Some(word) = word {
                spec.insert(key, Variant::from(word.as_str()));
            }
        }
        if let Some(network) = job.network {
            spec.insert(
                "network",
                Variant::from(match network {
                    NetworkMode::None => "none",
                    NetworkMode::Loopback => "loopback",
                }),
            );
        }
        let numbers = [
            ("time-limit-usec", job.time_limit),
            ("memory-bytes", job.memory),
            ("pids", job.pids),
            ("disk-bytes", job.disk),
            ("log-bytes", job.log_limit),
        ];
        for (key, number) in numbers {
            if let Some(number) = number {
                spec.insert(key, Variant::from(number));
            }
        }
        let small =
            [("cpu-weight", job.cpu_weight), ("io-weight", job.io_weight), ("gpus", job.gpus)];
        for (key, number) in small {
            if let Some(number) = number {
                spec.insert(key, Variant::from(number));
            }
        }
        if let Some(cpus) = job.cpus {
            spec.insert("cpus", Variant::from(cpus));
        }
        if let Some(set) = job.cpuset {
            spec.insert("cpuset", Variant::from(set.to_string()));
        }
        self.place_in_queue(&mut spec);
        spec
    }

    fn place_in_queue<'s>(&'s self, spec: &mut HashMap<&'static str, Variant<'s>>) {
        let job = &self.job;
        if let Some(priority) = job.priority {
            spec.insert("priority", Variant::from(priority));
        }
        if job.hold {
            spec.insert("hold", Variant::from(true));
        }
        if !self.after.is_empty() {
            spec.insert("after", Variant::from(self.after.clone()));
        }
        if !job.retry.is_empty() {
            let retry = job.retry.iter().map(|(class, tries)| (class.as_str(), *tries));
            spec.insert("retry", Variant::from(retry.collect::<HashMap<&str, u32>>()));
        }
    }

    /// The second argument of `SubmitJob`.
    pub(crate) fn mounts(&self) -> Vec<(&str, &str, &str, Fd<'_>)> {
        self.mounts
            .iter()
            .map(|m| (m.target.as_str(), m.mode, m.label.as_str(), Fd::from(&m.fd)))
            .collect()
    }
}

/// The project: the root and the home directory are refused, since a job would
/// read every key and every mail in them.
fn project(dir: Option<&Path>) -> Result<Opened> {
    let dir = dir.unwrap_or(Path::new("."));
    let opened = open(dir, PROJECT_TARGET, MountMode::Project)?;
    let root = (PathBuf::from("/"), "the root directory");
    let homes = homes().map(|home| (home, "your home directory"));
    for (place, what) in std::iter::once(root).chain(homes) {
        if same(&opened.fd, &place) {
            return Err(Failure::no(format!(
                "{} is {what}: a job would see all of it",
                opened.label
            ))
            .hint("change into the project's own directory, or name it with --dir"));
        }
    }
    Ok(opened)
}

fn shown(mount: &Mount) -> Result<Opened> {
    open(&mount.host, &mount.target, mount.mode)
}

/// Opens a directory with the caller's rights. The descriptor is the proof of
/// those rights that the supervisor gets instead of a path.
fn open(path: &Path, target: &str, mode: MountMode) -> Result<Opened> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let failed = |step: &str, errno: rustix::io::Errno| {
        Failure::io(step, visible(&path.to_string_lossy()), &errno.into())
    };
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
        rustix::io::Errno::NOTDIR => failed("cannot show", errno)
            .hint("a job is shown directories: name the one that holds the file"),
        errno => failed("cannot open", errno).hint(match mode {
            MountMode::Project => "name the project's directory with --dir",
            MountMode::Ro | MountMode::Rw => "--mount takes a directory of this machine first",
        }),
    })?;
    rustix::fs::accessat(&fd, ".", Access::READ_OK | Access::EXEC_OK, AtFlags::EACCESS)
        .map_err(|errno| failed("cannot read", errno))?;
    if mode == MountMode::Rw {
        rustix::fs::accessat(&fd, ".", Access::WRITE_OK, AtFlags::EACCESS).map_err(|errno| {
            failed("cannot write", errno)
                .hint("mount it read-only by leaving :rw out, or choose a directory of your own")
        })?;
    }
    let word = match mode {
        MountMode::Project => "project",
        MountMode::Ro => "ro",
        MountMode::Rw => "rw",
    };
    let label = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let label = visible(&label.to_string_lossy());
    Ok(Opened { target: target.to_owned(), mode: word, label, fd })
}

/// The home directory of the user database and the one of the environment,
/// which differ under sudo.
fn homes() -> impl Iterator<Item = PathBuf> {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective()).ok().flatten();
    let named = std::env::var_os("HOME").map(PathBuf::from);
    user.map(|u| u.dir).into_iter().chain(named).filter(|d| d.is_absolute())
}

/// Whether a path leads to an open directory, whatever the path is called.
fn same(fd: &OwnedFd, path: &Path) -> bool {
    let identity = |s: rustix::fs::Stat| (s.st_dev, s.st_ino);
    match (rustix::fs::fstat(fd), rustix::fs::stat(path)) {
        (Ok(a), Ok(b)) => identity(a) == identity(b),
        _ => false,
    }
}
