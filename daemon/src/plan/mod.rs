//! A plan: everything one launch needs, each part complete and immutable before the
//! child sees it.
//!
//! [`begin`] turns a job, its profile and what the host can do into a [`RootPlan`], from
//! which a child begins to build; [`build`] makes the rest, a [`Plan`], and the list of
//! layers that will hold. They open and prepare; they decide nothing that the profile
//! did not say.

mod landlock;
mod limits;
mod mounts;
mod proc;
mod resolver;
mod root;
mod secrets;

pub(crate) use landlock::{LandlockPlan, LandlockSupport};
pub(crate) use mounts::{MountPlan, Overlay, detached_tree};
pub(crate) use proc::{Cover, ProcCover, ProcPlan, masks_of_this_kernel};
pub(crate) use root::{Begun, RootPlan, Skeleton, begin};
pub(crate) use secrets::check as check_secrets;

use crate::cgroup::Cgroups;
use crate::launch::{Account, Created, Ids, LaunchTimes, Mark};
use crate::supervise::{Host, JobDirectory, Opens, Refusal, StartRequest, duration_words};
use caps::Capability;
use fetchml_api::agent::AgentPlan;
use fetchml_api::job::{JobSpec, Layer, LayerState, NetworkMode};
use fetchml_policies::{Filter, Network, Outcome, Profile};
use fetchml_sys::namespace::{Channels, NetworkKind};
use fetchml_sys::process::CStringVector;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::process::{Gid, Resource, Rlimit, Uid};
use std::ffi::CString;
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

/// Every job's name of its machine. One for all, because it must resolve: torchrun,
/// gloo and MPI look their own host up, and /etc/hosts is part of the prepared
/// root that jobs share.
pub(crate) const HOST_NAME: &str = "job";

/// Everything one launch needs beside its root. See [`crate::jail`] for who uses what.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) times: LaunchTimes,
    /// What is mounted at /work, or with an overlay the area that its upper layer
    /// is in.
    pub(crate) work: OwnedFd,
    pub(crate) overlay: Option<Overlay>,
    pub(crate) outputs: OwnedFd,
    pub(crate) mounts: Vec<MountPlan>,
    /// What is opened of audited data, if the job has some.
    pub(crate) opens: Option<Box<Opens>>,
    /// The network and IPC namespaces, made ahead.
    pub(crate) channels: Channels,
    pub(crate) rlimits: Vec<(Resource, Rlimit)>,
    pub(crate) landlock: Option<LandlockPlan>,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) last_capability: u32,
    /// Capabilities that the job keeps in its user namespace, as a bit set.
    pub(crate) capabilities: u64,
    pub(crate) agent_argv: CStringVector,
    pub(crate) agent_env: CStringVector,
    pub(crate) agent_image: Arc<OwnedFd>,
    pub(crate) null: Arc<OwnedFd>,
    /// By which the agent tells secrets in the job's output.
    pub(crate) rules: Arc<OwnedFd>,
    pub(crate) agent_plan: OwnedFd,
    pub(crate) log: OwnedFd,
    pub(crate) report: OwnedFd,
    pub(crate) identity: OwnedFd,
    /// Rung by the agent when its report is complete.
    pub(crate) bell: OwnedFd,
    pub(crate) account: Account,
}

impl Plan {
    /// Where the job's further directories go, for error messages.
    pub(crate) fn targets(&self) -> Vec<String> {
        self.mounts.iter().map(|m| m.target_path().to_string_lossy().into_owned()).collect()
    }
}

/// Refuses limits that the profile does not allow or this machine cannot keep.
pub(crate) fn check_limits(
    spec: &JobSpec,
    profile: &Profile,
    cgroups: &Cgroups,
) -> Result<(), Refusal> {
    if let Some(limit) = spec.time_limit_usec.filter(|t| *t > profile.max_runtime_usec) {
        return Err(Refusal::Invalid(format!(
            "a time limit of {} is above what profile `{}` allows ({}, max_runtime_hours); ask \
             for less or use another profile",
            duration_words(limit),
            profile.name,
            duration_words(profile.max_runtime_usec)
        )));
    }
    limits::Resolved::new(&spec.limits, profile)?.cgroup(cgroups).map(drop)
}

/// Refuses mounts that the profile has no room for or whose descriptors do not fit.
pub(crate) fn check_directories(
    spec: &JobSpec,
    profile: &Profile,
    directories: &[OwnedFd],
) -> Result<(), Refusal> {
    if spec.mounts.len() != directories.len() {
        return Err(Refusal::Invalid(format!(
            "{} mounts came with {} descriptors; send one directory descriptor for each mount",
            spec.mounts.len(),
            directories.len()
        )));
    }
    for (mount, directory) in spec.mounts.iter().zip(directories) {
        mounts::check_target(&mount.target, profile)?;
        mounts::check(mount, directory)?;
    }
    Ok(())
}

/// Refuses accelerators under a filter that lets no call reach them.
pub(crate) fn check_gpus(
    spec: &JobSpec,
    profile: &Profile,
    filter: &Filter,
) -> Result<(), Refusal> {
    // An ioctl of each driver: NV_ESC_CARD_INFO and AMDKFD_IOC_GET_VERSION.
    const COMMANDS: [u64; 2] = [0xc090_46c8, 0x8008_4b01];
    let ioctl = u32::try_from(nix::libc::SYS_ioctl).unwrap_or(u32::MAX);
    let passes =
        |command: &u64| filter.outcome(ioctl, &[3, *command, 0, 0, 0, 0]) == Outcome::Allow;
    if spec.gpus.count == 0 || COMMANDS.iter().all(passes) {
        return Ok(());
    }
    Err(Refusal::Invalid(format!(
        "profile `{}` lets no call reach a device (ioctl), so that --gpus would give the job \
         nothing; use a profile such as gpu",
        profile.name
    )))
}

/// What the job may write to the disk, if that is limited.
pub(crate) fn disk_limit_bytes(spec: &JobSpec, profile: &Profile) -> Option<u64> {
    spec.limits.disk_bytes.or(profile.disk_bytes)
}

/// The most that a job's log may hold.
pub(crate) fn log_limit_bytes(spec: &JobSpec, profile: &Profile) -> u64 {
    spec.limits.log_bytes.unwrap_or(profile.log_bytes)
}

/// The job's own limit, or the profile's.
pub(crate) fn time_limit_usec(spec: &JobSpec, profile: &Profile) -> u64 {
    spec.time_limit_usec.unwrap_or(profile.max_runtime_usec)
}

/// Makes a refusal of a failed preparation.
pub(crate) fn failed<E: std::fmt::Display>(what: &str) -> impl Fn(E) -> Refusal + '_ {
    move |e| Refusal::Infrastructure(format!("cannot {what}: {e}"))
}

/// Builds the rest of the plan of one attempt, whose child builds its root meanwhile.
pub(crate) fn build(
    host: &Host,
    request: StartRequest,
    directory: &JobDirectory,
    begun: Begun,
    mut times: LaunchTimes,
) -> Result<(Created, Plan, Vec<Layer>), Refusal> {
    let profile = Arc::clone(&request.profile);
    let filter =
        host.library().filter(&profile).map_err(|e| Refusal::BarrierUnavailable(e.to_string()))?;
    let account = host.launcher().account(Ids {
        submitter: request.submitter,
        uid: profile.run_as_uid,
        gid: profile.run_as_gid,
    })?;
    let channels = host.launcher().ahead().channels(match begun.network {
        Network::None => NetworkKind::Nothing,
        Network::Loopback => NetworkKind::Loopback,
        Network::Host => NetworkKind::Host,
    })?;
    let mapped = mounts::IdMaps::new(host.view(), &account);
    times.pass(Mark::Identity);
    let mut mounts = mounts::user_mounts(&request, &mapped)?;
    let work = mapped.tree_for_overlay(&directory.open_work_area()?, mounts.project.is_some())?;
    let overlay = mounts.project.take().map(|lower| Overlay::new(lower, &work)).transpose()?;
    let outputs = mapped.tree(&directory.open_for_mount("outputs")?, "/outputs", true)?;
    times.pass(Mark::Trees);
    // Also of jobs that waited while the configuration was read again.
    Opens::check(&host.audited(), &request.spec.mounts, &request.directories)?;
    let opens =
        Opens::begin(&host.audited(), mounts::others(&request), &mounts.others)?.map(Box::new);
    mounts.others.extend(secrets::mount(&request.secrets, account.host_id().number())?);
    let landlock =
        host.landlock().plan(&profile, begun.network, &mounts, begun.devices.has_nvidia())?;
    let mut plan = Plan {
        times,
        work,
        overlay,
        outputs,
        mounts: mounts.others,
        opens,
        channels,
        rlimits: begun.limits.rlimits(&profile, begun.pids_in_cgroup),
        uid: Uid::from_raw(profile.run_as_uid),
        gid: Gid::from_raw(profile.run_as_gid),
        last_capability: host.last_capability(),
        capabilities: capabilities(&profile)?,
        agent_argv: CStringVector::new(["fetchml-agent", "init"])
            .map_err(failed("name the agent"))?,
        // The agent's environment is empty: /proc/1/environ tells nothing.
        agent_env: CStringVector::new([""; 0]).map_err(failed("empty the environment"))?,
        agent_image: host.agent_image(),
        null: host.null(),
        rules: host.rules(),
        agent_plan: agent_plan(&request, &begun.limits, &filter, host)?,
        log: directory.create_log(request.attempt)?,
        report: directory.create_report(request.attempt)?,
        identity: host.bind_identity(request.job)?,
        bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(failed("make an event counter"))?,
        landlock,
        account,
    };
    let mut layers = layers(&plan, &begun, &profile, &filter, host);
    layers.extend(begun.devices.layer());
    layers.extend(plan.opens.as_ref().map(|opens| opens.layer()));
    plan.times.pass(Mark::Planned);
    Ok((begun.created, plan, layers))
}

/// Refuses a network mode for which the profile has no sockets.
pub(crate) fn check_network(spec: &JobSpec, profile: &Profile) -> Result<(), Refusal> {
    match network_of(spec, profile) {
        mode if profile.networks.contains(&mode) => Ok(()),
        _ => Err(Refusal::Invalid(format!(
            "profile `{}` lets no job make the sockets that a loopback is for; leave out \
             --network, or use another profile",
            profile.name
        ))),
    }
}

fn network_of(spec: &JobSpec, profile: &Profile) -> Network {
    match spec.network {
        Some(NetworkMode::None) => Network::None,
        Some(NetworkMode::Loopback) => Network::Loopback,
        None => profile.network_mode,
    }
}

fn c_string(what: &str, text: impl Into<Vec<u8>>) -> Result<CString, Refusal> {
    CString::new(text).map_err(|_| Refusal::Invalid(format!("{what} holds a NUL byte")))
}

fn agent_plan(
    request: &StartRequest,
    limits: &limits::Resolved,
    filter: &Filter,
    host: &Host,
) -> Result<OwnedFd, Refusal> {
    let profile = &request.profile;
    let mut env = profile.env.clone();
    env.extend(request.spec.env.clone());
    for (name, value) in host.allotment().accelerators.variables(&request.gpus) {
        env.insert(name.into(), value);
    }
    env.insert("FETCHML_JOB_ID".into(), request.job.to_string());
    env.insert("FETCHML_ATTEMPT".into(), request.attempt.to_string());
    env.insert("FETCHML_OUTPUT_DIR".into(), "/outputs".into());
    env.insert("FETCHML_METRICS_FILE".into(), "/outputs/metrics.jsonl".into());
    if let Some(place) = request.spec.queueing.array {
        env.insert("FETCHML_ARRAY_ID".into(), place.array.to_string());
        env.insert("FETCHML_ARRAY_INDEX".into(), place.index.to_string());
        env.insert("FETCHML_ARRAY_COUNT".into(), place.count.to_string());
    }
    let search_path = env.get("PATH").map_or("/usr/local/bin:/usr/bin:/bin", String::as_str);
    // The same rules, whether denials are told or not.
    let (program, refusals) = match &filter.counting {
        Some(counting) => (Some(&counting.program), Some(counting.refusals.clone())),
        None => (filter.programs.first(), None),
    };
    let own_filter = host.library().agent_filter();
    let mut env: Vec<_> = env.iter().map(|(k, v)| format!("{k}={v}").into_bytes()).collect();
    env.extend(secrets::variables(&request.secrets)?);
    let mut plan = AgentPlan {
        argv: request.spec.command.iter().map(|a| a.clone().into_bytes()).collect(),
        search_path: search_path
            .split(':')
            .filter(|d| d.starts_with('/'))
            .map(|d| d.as_bytes().to_vec())
            .collect(),
        env,
        cwd: b"/work".to_vec(),
        time_limit_usec: Some(time_limit_usec(&request.spec, profile)),
        grace_usec: profile.stop_grace_usec,
        log_limit_bytes: limits.log_bytes,
        filter: program.cloned().unwrap_or_default(),
        refusals,
        own_filter: own_filter.programs.concat(),
        uid: profile.run_as_uid,
        gid: profile.run_as_gid,
        capabilities: capabilities(profile)?,
        secrets: request.secrets.iter().map(|one| one.value.to_vec()).collect(),
    };
    let bytes = plan.encode().map(Zeroizing::new).map_err(failed("encode the agent's plan"));
    // Of the job's secrets nothing stays behind in this process.
    plan.secrets.zeroize();
    plan.env.zeroize();
    sealed_file("fetchml-plan", &bytes?, false)
}

/// A memory file that nobody can change any more.
pub(crate) fn sealed_file(name: &str, bytes: &[u8], executable: bool) -> Result<OwnedFd, Refusal> {
    let kind = if executable { MemfdFlags::EXEC } else { MemfdFlags::NOEXEC_SEAL };
    let base = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match rustix::fs::memfd_create(name, base | kind) {
        // Before Linux 6.3 there was no such choice.
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create(name, base),
        other => other,
    }
    .map_err(failed("make a memory file"))?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let n = rustix::io::write(&file, rest).map_err(failed("fill a memory file"))?;
        rest = rest.get(n..).unwrap_or_default();
    }
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, seals).map_err(failed("seal a memory file"))?;
    Ok(file)
}

/// The bits of the capabilities that a profile leaves its jobs.
fn capabilities(profile: &Profile) -> Result<u64, Refusal> {
    profile.allowed_caps.iter().try_fold(0, |bits, name| match name.parse::<Capability>() {
        Ok(capability) => Ok(bits | 1 << capability.index()),
        Err(_) => Err(Refusal::Invalid(format!(
            "profile `{}` keeps the capability {name}, which is not known here; remove it from \
             allowed_caps",
            profile.name
        ))),
    })
}

fn capability_words(profile: &Profile) -> String {
    if profile.allowed_caps.is_empty() {
        return "all five sets empty, secure bits locked".into();
    }
    format!(
        "all but {} dropped, which hold in the job's user namespace alone; secure bits locked",
        profile.allowed_caps.join(", ")
    )
}

/// What will hold, in words, for the report and the audit record.
fn layers(
    plan: &Plan,
    begun: &Begun,
    profile: &Profile,
    filter: &Filter,
    host: &Host,
) -> Vec<Layer> {
    let held =
        |name: &str, detail: String| Layer { name: name.into(), state: LayerState::Held, detail };
    let own_network = if begun.network == Network::Host { "" } else { "net, " };
    let network = match begun.network {
        Network::None => "own namespace, no interface is up",
        Network::Loopback => "own namespace, only its own loopback is up",
        Network::Host => "none: the profile gives the host's network",
    };
    let proc = match begun.processes_writable {
        true => "masked /proc (entries of its own processes can be written, for CUDA)",
        false => "masked /proc",
    };
    let terminals = if profile.terminals { ", pseudo-terminals of its own" } else { "" };
    let (uid, outside) = (profile.run_as_uid, plan.account.host_id().number());
    vec![
        held("namespaces", format!("mount, pid, {own_network}ipc, uts, cgroup, user")),
        held("root", format!("read-only, pivoted, {proc}, minimal /dev{terminals}")),
        held("network", network.into()),
        held("ids", format!("uid {uid} inside is host uid {outside}, no groups")),
        held("capabilities", capability_words(profile)),
        held("no-new-privileges", "set".into()),
        held(
            "seccomp",
            format!("{}: {} calls allowed, others refused", filter.name, filter.allowed),
        ),
        host.landlock().layer(plan.landlock.is_some()),
        begun.limits.layer(begun.in_cgroup),
        held("descriptors", "none of the supervisor's, empty session keyring".into()),
    ]
}
