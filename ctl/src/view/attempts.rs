//! Tries of a job in one line each.

use crate::view::style::{Style, of_state};
use crate::view::table::{Cell, draw};
use crate::view::text::{duration, size, time, visible};
use fetchml_api::job::{ExitReport, JobState};
use serde::Deserialize;

/// One try, as the supervisor tells it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Attempt {
    number: u32,
    state: JobState,
    started_usec: Option<u64>,
    finished_usec: Option<u64>,
    report: Option<ExitReport>,
}

/// Tries as a table, the first first.
pub(crate) fn table(attempts: &[Attempt], width: Option<usize>, style: Style) -> String {
    let header = ["ATTEMPT", "STATE", "STARTED", "TIME", "MEMORY", "CLASS", "REASON"];
    let rows: Vec<Vec<Cell>> = attempts.iter().map(row).collect();
    draw(&header, &rows, width, style)
}

fn row(attempt: &Attempt) -> Vec<Cell> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let ran = attempt.started_usec.zip(attempt.finished_usec);
    let report = attempt.report.as_ref();
    let memory = report.map(|r| r.usage.memory_peak_bytes.unwrap_or(r.usage.max_rss_bytes));
    let class = report.and_then(|r| r.failure).map(|class| class.as_str().to_owned());
    vec![
        attempt.number.to_string().into(),
        Cell::toned(attempt.state.as_str(), of_state(attempt.state)),
        or_none(attempt.started_usec.map(time)).into(),
        or_none(ran.map(|(begin, end)| duration(end.saturating_sub(begin)))).into(),
        or_none(memory.filter(|bytes| *bytes > 0).map(size)).into(),
        or_none(class).into(),
        or_none(report.map(|r| visible(&r.summary))).into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::example;

    #[test]
    fn each_try_says_how_it_ended() {
        let first = Attempt {
            number: 1,
            state: JobState::Failed,
            started_usec: Some(example::SUBMITTED),
            finished_usec: Some(example::SUBMITTED + 2_000_000),
            report: example::failed(1).report,
        };
        let second = Attempt {
            number: 2,
            state: JobState::Running,
            finished_usec: None,
            report: None,
            ..first.clone()
        };
        assert_eq!(
            table(&[first, second], None, Style { colour: false }),
            "ATTEMPT  STATE    STARTED               TIME  MEMORY  CLASS       REASON\n\
             1        failed   2025-11-13T02:13:20Z  2s    50 MiB  user-error  exit code 3\n\
             2        running  2025-11-13T02:13:20Z  -     -       -           -\n"
        );
    }
}
