//! The part of a plan that is complete first: what the child makes its root of before
//! it needs to know the rest of its job.

use super::{ProcPlan, c_string, failed, limits, mounts, network_of, resolver, secrets};
use crate::cgroup::JobCgroup;
use crate::launch::devices::Devices;
use crate::launch::{Created, LaunchTimes, Mark};
use crate::supervise::{Host, Refusal, StartRequest};
use fetchml_policies::Network;
use std::ffi::CString;
use std::sync::Arc;

/// What the child begins with. See [`crate::jail`] for who uses what.
#[derive(Debug)]
pub(crate) struct RootPlan {
    pub(crate) cgroup: Option<JobCgroup>,
    pub(crate) skeleton: Skeleton,
    /// Mount options of /tmp and /dev/shm.
    pub(crate) tmp_options: CString,
    pub(crate) shm_options: CString,
    /// Whether the job has pseudo-terminals of its own.
    pub(crate) terminals: bool,
    pub(crate) proc: ProcPlan,
}

/// What a prepared root depends on: jobs with the same skeleton share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Skeleton {
    /// Profile that says which host paths are shown.
    pub(crate) profile: String,
    /// Names the job knows its own ids by.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Devices of this machine beyond the usual ones, absolute, in order.
    pub(crate) devices: Vec<String>,
    /// What /etc/resolv.conf says: in the host's network as the host's, else nothing.
    pub(crate) resolver: String,
    /// Further mount points, absolute, in order.
    pub(crate) mount_points: Vec<String>,
}

/// A root that is being built, and what the rest of the plan needs to know of it.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(super) created: Created,
    pub(super) network: Network,
    pub(super) limits: limits::Resolved,
    pub(super) devices: Devices,
    pub(super) in_cgroup: bool,
    /// Whether the cgroup counts processes.
    pub(super) pids_in_cgroup: bool,
    /// Whether the job's processes can be written to in /proc.
    pub(super) processes_writable: bool,
}

/// Begins to build the root of one attempt, beside what follows.
pub(crate) fn begin(
    host: &Host,
    request: &StartRequest,
    times: &mut LaunchTimes,
) -> Result<Begun, Refusal> {
    let profile = &request.profile;
    let network = network_of(&request.spec, profile);
    let limits = limits::Resolved::new(&request.spec.limits, profile)?;
    let group_limits = limits.cgroup(host.cgroups())?;
    let allotment = host.allotment();
    let devices = Devices::of_job(host.view(), &allotment, &profile.devices, &request.gpus)?;
    let proc = ProcPlan::new(host.proc_masks(), &devices, host.oom_floor_holds())
        .map_err(failed("look at /proc"))?;
    let processes_writable = proc.processes_writable;
    let mut mount_points = mounts::mount_points(&request.spec.mounts);
    mount_points.extend(secrets::mount_point(&request.secrets));
    let root = RootPlan {
        skeleton: Skeleton {
            profile: profile.name.clone(),
            uid: profile.run_as_uid,
            gid: profile.run_as_gid,
            devices: devices.paths.clone(),
            resolver: match network {
                Network::Host => {
                    resolver::of_host(host.view()).map_err(failed("read resolv.conf"))?
                }
                _ => String::new(),
            },
            mount_points,
        },
        tmp_options: tmpfs_options("tmp_size", profile.tmp_bytes)?,
        shm_options: tmpfs_options("shm_size", profile.shm_bytes)?,
        terminals: profile.terminals,
        proc,
        // Last of what can fail, so that no failure leaves a group behind.
        cgroup: host.cgroups().create(request.job, &group_limits)?,
    };
    times.pass(Mark::Rooted);
    Ok(Begun {
        network,
        limits,
        devices,
        in_cgroup: root.cgroup.is_some(),
        pids_in_cgroup: group_limits.pids.is_some(),
        processes_writable,
        created: host.launcher().create(root, Arc::clone(profile)),
    })
}

/// A file system in memory that everybody in the job may write.
fn tmpfs_options(what: &str, bytes: u64) -> Result<CString, Refusal> {
    c_string(what, format!("mode=1777,size={bytes}"))
}
