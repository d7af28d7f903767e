//! An audit log of one segment: a record of no job, then one of each of ten jobs.

use fetchml_api::audit::{Actor, Chain, Event, Id128, NewRecord, Origin, Stamp};
use fetchml_api::job::JobId;
use std::io::{Seek as _, Write as _};
use std::os::fd::OwnedFd;
use zbus::{OwnedFd as WireFd, interface};

const SEGMENT: &str = "000000000001.log";
const JOBS: u64 = 10;

pub(super) struct Audit;

#[interface(name = "org.fetchml.FetchML1.Audit")]
impl Audit {
    async fn open_files(&self, after: &str) -> Vec<(String, WireFd)> {
        if after >= SEGMENT {
            return Vec::new();
        }
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&segment()).expect("a file");
        file.rewind().expect("a file");
        vec![(SEGMENT.into(), OwnedFd::from(file).into())]
    }
}

fn segment() -> Vec<u8> {
    let origin = Origin { log_id: Id128([7; 16]), host: "node".into(), boot_id: Id128([9; 16]) };
    let mut chain = Chain::begin(origin);
    let mut lines = Vec::new();
    let new = |event, resource: &str| NewRecord::new(event, Actor::uid(0), "x", resource);
    let first = new(Event::DaemonStarted, "supervisor");
    let jobs = (1..=JOBS).map(|n| new(Event::JobStarted, &format!("job/{n}")).job(JobId(n)));
    for record in std::iter::once(first).chain(jobs) {
        let time_usec = 1_763_000_000_000_000;
        chain.append(&record, Stamp { time_usec, boottime_usec: 1 }, &mut lines);
    }
    lines
}
