//! What of a sandbox's needs can be seen on this machine without a supervisor,
//! a file for each part of the machine. Each check is a function of what was
//! read, so that it can be tried with what other machines have.

mod audit;
mod devices;
mod kernel;
mod resources;
mod sandbox;
mod services;
mod storage;
mod system;

use crate::connect::Target;
use fetchml_api::host::Finding;
use std::path::PathBuf;

/// Where the meant supervisor keeps its things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    state: PathBuf,
    log: PathBuf,
}

impl Places {
    pub(crate) fn of(target: &Target) -> Self {
        match target {
            Target::System => {
                Self { state: "/var/lib/fetchml".into(), log: "/var/log/fetchml".into() }
            }
            Target::Private(dir) => Self { state: dir.join("state"), log: dir.join("log") },
        }
    }
}

/// Every check that the client can make.
pub(crate) async fn findings(target: &Target) -> Vec<Finding> {
    let places = Places::of(target);
    let version = kernel::version(&kernel::release());
    let mut findings = kernel::findings(version);
    findings.extend(sandbox::findings(version));
    findings.extend(resources::findings());
    findings.extend(storage::findings(&places, version));
    findings.extend(audit::findings());
    findings.extend(devices::findings());
    findings.extend(system::findings());
    findings.extend(services::findings(target).await);
    findings
}

/// What a file of the kernel says; `None` when it is not there or not for us.
fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The number in a file of the kernel.
fn number(path: &str) -> Option<u64> {
    read(path)?.parse().ok()
}
