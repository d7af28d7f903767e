//! The machine's resources, and who waits for them.

use crate::view::style::{Style, Tone};
use crate::view::table::{Cell, draw};
use crate::view::text::{duration, size, visible};
use serde::Deserialize;

/// The document of `DescribeQueue`, as far as it is shown.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Overview {
    pub(crate) running: u64,
    pub(crate) queued: u64,
    pub(crate) draining: bool,
    slots: u64,
    taken: Taken,
    capacity: Capacity,
    users: Vec<User>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Taken {
    milli_cpus: u64,
    memory_bytes: u64,
    gpus: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Capacity {
    milli_cpus: u64,
    memory_bytes: u64,
    gpus: Vec<Gpu>,
}

#[derive(Clone, Debug, Deserialize)]
struct Gpu {
    name: String,
    kind: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct User {
    uid: u32,
    user: Option<String>,
    queued: u64,
    running: u64,
    used: f64,
    gpu_hours: f64,
}

/// Two tables: what there is, and whose jobs there are.
pub(crate) fn show(queue: &Overview, width: Option<usize>, style: Style) -> String {
    let mut text = draw(&["RESOURCE", "TAKEN", "OF", ""], &resources(queue), width, style);
    if !queue.users.is_empty() {
        text.push('\n');
        let header = ["USER", "RUNNING", "WAITING", "CPU TIME OF LATE", "GPU HOURS OF LATE"];
        text.push_str(&draw(&header, &users(queue), width, style));
    }
    text
}

fn resources(queue: &Overview) -> Vec<Vec<Cell>> {
    let (taken, all) = (&queue.taken, &queue.capacity);
    let row = |name: &str, taken: String, all: String, more: String| -> Vec<Cell> {
        vec![name.into(), taken.into(), all.into(), Cell::toned(more, Tone::Quiet)]
    };
    let none = String::new;
    let gpus: Vec<String> =
        all.gpus.iter().map(|gpu| format!("{} ({})", gpu.name, gpu.kind)).collect();
    vec![
        row("slots", queue.running.to_string(), queue.slots.to_string(), none()),
        row("CPUs", cpus(taken.milli_cpus), cpus(all.milli_cpus), "promised to jobs".into()),
        row("memory", size(taken.memory_bytes), size(all.memory_bytes), "promised to jobs".into()),
        row("GPUs", taken.gpus.to_string(), all.gpus.len().to_string(), visible(&gpus.join(", "))),
        row("waiting", queue.queued.to_string(), "jobs".into(), none()),
    ]
}

fn users(queue: &Overview) -> Vec<Vec<Cell>> {
    let row = |user: &User| -> Vec<Cell> {
        let name = user.user.as_deref().map_or_else(|| user.uid.to_string(), visible);
        vec![
            name.into(),
            user.running.to_string().into(),
            user.queued.to_string().into(),
            duration(usec(user.used)).into(),
            format!("{:.1}", user.gpu_hours).into(),
        ]
    };
    queue.users.iter().map(row).collect()
}

/// Whole seconds that a person can read; what does not fit is as good as endless.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn usec(seconds: f64) -> u64 {
    (seconds.max(0.0).round() as u64).saturating_mul(1_000_000)
}

fn cpus(milli: u64) -> String {
    match milli % 1000 {
        0 => (milli / 1000).to_string(),
        rest => format!("{}.{rest:03}", milli / 1000).trim_end_matches('0').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overview_shows_what_is_taken_and_who_waits() {
        let text = r#"{"running":2,"queued":120,"draining":false,"slots":8,
            "taken":{"milli_cpus":4500,"memory_bytes":8589934592,"gpus":1,"gpu_kind":null},
            "capacity":{"slots":8,"milli_cpus":16000,"memory_bytes":68719476736,
                "gpus":[{"name":"nvidia0","kind":"NVIDIA H100"}]},
            "users":[{"uid":1000,"user":"alice","queued":120,"running":2,"used":7200.4,
                "gpu_hours":1.25}],"new":1}"#;
        let queue: Overview = serde_json::from_str(text).expect("a document");
        assert_eq!(
            show(&queue, None, Style { colour: false }),
            "RESOURCE  TAKEN  OF\n\
             slots     2      8\n\
             CPUs      4.5    16      promised to jobs\n\
             memory    8 GiB  64 GiB  promised to jobs\n\
             GPUs      1      1       nvidia0 (NVIDIA H100)\n\
             waiting   120    jobs\n\
             \n\
             USER   RUNNING  WAITING  CPU TIME OF LATE  GPU HOURS OF LATE\n\
             alice  2        120      2h                1.2\n"
        );
    }
}
