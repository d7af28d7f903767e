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

/// What a job asks for of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wants<'a> {
    pub(crate) gpus: u32,
    /// Part of the model's name.
    pub(crate) gpu_kind: Option<&'a str>,
    pub(crate) memory_bytes: u64,
    pub(crate) cpus: f64,
}

impl Overview {
    /// What the whole machine has too little of, in words.
    pub(crate) fn lacks(&self, wants: &Wants<'_>) -> Option<String> {
        let &Wants { gpus, gpu_kind, memory_bytes, cpus } = wants;
        let all = &self.capacity;
        // A document without these says nothing of them.
        if all.milli_cpus == 0 || all.memory_bytes == 0 {
            return None;
        }
        let kind = gpu_kind.unwrap_or_default();
        let fits = |gpu: &&Gpu| gpu.kind.to_lowercase().contains(&kind.to_lowercase());
        let there = all.gpus.iter().filter(fits).count();
        if u64::from(gpus) > there as u64 {
            let of = gpu_kind.map(|kind| format!(" of the kind {kind:?}")).unwrap_or_default();
            return Some(format!("it asks for {gpus} GPUs{of}, and the machine has {there}"));
        }
        if memory_bytes > all.memory_bytes {
            let (asked, most) = (size(memory_bytes), size(all.memory_bytes));
            return Some(format!("it asks for {asked} of memory, and the machine has {most}"));
        }
        let most = self::cpus(all.milli_cpus);
        // Rounded as the supervisor does.
        #[allow(clippy::cast_precision_loss)]
        let beyond = (cpus * 1000.0).round() > all.milli_cpus as f64;
        beyond.then(|| format!("it asks for {cpus} CPUs, and the machine has {most}"))
    }
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

    const WANTS_NOTHING: Wants<'_> = Wants { gpus: 0, gpu_kind: None, memory_bytes: 0, cpus: 0.0 };

    #[test]
    fn an_overview_shows_what_is_taken_and_who_waits() {
        let text = r#"{"running":2,"queued":120,"draining":false,"slots":8,
            "taken":{"milli_cpus":4500,"memory_bytes":8589934592,"gpus":1,"gpu_kind":null},
            "capacity":{"slots":8,"milli_cpus":16000,"memory_bytes":68719476736,
                "gpus":[{"name":"nvidia0","kind":"NVIDIA H100"}]},
            "users":[{"uid":1000,"user":"alice","queued":120,"running":2,"used":7200.4,
                "gpu_hours":1.25}],"new":1}"#;
        let queue: Overview = serde_json::from_str(text).expect("a document");
        let lacks = |gpus, gpu_kind, memory_bytes, cpus| {
            queue.lacks(&Wants { gpus, gpu_kind, memory_bytes, cpus })
        };
        assert_eq!(lacks(1, Some("h100"), 64 << 30, 16.0), None);
        let told = lacks(2, None, 0, 0.0).expect("too many");
        assert_eq!(told, "it asks for 2 GPUs, and the machine has 1");
        assert!(lacks(1, Some("A100"), 0, 0.0).is_some_and(|told| told.contains("\"A100\"")));
        assert!(lacks(0, None, 1 << 40, 0.0).is_some_and(|told| told.contains("1 TiB of memory")));
        assert!(lacks(0, None, 0, 16.5).is_some_and(|told| told.contains("has 16")));
        assert_eq!(Overview::default().lacks(&Wants { gpus: 9, ..WANTS_NOTHING }), None);
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
