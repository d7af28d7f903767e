//! What becomes of a job that was not over when the last supervisor went away: a
//! function of what the store says of it and of what lives.
//!
//! No job may run twice without somebody's policy saying so. A job goes back to the
//! queue only when nothing can have begun ([`Found::Nothing`] with [`Began::Never`]),
//! and what proves that is this:
//!
//! 1. The store has `starting` before the child of the clone is told to start, so of a
//!    job that is `queued` there nothing was executed. Its child ends with the
//!    supervisor; what is still there of one after the wait for that is taken for what
//!    it looks like, in case the store is older than the job (a restore).
//! 2. The host id of an attempt is locked from before that commit to the end of the
//!    last process that could still execute the command: the supervisor has the lock,
//!    the child of the clone shares its descriptors, and the agent keeps it. Whoever gets
//!    the lock knows that there is none of them. A cgroup of the attempt that is there
//!    and empty says the same, since the child is born in it.
//! 3. The agent writes the first bytes of the report before it starts the command. A
//!    report that is empty *after* 2 was seen stays empty, and nothing ran.
//! 4. A write is seen by everybody in the same run of the machine, but after a crash
//!    of the machine only when it was waited for, which the agent does not. After
//!    another boot nothing is proven, and what was started is lost.

use fetchml_api::job::JobState;

/// What the store says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It waited.
    Queued,
    /// Its start was committed.
    Starting,
    /// Its agent was executed.
    Running,
}

/// Whether the command of an attempt can have begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Began {
    /// It is proven that it did not.
    Never,
    /// It is not.
    Perhaps,
}

/// What lives of an attempt, or what it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its agent answers.
    Agent,
    /// Its agent is gone and left a complete report.
    Report,
    /// Processes of it, but no agent that answers.
    Populated,
    /// Somebody else's agent listens at its socket.
    Other,
    /// Nothing.
    Nothing(Began),
}

/// What is done with the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It waits, as before.
    Wait,
    /// It waits again; the attempt does not count.
    WaitAgain,
    /// It is followed to its end.
    Follow,
    /// It ended as its report says.
    End,
    /// What is left of it is killed, and it is lost.
    Kill,
    /// It is lost.
    Lose,
}

impl Stored {
    /// `None`: the job is over.
    pub(crate) fn of(state: JobState) -> Option<Self> {
        match state {
            JobState::Queued => Some(Self::Queued),
            JobState::Starting => Some(Self::Starting),
            JobState::Running => Some(Self::Running),
            _ => None,
        }
    }
}

/// The table.
pub(crate) fn decide(stored: Stored, found: Found) -> Verdict {
    use Stored::{Queued, Running, Starting};
    match (stored, found) {
        // Only a store that is older than the world says so of a job with an agent,
        // a copy that was put back. The job must not run a second time beside it.
        (_, Found::Agent) => Verdict::Follow,
        (_, Found::Populated) => Verdict::Kill,
        // Of an attempt before, or of none: the one that waits has not begun.
        (Queued, Found::Report | Found::Other | Found::Nothing(_)) => Verdict::Wait,
        (Starting | Running, Found::Report) => Verdict::End,
        (Starting, Found::Nothing(Began::Never)) => Verdict::WaitAgain,
        // An agent that was executed and died before its command began. Its user was
        // told that it runs, so that it counts.
        (Running, Found::Nothing(Began::Never)) => Verdict::Lose,
        (Starting | Running, Found::Other | Found::Nothing(Began::Perhaps)) => Verdict::Lose,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Began::{Never, Perhaps};
    use Stored::{Queued, Running, Starting};

    /// One test for each cell, by the words of its row and column.
    macro_rules! cells {
        ($($name:ident: $stored:expr, $found:expr => $verdict:ident;)+) => {$(
            #[test]
            fn $name() {
                assert_eq!(decide($stored, $found), Verdict::$verdict);
            }
        )+};
    }

    cells! {
        queued_and_its_agent_lives: Queued, Found::Agent => Follow;
        queued_and_a_report_is_there: Queued, Found::Report => Wait;
        queued_and_processes_without_agent: Queued, Found::Populated => Kill;
        queued_and_anothers_agent: Queued, Found::Other => Wait;
        queued_and_nothing: Queued, Found::Nothing(Perhaps) => Wait;
        queued_and_never_begun: Queued, Found::Nothing(Never) => Wait;
        starting_and_its_agent_lives: Starting, Found::Agent => Follow;
        starting_and_a_report_is_there: Starting, Found::Report => End;
        starting_and_processes_without_agent: Starting, Found::Populated => Kill;
        starting_and_anothers_agent: Starting, Found::Other => Lose;
        starting_and_nothing: Starting, Found::Nothing(Perhaps) => Lose;
        starting_and_never_begun: Starting, Found::Nothing(Never) => WaitAgain;
        running_and_its_agent_lives: Running, Found::Agent => Follow;
        running_and_a_report_is_there: Running, Found::Report => End;
        running_and_processes_without_agent: Running, Found::Populated => Kill;
        running_and_anothers_agent: Running, Found::Other => Lose;
        running_and_nothing: Running, Found::Nothing(Perhaps) => Lose;
        running_and_never_begun: Running, Found::Nothing(Never) => Lose;
    }

    #[test]
    fn what_is_over_has_no_row() {
        for state in JobState::ALL {
            assert_eq!(Stored::of(state).is_none(), state.is_final(), "{state}");
        }
    }
}
