//! Everything about the machine that is prepared once, at start-up.

use super::capacity;
use super::directory::own_directory;
use super::disk::Watch;
use super::landlock_log::LandlockLog;
use super::remains::{Ended, Remains};
use super::{
    AGENT_MARGIN, About, AdoptRequest, Adopted, Attempt, JobDirectory, LONGEST_GRACE_USEC, Opens,
    Prepared, Refusal, StartRequest, report,
};
use crate::accelerators::Accelerators;
use crate::cgroup::Cgroups;
use crate::launch::devices::Allotment;
use crate::launch::{HostView, LaunchTimes, Launcher, Mark};
use crate::plan::{self, LandlockSupport, ProcCover, failed};
use crate::queue::Capacity;
use crate::recover::{Found, Stored, Verdict, decide};
use caps::{CapSet, Capability};
use fetchml_api::agent::{DENIED, DeniedCalls, MAX_REPORT_BYTES, STOP_OVER_DISK};
use fetchml_api::host::Finding;
use fetchml_api::job::{JobId, JobSpec};
use fetchml_policies::{Library, Profile};
use fetchml_sys::watch::readiness;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, chmodat, unlinkat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect, socket_with,
};
use rustix::process::{Signal, pidfd_send_signal};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

pub(super) const IDENTITY_SUFFIX: &str = ".sock";

/// What start-up must know.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// `/var/lib/fetchml`, or a private supervisor's own.
    pub state_dir: PathBuf,
    /// `/run/fetchml`, or a private supervisor's own.
    pub runtime_dir: PathBuf,
    /// The agent's binary.
    pub agent_path: PathBuf,
    /// Profiles and filters.
    pub library: Arc<Library>,
    /// A private supervisor rather than the system service.
    pub private: bool,
    /// Where accelerators are looked for: `/`, but for tests.
    pub machine_root: PathBuf,
}

/// The machine, as far as launching needs it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Host(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    library: Arc<Library>,
    launcher: Launcher,
    cgroups: Cgroups,
    landlock: LandlockSupport,
    landlock_log: LandlockLog,
    proc_masks: Arc<[ProcCover]>,
    oom_floor_holds: bool,
    last_capability: u32,
    agent_image: Arc<OwnedFd>,
    null: Arc<OwnedFd>,
    rules: Arc<OwnedFd>,
    users: OwnedFd,
    identities: OwnedFd,
    mapping: OnceLock<Finding>,
    machine_root: PathBuf,
    allotment: RwLock<Allotment>,
    audited: RwLock<Arc<[PathBuf]>>,
}

impl Host {
    /// Prepares everything that jobs share.
    ///
    /// # Errors
    /// A refusal that names what this machine or the installation lacks.
    pub fn prepare(config: &HostConfig) -> Result<Self, Refusal> {
        let group = config.private.then(|| private_group_name(config));
        let launcher = Launcher::start(config.private)?;
        let accelerators = discover(launcher.host_view(), &config.machine_root)?;
        Ok(Self(Arc::new(Inner {
            library: Arc::clone(&config.library),
            launcher,
            cgroups: Cgroups::detect(group.as_deref()),
            landlock: LandlockSupport::detect(),
            landlock_log: LandlockLog::start(),
            proc_masks: plan::masks_of_this_kernel().into(),
            oom_floor_holds: holds_sys_resource(),
            last_capability: last_capability()?,
            agent_image: Arc::new(agent_image(config)?),
            null: Arc::new(null_device()?),
            rules: Arc::new(rules(&config.library)?),
            users: own_directory(&config.state_dir.join("users"))?,
            identities: own_directory(&config.runtime_dir.join("jobs"))?,
            mapping: OnceLock::new(),
            machine_root: config.machine_root.clone(),
            allotment: RwLock::new(Allotment { accelerators, shared: false }),
            audited: RwLock::default(),
        })))
    }

    /// Everything that can be refused before a job is queued.
    ///
    /// # Errors
    /// The refusal, in words for the submitter.
    pub fn check(
        &self,
        spec: &JobSpec,
        profile: &Profile,
        directories: &[OwnedFd],
    ) -> Result<(), Refusal> {
        plan::check_directories(spec, profile, directories)?;
        Opens::check(&self.audited(), &spec.mounts, directories)?;
        plan::check_network(spec, profile)?;
        plan::check_secrets(spec, profile)?;
        self.0.landlock.check(profile)?;
        if spec.gpus.count > 0 {
            let filter = self.0.library.filter(profile);
            let filter = filter.map_err(|e| Refusal::BarrierUnavailable(e.to_string()))?;
            plan::check_gpus(spec, profile, &filter)?;
        }
        plan::check_limits(spec, profile, &self.0.cgroups)
    }

    /// The job's directory on the disk; it exists once the job was planned.
    ///
    /// # Errors
    /// Before that.
    pub fn job_directory(
        &self,
        uid: u32,
        experiment: &str,
        job: JobId,
    ) -> Result<JobDirectory, Refusal> {
        JobDirectory::open(&self.0.users, uid, experiment, job).map_err(|e| {
            Refusal::Infrastructure(format!("cannot open the directory of job {job}: {e}"))
        })
    }

    /// Makes the job's directory and turns the request into a complete,
    /// immutable plan.
    ///
    /// # Errors
    /// A refusal; nothing is left running.
    pub fn plan(&self, request: StartRequest) -> Result<Prepared, Refusal> {
        let mut times = LaunchTimes::begin();
        // Dropped on the way to a refusal, the child is given up.
        let begun = plan::begin(self, &request, &mut times)?;
        let directory = Arc::new(JobDirectory::create(
            &self.0.users,
            request.submitter,
            &request.spec.experiment,
            request.job,
        )?);
        times.pass(Mark::Directory);
        let profile = Arc::clone(&request.profile);
        let name = request.spec.name.clone();
        let about = About {
            job: request.job,
            attempt: request.attempt,
            program: request.spec.command.first().cloned().unwrap_or_default(),
            profile: profile.name.clone(),
            time_limit_usec: Some(plan::time_limit_usec(&request.spec, &profile)),
            grace_usec: profile.stop_grace_usec,
            disk_limit_bytes: plan::disk_limit_bytes(&request.spec, &profile),
            log_limit_bytes: Some(plan::log_limit_bytes(&request.spec, &profile)),
            gpus: request.gpus.clone(),
            directory: Arc::clone(&directory),
        };
        let (created, plan, layers) = plan::build(self, request, &directory, begun, times)
            .inspect_err(|_| self.forget_identity(about.job))?;
        Ok(Prepared {
            layers,
            host_uid: plan.account.host_id().number(),
            plan: Some((created, plan)),
            name,
            about,
            host: self.clone(),
        })
    }

    /// After a restart: what became of an attempt that was starting or running.
    pub async fn adopt(&self, request: AdoptRequest) -> Adopted {
        let layers = request.layers.clone();
        match self.try_adopt(request).await {
            Ok(adopted) => adopted,
            Err(refusal) => {
                let report = report::of_failed_adoption(&refusal, &layers, super::now_usec());
                Adopted::Ended(Box::new(report))
            }
        }
    }

    async fn try_adopt(&self, request: AdoptRequest) -> Result<Adopted, Refusal> {
        let Some(stored) = Stored::of(request.state) else { return Ok(Adopted::NeverBegan) };
        let directory = self.job_directory(request.uid, &request.spec.experiment, request.job);
        let directory = match directory {
            // It is made for the first attempt.
            Err(_) if stored == Stored::Queued => return Ok(Adopted::NeverBegan),
            directory => Arc::new(directory?),
        };
        let spec = &request.spec;
        // As it is now: what the job was started with is not known any more.
        let profile = self.library().profile(&spec.profile).ok();
        let limit = |of: fn(&JobSpec, &Profile) -> Option<u64>| of(spec, profile.as_deref()?);
        let about = About {
            job: request.job,
            attempt: request.attempt,
            program: spec.command.first().cloned().unwrap_or_default(),
            profile: spec.profile.clone(),
            time_limit_usec: spec.time_limit_usec,
            grace_usec: LONGEST_GRACE_USEC,
            disk_limit_bytes: limit(plan::disk_limit_bytes),
            log_limit_bytes: limit(|spec, profile| Some(plan::log_limit_bytes(spec, profile))),
            gpus: request.gpus.clone(),
            directory,
        };
        let group = self.0.cgroups.existing(request.job);
        let (found, agent) = self.look(&about, group.as_ref(), &request).await;
        match (decide(stored, found), agent) {
            (Verdict::Follow, Some((pid, pidfd))) => {
                let pidfd = readiness(pidfd).map_err(failed("watch an adopted agent"))?;
                let disk = self.watch_disk(&about, pidfd.get_ref());
                Ok(Adopted::Running(Box::new(Attempt {
                    layers: request.layers,
                    pid,
                    times: LaunchTimes::default(),
                    pidfd,
                    bell: None.into(),
                    held: None.into(),
                    group,
                    disk,
                    opens: None,
                    about,
                    host: self.clone(),
                })))
            }
            (Verdict::Wait | Verdict::WaitAgain, _) => {
                if let Some(group) = &group {
                    group.remove();
                }
                if found != Found::Other {
                    self.forget_identity(request.job);
                }
                Ok(Adopted::NeverBegan)
            }
            (_, _) if found == Found::Other => Err(Refusal::Infrastructure(
                "another process than its agent listens at its socket".to_owned(),
            )),
            _ => {
                let layers = &request.layers;
                let remains = Remains::see(&about, group.as_ref());
                let ended = Ended { remains, disk: None, landlock: Vec::new() };
                let report = ended.collect(self, &about, group.as_ref(), layers).await;
                Ok(Adopted::Ended(Box::new(report)))
            }
        }
    }

    /// Deletes the directory of a job that is over. Neither links nor a race lead out
    /// of it: every step is taken relative to an open directory, and what lies above the
    /// job's own is root's alone.
    pub fn delete_job(&self, uid: u32, experiment: &str, job: JobId) {
        let users = self.0.users.as_raw_fd();
        let path = format!("/proc/self/fd/{users}/{uid}/{experiment}/{job}");
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::error!(job = job.0, %error, "the directory of an old job stays");
            }
            _ => {}
        }
    }

    /// Takes over how accelerators are given out, and looks which there are now.
    pub fn configure(&self, shared_gpus: bool) {
        let found = discover(self.view(), &self.0.machine_root);
        let mut allotment = self.0.allotment.write().unwrap_or_else(PoisonError::into_inner);
        allotment.shared = shared_gpus;
        match found {
            Ok(accelerators) => allotment.accelerators = accelerators,
            Err(error) => tracing::error!(%error, "accelerators stay as they were"),
        }
    }

    /// From now on it is recorded what jobs open below these directories of the host.
    pub fn audit_data(&self, directories: &[PathBuf]) {
        let named = directories.to_vec();
        // Mounts are compared by where they really are.
        let real = self.view().run(move || {
            let resolve = |path: PathBuf| match path.canonicalize() {
                Ok(real) => real,
                Err(error) => {
                    let path = path.display();
                    tracing::warn!(%path, %error, "audited data ([audit] data) is not there");
                    path.to_string().into()
                }
            };
            Ok(named.into_iter().map(resolve).collect::<Arc<[_]>>())
        });
        match real {
            Ok(real) => {
                *self.0.audited.write().unwrap_or_else(PoisonError::into_inner) = real;
            }
            Err(error) => tracing::error!(%error, "audited data stays as it was"),
        }
    }

    /// Directories of the host whose use is recorded.
    pub(crate) fn audited(&self) -> Arc<[PathBuf]> {
        Arc::clone(&self.0.audited.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What this machine has for jobs. How many at once is for others to say.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        let gpus = self.allotment().accelerators.gpus();
        capacity::of_machine(self.0.cgroups.bounds(), gpus)
    }

    pub(crate) fn allotment(&self) -> Allotment {
        self.0.allotment.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Called when the supervisor stops: a private one leaves no empty group.
    pub fn leave(&self) {
        self.0.cgroups.leave();
    }

    /// Whether the state directory can be mapped: tried once, when first asked.
    pub(super) fn mapping(&self) -> &Finding {
        self.0.mapping.get_or_init(|| super::findings::mapping(self.0.users.as_fd()))
    }

    pub(super) fn identities(&self) -> &OwnedFd {
        &self.0.identities
    }

    pub(super) fn cgroups_description(&self) -> Result<String, String> {
        self.0.cgroups.describe()
    }

    pub(crate) fn launcher(&self) -> &Launcher {
        &self.0.launcher
    }

    pub(crate) fn view(&self) -> &HostView {
        self.0.launcher.host_view()
    }

    pub(crate) fn library(&self) -> &Library {
        &self.0.library
    }

    pub(crate) fn cgroups(&self) -> &Cgroups {
        &self.0.cgroups
    }

    pub(crate) fn landlock(&self) -> LandlockSupport {
        self.0.landlock
    }

    pub(crate) fn proc_masks(&self) -> Arc<[ProcCover]> {
        Arc::clone(&self.0.proc_masks)
    }

    /// Whether the least score for the out-of-memory killer that a job can give itself
    /// is the one that it began with (`oom_score_adj_min`, set by who has
    /// CAP_SYS_RESOURCE).
    pub(crate) fn oom_floor_holds(&self) -> bool {
        self.0.oom_floor_holds
    }

    pub(crate) fn last_capability(&self) -> u32 {
        self.0.last_capability
    }

    pub(crate) fn agent_image(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.0.agent_image)
    }

    pub(crate) fn null(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.0.null)
    }

    pub(crate) fn landlock_log(&self) -> &LandlockLog {
        &self.0.landlock_log
    }

    pub(crate) fn rules(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.0.rules)
    }

    /// A socket at a path of our own on which the agent will listen.
    pub(crate) fn bind_identity(&self, job: JobId) -> Result<OwnedFd, Refusal> {
        let bound = || -> Result<OwnedFd, Errno> {
            self.forget_identity(job);
            let socket = stream_socket()?;
            bind(&socket, &self.identity_address(job)?)?;
            // Closed to everybody but root, who passes every mode: a job that was
            // given the directory could say that it, or another one, is to end.
            chmodat(&self.0.identities, identity_name(job), Mode::empty(), AtFlags::empty())?;
            Ok(socket)
        };
        bound().map_err(failed("bind the agent's socket"))
    }

    pub(super) fn forget_identity(&self, job: JobId) {
        // It may never have been there.
        let _ = unlinkat(&self.0.identities, identity_name(job), AtFlags::empty());
    }

    /// A short name whatever the length of the directory's (unix(7): 107 bytes).
    fn identity_address(&self, job: JobId) -> Result<SocketAddrUnix, Errno> {
        let directory = self.0.identities.as_raw_fd();
        SocketAddrUnix::new(format!("/proc/self/fd/{directory}/{}", identity_name(job)))
    }

    /// Tells the agent to end its job, and kills the agent if that does not happen
    /// in time. Returns when it was told. Only the supervisor reaches the socket, so
    /// a job cannot pretend that it was asked to end, as it could by signals.
    pub(super) async fn end(&self, about: &About, pidfd: OwnedFd, word: u8) {
        if let Some(socket) = self.reach_agent(about).await {
            // The agent may end by itself at this moment.
            let _ = rustix::net::send(&socket, &[word], SendFlags::NOSIGNAL);
        }
        let patience = Duration::from_micros(about.grace_usec) + AGENT_MARGIN;
        tokio::spawn(async move {
            tokio::time::sleep(patience).await;
            // ESRCH: it has ended, as it should.
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        });
    }

    /// Watches what an attempt takes on the disk, if that is limited.
    pub(super) fn watch_disk(&self, about: &About, pidfd: &OwnedFd) -> Option<Watch> {
        let limit_bytes = about.disk_limit_bytes?;
        let pidfd = pidfd.try_clone().ok()?;
        let (host, told) = (self.clone(), about.clone());
        let end = move || async move { host.end(&told, pidfd, STOP_OVER_DISK).await };
        Some(Watch::begin(Arc::clone(&about.directory), limit_bytes, end))
    }

    /// Asks the agent what its sandbox refused so far. `None` when it does not
    /// answer at once, or nonsense.
    pub(super) async fn ask_what_was_denied(&self, about: &About) -> Option<DeniedCalls> {
        const PATIENCE: Duration = Duration::from_millis(500);
        let socket = self.connect_once(about).ok()?;
        rustix::net::send(&socket, &[DENIED], SendFlags::NOSIGNAL).ok()?;
        let socket = readiness(socket).ok()?;
        // The guard only says that there is something to read.
        drop(tokio::time::timeout(PATIENCE, socket.readable()).await.ok()?.ok()?);
        let mut answer = [0u8; MAX_REPORT_BYTES];
        let len = rustix::io::read(socket.get_ref(), &mut answer).ok()?;
        DeniedCalls::decode(answer.get(..len)?)
    }

    pub(super) fn connect_once(&self, about: &About) -> Result<OwnedFd, Errno> {
        let socket = stream_socket()?;
        connect(&socket, &self.identity_address(about.job)?)?;
        Ok(socket)
    }
}

fn discover(view: &HostView, root: &Path) -> Result<Arc<Accelerators>, Refusal> {
    let root = root.to_owned();
    let found = view.run(move || Ok(Accelerators::discover(&root)));
    found.map(Arc::new).map_err(failed("look for accelerators"))
}

pub(super) fn identity_name(job: JobId) -> String {
    format!("{job}{IDENTITY_SUFFIX}")
}

fn stream_socket() -> Result<OwnedFd, Errno> {
    socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
}

/// The agent as a sealed memory file: no job can write to what the next one
/// executes (CVE-2019-5736), and the binary need not be in any job's root.
fn agent_image(config: &HostConfig) -> Result<OwnedFd, Refusal> {
    let bytes = std::fs::read(&config.agent_path).map_err(|e| {
        Refusal::Infrastructure(format!(
            "cannot read the agent {}: {e}; install it, or name it in FETCHML_AGENT for a \
             private supervisor",
            config.agent_path.display()
        ))
    })?;
    plan::sealed_file("fetchml-agent", &bytes, true)
}

fn null_device() -> Result<OwnedFd, Refusal> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed("open /dev/null"))
}

/// The rules for secrets, compiled once for the agents of all jobs.
fn rules(library: &Library) -> Result<OwnedFd, Refusal> {
    plan::sealed_file("fetchml-rules", library.secrets().bytes(), false)
}

fn holds_sys_resource() -> bool {
    caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_RESOURCE).unwrap_or(false)
}

fn last_capability() -> Result<u32, Refusal> {
    let what = failed("read /proc/sys/kernel/cap_last_cap");
    let text = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").map_err(&what)?;
    text.trim().parse().map_err(failed("read /proc/sys/kernel/cap_last_cap"))
}

/// Private supervisors with different directories must not share a group.
fn private_group_name(config: &HostConfig) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(config.state_dir.as_os_str().as_encoded_bytes());
    let hex: String = digest.iter().take(6).map(|b| format!("{b:02x}")).collect();
    format!("fetchml-{hex}")
}
