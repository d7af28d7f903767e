//! Descriptors: the agent finds the few that it needs at fixed numbers, and
//! nothing else of the supervisor's.
//!
//! The child shares the supervisor's descriptor table, whose size no launch has to pay
//! for, until it takes copies of the seats: the lowest numbers that are no agent's.

use super::{Failure, Step};
use crate::plan::{Plan, failed};
use crate::supervise::Refusal;
use fetchml_api::agent::fd;
use fetchml_sys::Errno;
use fetchml_sys::confine::{
    close_from, close_from_at_exec, own_descriptors_below, place_descriptor,
};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::{DupFlags, dup3, fcntl_dupfd_cloexec};

/// Where the agent's image is until the exec closes it.
pub(super) const AGENT_IMAGE: i32 = fd::FIRST_FREE.cast_signed();

/// Where the agent looks for what is on each seat; what goes to [`fd::NULL`] has the
/// first.
const PLACES: [i32; 9] = [
    fd::NULL[0],
    fd::PLAN,
    fd::LOG,
    fd::REPORT,
    fd::IDENTITY,
    fd::ID_LOCK,
    fd::RULES,
    fd::BELL,
    AGENT_IMAGE,
];

/// Numbers of the supervisor's on which the next child puts what its agent is to
/// have. All are above the agent's own, so that none is overwritten before it was copied.
#[derive(Debug)]
pub(crate) struct Seats {
    seats: [OwnedFd; PLACES.len()],
    nobody: OwnedFd,
}

impl Seats {
    /// Takes the numbers, for good.
    pub(crate) fn reserve() -> Result<Self, Refusal> {
        let what = "reserve descriptors";
        let nobody = eventfd(0, EventfdFlags::CLOEXEC).map_err(failed(what))?;
        let seat = || fcntl_dupfd_cloexec(&nobody, AGENT_IMAGE + 1);
        let seats: Vec<_> =
            PLACES.iter().map(|_| seat()).collect::<Result<_, _>>().map_err(failed(what))?;
        let seats = seats.try_into().map_err(|_| Refusal::Infrastructure(what.into()))?;
        Ok(Self { seats, nobody })
    }

    /// Seats what a plan has for the agent. Child-safe.
    fn fill(&mut self, plan: &Plan) -> Result<(), Errno> {
        let Plan { agent_plan, log, report, identity, account, rules, bell, .. } = plan;
        let all = [
            plan.null.as_fd(),
            agent_plan.as_fd(),
            log.as_fd(),
            report.as_fd(),
            identity.as_fd(),
            account.host_id().lock(),
            rules.as_fd(),
            bell.as_fd(),
            plan.agent_image.as_fd(),
        ];
        seat(&mut self.seats, all)
    }

    /// Lets go of it.
    pub(crate) fn clear(&mut self) {
        // It fails for what is not open, and this is.
        let _ = seat(&mut self.seats, [self.nobody.as_fd(); PLACES.len()]);
    }

    fn end(&self) -> u32 {
        let last = self.seats.iter().map(AsRawFd::as_raw_fd).max();
        last.unwrap_or(AGENT_IMAGE).cast_unsigned() + 1
    }
}

fn seat(
    seats: &mut [OwnedFd; PLACES.len()],
    all: [BorrowedFd<'_>; PLACES.len()],
) -> Result<(), Errno> {
    seats.iter_mut().zip(all).try_for_each(|(seat, one)| dup3(one, seat, DupFlags::CLOEXEC))
}

/// The child: puts what its agent is to have on the reserved numbers.
pub(super) fn take_seats(seats: &mut Seats, plan: &Plan) -> Result<(), Failure> {
    Step::Descriptors.of(seats.fill(plan))
}

/// The child: from here on what it does to descriptors is its own affair.
pub(super) fn leave_only_the_agents(seats: &Seats) -> Result<(), Failure> {
    let place = || -> Result<(), Errno> {
        own_descriptors_below(seats.end())?;
        for (seat, place) in seats.seats.iter().zip(PLACES) {
            place_descriptor(seat.as_fd(), place)?;
        }
        for place in fd::NULL {
            place_descriptor(seats.seats[0].as_fd(), place)?;
        }
        close_from(fd::FIRST_FREE + 1)?;
        close_from_at_exec(fd::FIRST_FREE)
    };
    Step::Descriptors.of(place())
}
