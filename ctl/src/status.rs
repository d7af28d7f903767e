//! The status that a verb ends with for a job.

use fetchml_api::job::{
    JobDescription, JobState, STATUS_CANCELLED, STATUS_REFUSED, STATUS_TIMEOUT,
};

/// The job's own status; where no report says it, its state does.
pub(crate) fn of_job(job: &JobDescription) -> u8 {
    let status = match (&job.report, job.state) {
        (Some(report), _) => report.status,
        (None, JobState::Succeeded) => 0,
        (None, JobState::Cancelled) => STATUS_CANCELLED,
        (None, JobState::TimedOut) => STATUS_TIMEOUT,
        (None, _) => STATUS_REFUSED,
    };
    // A status that does not fit is none that a command can have had.
    u8::try_from(status).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::example;

    #[test]
    fn the_report_decides_and_else_the_state() {
        let mut job = example::failed(12);
        assert_eq!(of_job(&job), 3);
        job.report = None;
        for (state, status) in [
            (JobState::Succeeded, 0),
            (JobState::Failed, 125),
            (JobState::Cancelled, 130),
            (JobState::TimedOut, 124),
        ] {
            job.state = state;
            assert_eq!(of_job(&job), status);
        }
    }
}
