//! Jobs in one line each.

use crate::link::Array;
use crate::view::style::{Style, of_state};
use crate::view::table::{Cell, draw, drawn_width};
use crate::view::text::{ago, duration, size, visible};
use fetchml_api::job::{Denied, FailureClass, JobDescription, JobState};
use std::collections::BTreeMap;

/// One line of a list.
#[derive(Clone, Debug)]
pub(crate) enum Line {
    Job(Box<JobDescription>),
    /// The newest job of an array, for what all have in common, and all of them.
    Array(Box<JobDescription>, Array),
}

/// Columns that a narrow terminal does without, for the reasons' sake, where each line
/// has only what a job has that nobody said anything else of.
const DISPENSABLE: [(&str, &str); 2] = [("EXPERIMENT", "default"), ("PRIO", "0")];

/// Jobs and arrays as a table, in the order given.
pub(crate) fn table(
    lines: &[Line],
    users: bool,
    now_usec: u64,
    width: Option<usize>,
    style: Style,
) -> String {
    let mut header =
        vec!["JOB", "NAME", "EXPERIMENT", "STATE", "PRIO", "SUBMITTED", "TIME", "REASON"];
    if users {
        header.insert(1, "USER");
    }
    let mut rows: Vec<Vec<Cell>> = lines
        .iter()
        .map(|line| {
            let (job, mut row) = match line {
                Line::Job(job) => (&**job, job_row(job, now_usec)),
                Line::Array(job, array) => (&**job, array_row(job, array, now_usec)),
            };
            if users {
                row.insert(1, user(job).into());
            }
            row
        })
        .collect();
    for (name, usual) in DISPENSABLE {
        let Some(column) = header.iter().position(|head| *head == name) else { continue };
        let is_usual = |row: &Vec<Cell>| row.get(column).is_some_and(|cell| cell.text == usual);
        if width.is_some_and(|limit| drawn_width(&header, &rows) > limit)
            && rows.iter().all(is_usual)
        {
            header.remove(column);
            rows.iter_mut().for_each(|row| drop(row.remove(column)));
        }
    }
    draw(&header, &rows, width, style)
}

fn job_row(job: &JobDescription, now_usec: u64) -> Vec<Cell> {
    vec![
        job.id.to_string().into(),
        visible(&job.spec.name).into(),
        visible(&job.spec.experiment).into(),
        Cell::toned(job.state.as_str(), of_state(job.state)),
        job.spec.queueing.priority.to_string().into(),
        ago(job.submitted_usec, now_usec).into(),
        ran(job, now_usec).map_or_else(|| "-".into(), duration).into(),
        visible(&job.reason).into(),
    ]
}

/// The state of an array is that of the job that matters most to its owner: one that
/// runs, then one that waits, then one that did not succeed.
fn array_row(job: &JobDescription, array: &Array, now_usec: u64) -> Vec<Cell> {
    use JobState::{Cancelled, Failed, Queued, Running, Starting, Succeeded, TimedOut};
    let order = [Running, Starting, Queued, Failed, TimedOut, Cancelled, Succeeded];
    let state = order.into_iter().find(|state| array.states.contains_key(state.as_str()));
    let name = job.spec.name.rsplit_once('[').map_or(job.spec.name.as_str(), |(name, _)| name);
    let why = array.reason.as_ref().map_or_else(String::new, |why| format!("; {}", visible(why)));
    vec![
        format!("{}[]", array.array).into(),
        format!("{}[]", visible(name)).into(),
        visible(&job.spec.experiment).into(),
        state.map_or_else(|| "-".into(), |state| Cell::toned(state.as_str(), of_state(state))),
        job.spec.queueing.priority.to_string().into(),
        ago(job.submitted_usec, now_usec).into(),
        "-".into(),
        format!("{} jobs: {}{why}", array.count, counts(&array.states)).into(),
    ]
}

/// Jobs by state in the order of a job's life: `2 queued, 1 running`.
pub(crate) fn counts(states: &BTreeMap<String, u64>) -> String {
    let known = JobState::ALL
        .iter()
        .filter_map(|state| states.get(state.as_str()).map(|count| format!("{count} {state}")));
    known.collect::<Vec<_>>().join(", ")
}

/// Dead jobs as a table, in the order given.
pub(crate) fn dead(
    jobs: &[JobDescription],
    users: bool,
    now_usec: u64,
    width: Option<usize>,
    style: Style,
) -> String {
    let mut header = vec!["JOB", "NAME", "EXPERIMENT", "ENDED", "ATTEMPTS", "CLASS", "REASON"];
    if users {
        header.insert(1, "USER");
    }
    let rows: Vec<Vec<Cell>> = jobs
        .iter()
        .map(|job| {
            let class = job.report.as_ref().and_then(|report| report.failure);
            let mut row: Vec<Cell> = vec![
                job.id.to_string().into(),
                visible(&job.spec.name).into(),
                visible(&job.spec.experiment).into(),
                job.finished_usec.map_or_else(|| "-".into(), |end| ago(end, now_usec)).into(),
                job.attempt.to_string().into(),
                class.map_or("-", FailureClass::as_str).into(),
                visible(&job.reason).into(),
            ];
            if users {
                row.insert(1, user(job).into());
            }
            row
        })
        .collect();
    draw(&header, &rows, width, style)
}

/// The name of a job's user, or the number where there is no name.
pub(crate) fn user(job: &JobDescription) -> String {
    job.user.as_deref().map_or_else(|| job.uid.to_string(), visible)
}

/// How long the command ran, or runs.
pub(crate) fn ran(job: &JobDescription, now_usec: u64) -> Option<u64> {
    let end = job.finished_usec.unwrap_or(now_usec);
    job.started_usec.map(|begin| end.saturating_sub(begin))
}

/// One line on the end of a job.
pub(crate) fn ended(job: &JobDescription) -> String {
    let state = job.state.as_str();
    let why = job.report.as_ref().map_or(job.reason.as_str(), |r| r.summary.as_str());
    let mut line = format!("job {} {state}", job.id);
    if job.state != JobState::Succeeded && !why.is_empty() && why != state {
        line = format!("{line}: {}", visible(why));
    }
    if let Some(bytes) = lost_output(job) {
        line = format!("{line}; {} of its output could not be kept", size(bytes));
    }
    // Supervisors say it in the summary where they think it is the reason.
    let untold = job.state == JobState::Succeeded || !why.contains("denied: ");
    match denied_in_short(job).filter(|_| untold) {
        Some(denied) => format!("{line}; {denied}"),
        None => line,
    }
}

/// Whether the end of a job is news to whoever followed its output. A success is
/// not, but for what it cannot show: lost output, and refused calls, after which
/// libraries fall back to something slower without a word.
pub(crate) fn end_is_news(job: &JobDescription) -> bool {
    job.state != JobState::Succeeded || lost_output(job).is_some() || !denied(job).is_empty()
}

/// Kinds of refused calls that one line has room for.
const DENIED_SHOWN: usize = 3;

/// What the sandbox refused the job: from its report, or so far.
pub(crate) fn denied(job: &JobDescription) -> &[Denied] {
    job.report.as_ref().map_or(&job.denied, |report| &report.denied)
}

/// A refused call, how often, and what would have let it pass.
pub(crate) fn denial(one: &Denied, profile: &str) -> String {
    if one.is_uncounted() {
        return "not known: what the sandbox denied could not be counted".to_owned();
    }
    let needs = match one.allowed_by.as_slice() {
        [] if one.call == Denied::OTHERS => "not told apart".to_owned(),
        [] => "no profile is known to allow it".to_owned(),
        profiles => format!("needs profile {}", visible(&profiles.join(" or "))),
    };
    format!("{} (profile {}; {needs})", visible(&one.to_string()), visible(profile))
}

/// The refused calls for the end of a line; those of most kinds of jobs are few.
fn denied_in_short(job: &JobDescription) -> Option<String> {
    let all = denied(job);
    let shown = all.iter().take(DENIED_SHOWN).map(|one| denial(one, &job.spec.profile));
    let mut words: Vec<String> = shown.collect();
    if all.len() > DENIED_SHOWN {
        words.push(format!("{} more kinds", all.len() - DENIED_SHOWN));
    }
    (!words.is_empty()).then(|| format!("denied: {}", words.join(", ")))
}

/// Output that did not reach the log, if there was any.
pub(crate) fn lost_output(job: &JobDescription) -> Option<u64> {
    job.report.as_ref().map(|r| r.lost_output_bytes).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::example;

    const PLAIN: Style = Style { colour: false };

    #[test]
    fn a_table_says_what_each_job_does() {
        let now = example::SUBMITTED + 3_600_000_000;
        let jobs = [example::failed(12), example::running(13)].map(|job| Line::Job(Box::new(job)));
        assert_eq!(
            table(&jobs, false, now, None, PLAIN),
            "JOB  NAME   EXPERIMENT  STATE    PRIO  SUBMITTED  TIME    REASON\n\
             12   train  default     failed   0     1h ago     2s      exit code 3\n\
             13   train  default     running  0     1h ago     59m59s  running\n"
        );
        assert!(table(&jobs, true, now, None, PLAIN).contains("JOB  USER   NAME"));
        let narrow = table(&jobs, true, now, Some(72), PLAIN);
        assert!(narrow.lines().all(|l| l.chars().count() <= 72), "{narrow}");
    }

    #[test]
    fn a_narrow_terminal_keeps_the_reason_rather_than_what_is_the_same_everywhere() {
        let mut job = example::running(13);
        job.reason = "waiting for 1 GPU; 2 jobs before it".into();
        let of = |job: &JobDescription, width| {
            table(&[Line::Job(Box::new(job.clone()))], false, example::SUBMITTED, width, PLAIN)
        };
        let narrow = of(&job, Some(80));
        assert!(narrow.contains(&job.reason) && !narrow.contains("EXPERIMENT"), "{narrow}");
        assert!(of(&job, Some(120)).contains("EXPERIMENT"));
        job.spec.experiment = "ablation".into();
        assert!(of(&job, Some(60)).contains("ablation"));
    }

    #[test]
    fn an_array_is_one_line_with_its_counts() {
        let states = [("succeeded", 90), ("queued", 7), ("running", 3)];
        let states = states.map(|(state, count)| (state.to_owned(), count)).into();
        let mut job = example::running(112);
        job.spec.name = "train[100]".into();
        job.spec.queueing.priority = -5;
        let array = Array { array: 13, count: 100, states, reason: None };
        let waiting = Array { reason: Some("held: release it".into()), ..array.clone() };
        let line = |array| Line::Array(Box::new(job.clone()), array);
        let told = table(&[line(waiting)], false, example::SUBMITTED, None, PLAIN);
        assert!(told.ends_with("90 succeeded; held: release it\n"), "{told}");
        assert_eq!(
            table(&[line(array)], false, example::SUBMITTED, None, PLAIN),
            "JOB   NAME     EXPERIMENT  STATE    PRIO  SUBMITTED  TIME  REASON\n\
             13[]  train[]  default     running  -5    now        -     \
             100 jobs: 7 queued, 3 running, 90 succeeded\n"
        );
    }

    #[test]
    fn a_dead_job_says_after_how_many_tries_and_why() {
        let jobs = [example::failed(12)];
        assert_eq!(
            dead(&jobs, true, example::SUBMITTED + 63_000_000, None, PLAIN),
            "JOB  USER   NAME   EXPERIMENT  ENDED   ATTEMPTS  CLASS       REASON\n\
             12   alice  train  default     1m ago  1         user-error  exit code 3\n"
        );
    }

    #[test]
    fn an_end_has_its_reason() {
        let mut job = example::failed(12);
        assert_eq!(ended(&job), "job 12 failed: exit code 3");
        if let Some(report) = &mut job.report {
            report.lost_output_bytes = 2048;
        }
        assert_eq!(
            ended(&job),
            "job 12 failed: exit code 3; 2 KiB of its output could not be kept"
        );
        if let Some(report) = &mut job.report {
            report.lost_output_bytes = 0;
            report.denied = vec![
                example::denied("ptrace", 3, &["debug", "notebook"]),
                example::denied("reboot", 1, &[]),
            ];
        }
        assert_eq!(
            ended(&job),
            "job 12 failed: exit code 3; denied: ptrace ×3 (profile default; needs profile debug \
             or notebook), reboot ×1 (profile default; no profile is known to allow it)"
        );
        assert_eq!(
            denial(&example::denied(Denied::OTHERS, 7, &[]), "default"),
            "others ×7 (profile default; not told apart)"
        );
        if let Some(report) = &mut job.report {
            report.denied = vec![example::denied("mount", 1, &[]); 5];
        }
        assert!(ended(&job).ends_with(", 2 more kinds"), "{}", ended(&job));
        if let Some(report) = &mut job.report {
            report.summary = "exit code 3; denied: mount ×5".into();
        }
        assert_eq!(ended(&job), "job 12 failed: exit code 3; denied: mount ×5");
    }

    #[test]
    fn a_success_is_news_when_something_was_refused_or_lost() {
        let mut job = example::failed(12);
        assert!(end_is_news(&job));
        job.state = JobState::Succeeded;
        assert!(!end_is_news(&job));
        assert_eq!(ended(&job), "job 12 succeeded");
        if let Some(report) = &mut job.report {
            report.denied = vec![example::denied("ptrace", 3, &["debug"])];
        }
        assert!(end_is_news(&job));
        assert_eq!(
            ended(&job),
            "job 12 succeeded; denied: ptrace ×3 (profile default; needs profile debug)"
        );
        if let Some(report) = &mut job.report {
            report.denied.clear();
            report.lost_output_bytes = 1;
        }
        assert!(end_is_news(&job));
    }
}
