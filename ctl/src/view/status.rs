//! One job in full.

use crate::view::jobs::{denial, denied, lost_output, ran, user};
use crate::view::style::{Style, Tone, of_state};
use crate::view::text::{ago, command, duration, size, time, visible};
use crate::view::usage;
use fetchml_api::job::{ExitReport, JobDescription, JobState, LayerState, MountMode, NetworkMode};

/// Width of the column of names.
const LABEL: usize = 17;

/// Lines of `name: value`.
struct Page {
    text: String,
    style: Style,
}

impl Page {
    fn line(&mut self, label: &str, value: &str) {
        let label = self.style.paint(Tone::Quiet, &format!("{label:>LABEL$}:"));
        self.text.push_str(&format!("{label} {value}\n"));
    }
}

/// Everything known of a job.
pub(crate) fn show(job: &JobDescription, now_usec: u64, style: Style) -> String {
    let title = style.paint(Tone::Strong, &format!("job {}", job.id));
    let state = style.paint(of_state(job.state), job.state.as_str());
    let mut page = Page { text: format!("{title} {} - {state}\n", visible(&job.spec.name)), style };
    // The report says it again, with its class.
    if job.report.as_ref().is_none_or(|r| r.summary != job.reason) {
        page.line("reason", &visible(&job.reason));
    }
    queueing(&mut page, job, now_usec);
    page.line("command", &command(&job.spec.command));
    page.line("user", &user(job));
    page.line("experiment", &visible(&job.spec.experiment));
    page.line("profile", &visible(&job.spec.profile));
    asked(&mut page, job);
    page.line(
        "submitted",
        &format!("{} ({})", time(job.submitted_usec), ago(job.submitted_usec, now_usec)),
    );
    if let Some(started) = job.started_usec {
        page.line("started", &format!("{} (attempt {})", time(started), job.attempt));
    }
    if let Some(finished) = job.finished_usec {
        page.line("finished", &time(finished));
    }
    if let Some(usec) = ran(job, now_usec) {
        page.line("time", &duration(usec));
    }
    if let Some(uid) = job.host_uid {
        page.line("runs as", &format!("user id {uid} of this machine"));
    }
    for (label, value) in job.usage.iter().flat_map(usage::live) {
        page.line(label, &value);
    }
    if let Some(report) = &job.report {
        outcome(&mut page, job, report);
    }
    for one in denied(job) {
        page.line("denied", &page.style.paint(Tone::Careful, &denial(one, &job.spec.profile)));
    }
    if let Some(report) = &job.report {
        layers(&mut page, report);
    }
    page.text
}

/// What the user asked for beyond the command.
fn asked(page: &mut Page, job: &JobDescription) {
    let spec = &job.spec;
    for mount in &spec.mounts {
        let mode = match mount.mode {
            MountMode::Project => "changes are kept with the job",
            MountMode::Ro => "read-only",
            MountMode::Rw => "writable",
        };
        page.line(
            "directory",
            &format!("{} at {} ({mode})", visible(&mount.label), visible(&mount.target)),
        );
    }
    for (name, value) in &spec.env {
        page.line("variable", &visible(&format!("{name}={value}")));
    }
    match spec.network {
        Some(NetworkMode::None) => page.line("network", "none"),
        Some(NetworkMode::Loopback) => page.line("network", "loopback"),
        None => {}
    }
    if let Some(usec) = spec.time_limit_usec {
        page.line("time limit", &duration(usec));
    }
    let limits = [
        spec.limits.memory_bytes.map(|b| format!("{} of memory", size(b))),
        spec.limits.cpus.map(|n| format!("{n} CPUs")),
        spec.limits.cpuset.map(|set| format!("on CPUs {set}")),
        spec.limits.pids.map(|n| format!("{n} processes")),
        spec.limits.disk_bytes.map(|b| format!("{} on the disk", size(b))),
        spec.limits.log_bytes.map(|b| format!("{} of log", size(b))),
        spec.limits.cpu_weight.map(|n| format!("CPU weight {n}")),
        spec.limits.io_weight.map(|n| format!("disk weight {n}")),
    ];
    let limits: Vec<_> = limits.into_iter().flatten().collect();
    if !limits.is_empty() {
        page.line("limits", &limits.join(", "));
    }
    if spec.gpus.count > 0 || !job.gpu_names.is_empty() {
        page.line("GPUs", &gpus(job));
    }
}

/// What it asked for, and what it has of it while it runs.
fn gpus(job: &JobDescription) -> String {
    let asked = &job.spec.gpus;
    let kind = asked.kind.as_deref().map(|kind| format!(" of type {kind}")).unwrap_or_default();
    let mut words = format!("{}{kind}", asked.count);
    if !job.gpu_names.is_empty() {
        words = format!("{words}: {}", job.gpu_names.join(", "));
    }
    visible(&words)
}

/// Its place in the queue, as far as it asked for one.
fn queueing(page: &mut Page, job: &JobDescription, now_usec: u64) {
    let asked = &job.spec.queueing;
    if let Some(place) = asked.array {
        let limit = match place.at_once {
            0 => String::new(),
            most => format!(", at most {most} at once"),
        };
        let words = format!("{}[{}], one of {} jobs{limit}", place.array, place.index, place.count);
        page.line("array", &words);
    }
    if asked.priority != 0 {
        page.line("priority", &asked.priority.to_string());
    }
    if job.held {
        page.line("held", "until somebody releases it");
    }
    for dependency in &asked.after {
        page.line("starts", &dependency.to_string());
    }
    let tries = asked.retry.iter().filter(|(_, tries)| **tries > 0);
    let words: Vec<_> = tries.map(|(class, tries)| format!("{tries} after {class}")).collect();
    if !words.is_empty() {
        page.line("further tries", &words.join(", "));
    } else if !asked.retry.is_empty() {
        page.line("further tries", "none");
    }
    if let Some(at) = job.not_before_usec.filter(|_| !job.state.is_final()) {
        let after = match at.checked_sub(now_usec) {
            Some(rest) if rest >= 1_000_000 => {
                format!("in {}", duration(rest / 1_000_000 * 1_000_000))
            }
            _ => "now".to_owned(),
        };
        page.line("next try", &format!("{} ({after})", time(at)));
    }
    if job.dead {
        let words = "its tries are used up; it is in the dead-letter list";
        page.line("dead", &page.style.paint(Tone::Careful, words));
    }
}

fn outcome(page: &mut Page, job: &JobDescription, report: &ExitReport) {
    let mut result = visible(&report.summary);
    if let Some(failure) = report.failure {
        result = format!("{result} (class {failure})");
    }
    page.line("result", &result);
    page.line("exit status", &report.status.to_string());
    let usage = &report.usage;
    let mut used = format!(
        "{} in user mode, {} in the kernel, {} by the largest process",
        duration(usage.user_usec),
        duration(usage.system_usec),
        size(usage.max_rss_bytes)
    );
    if let Some(peak) = usage.memory_peak_bytes {
        used = format!("{used}, {} at the peak", size(peak));
    }
    used += &usage::further(&report.usage);
    page.line("used", &used);
    page.line(
        "output",
        &format!("{} standard, {} error", size(report.stdout_bytes), size(report.stderr_bytes)),
    );
    if let Some(lost) = lost_output(job) {
        page.line("lost output", &page.style.paint(Tone::Bad, &size(lost)));
    }
}

fn layers(page: &mut Page, report: &ExitReport) {
    if report.layers.is_empty() {
        return;
    }
    page.text.push_str(&page.style.paint(Tone::Strong, "layers of the sandbox"));
    page.text.push('\n');
    for layer in &report.layers {
        let (word, tone) = match layer.state {
            LayerState::Held => ("held", Tone::Good),
            LayerState::Partial => ("partial", Tone::Careful),
            LayerState::Missing => ("missing", Tone::Bad),
        };
        let word = page.style.paint(tone, &format!("{word:<7}"));
        let name = visible(&layer.name);
        page.text.push_str(&format!("{name:>LABEL$}  {word}  {}\n", visible(&layer.detail)));
    }
}

/// The verb that helps next.
pub(crate) fn next(job: &JobDescription) -> String {
    let id = job.id;
    match job.state {
        _ if job.dead => format!("dead requeue {id}"),
        JobState::Queued if job.held => format!("release {id}"),
        JobState::Queued | JobState::Starting | JobState::Running => format!("logs -f {id}"),
        JobState::Succeeded => format!("outputs {id}"),
        JobState::Failed | JobState::Cancelled | JobState::TimedOut
            if job.started_usec.is_some() =>
        {
            format!("logs --tail 50 {id}")
        }
        _ => "doctor".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::example;

    #[test]
    fn an_ended_job_is_explained() {
        let job = example::failed(12);
        let page = show(&job, example::SUBMITTED + 60_000_000, Style { colour: false });
        assert_eq!(
            page,
            "job 12 train - failed
          command: python3 train.py
             user: alice
       experiment: default
          profile: default
        directory: /home/alice/digits at /work (changes are kept with the job)
         variable: SEED=7
       time limit: 2h
           limits: 4 GiB of memory, 1.5 CPUs
        submitted: 2025-11-13T02:13:20Z (1m ago)
          started: 2025-11-13T02:13:21Z (attempt 1)
         finished: 2025-11-13T02:13:23Z
             time: 2s
           result: exit code 3 (class user-error)
      exit status: 3
             used: 1.5s in user mode, 20ms in the kernel, 50 MiB by the largest process
           output: 2 KiB standard, 12 B error
layers of the sandbox
          seccomp  held     default-hardened
         landlock  partial  level 3 of 6
"
        );
        assert_eq!(next(&job), "logs --tail 50 12");
        assert_eq!(next(&example::running(7)), "logs -f 7");
    }

    #[test]
    fn a_waiting_job_tells_its_place_in_the_queue() {
        use fetchml_api::job::{FailureClass, JobId};
        use fetchml_api::queueing::{ArrayPlace, Condition, Dependency};
        let mut job = example::running(14);
        job.state = JobState::Queued;
        job.reason = "held: release it to let it start".into();
        job.started_usec = None;
        job.held = true;
        job.not_before_usec = Some(example::SUBMITTED + 90_000_000);
        job.gpu_names = vec!["nvidia0".into()];
        let spec = &mut job.spec;
        spec.gpus.count = 1;
        spec.gpus.kind = Some("H100".into());
        spec.limits.disk_bytes = Some(20 << 30);
        spec.limits.io_weight = Some(50);
        spec.queueing.priority = -5;
        spec.queueing.after = vec![Dependency { job: JobId(3), condition: Condition::Ok }];
        spec.queueing.retry.insert(FailureClass::Lost, 2);
        spec.queueing.array = Some(ArrayPlace { array: JobId(12), index: 3, count: 9, at_once: 2 });
        let page = show(&job, example::SUBMITTED, Style { colour: false });
        for line in [
            "           reason: held: release it to let it start\n",
            "            array: 12[3], one of 9 jobs, at most 2 at once\n",
            "         priority: -5\n",
            "             held: until somebody releases it\n",
            "           starts: after success of job 3\n",
            "    further tries: 2 after lost\n",
            "         next try: 2025-11-13T02:14:50Z (in 1m30s)\n",
            "1.5 CPUs, 20 GiB on the disk, disk weight 50\n",
            "             GPUs: 1 of type H100: nvidia0\n",
        ] {
            assert!(page.contains(line), "{line} is not in {page}");
        }
        assert_eq!(next(&job), "release 14");
        let mut dead = example::failed(12);
        dead.dead = true;
        assert!(show(&dead, 0, Style { colour: false }).contains("dead-letter list"));
        assert_eq!(next(&dead), "dead requeue 12");
    }

    #[test]
    fn what_a_user_chose_cannot_colour_the_page() {
        let mut job = example::failed(1);
        job.spec.name = "\u{1b}[2J".into();
        job.spec.env.insert("A".into(), "\u{7}".into());
        assert!(!show(&job, 0, Style { colour: false }).contains(['\u{1b}', '\u{7}']));
    }
}
