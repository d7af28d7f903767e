//! Arrays with a limit of how many of their jobs run at once.

use fetchml_api::job::JobId;
use fetchml_api::queueing::ArrayPlace;
use std::collections::{BTreeSet, HashMap};

/// Arrays of which a job is ready, parked or running.
#[derive(Debug, Default)]
pub(super) struct Arrays(HashMap<JobId, Array>);

#[derive(Debug, Default)]
struct Array {
    running: usize,
    ready: usize,
    parked: BTreeSet<JobId>,
}

impl Arrays {
    /// Whether one more of its jobs may be ready: as many as may still start.
    pub(super) fn has_room(&self, place: &ArrayPlace) -> bool {
        let most = usize::try_from(place.at_once).unwrap_or(usize::MAX);
        let taken = self.0.get(&place.array).map_or(0, |array| array.running + array.ready);
        most == 0 || taken < most
    }

    pub(super) fn running(&self, place: &ArrayPlace) -> usize {
        self.0.get(&place.array).map_or(0, |array| array.running)
    }

    pub(super) fn park(&mut self, place: &ArrayPlace, job: JobId) {
        self.0.entry(place.array).or_default().parked.insert(job);
    }

    pub(super) fn unpark(&mut self, place: &ArrayPlace, job: JobId) {
        self.change(place, |array| {
            array.parked.remove(&job);
        });
    }

    /// The first of its parked jobs, but not this one.
    pub(super) fn first_parked(&self, place: &ArrayPlace, not: Option<JobId>) -> Option<JobId> {
        let array = self.0.get(&place.array)?;
        array.parked.iter().copied().find(|job| Some(*job) != not)
    }

    pub(super) fn became_ready(&mut self, place: &ArrayPlace) {
        self.0.entry(place.array).or_default().ready += 1;
    }

    pub(super) fn left_ready(&mut self, place: &ArrayPlace) {
        self.change(place, |array| array.ready = array.ready.saturating_sub(1));
    }

    pub(super) fn started(&mut self, place: &ArrayPlace) {
        self.0.entry(place.array).or_default().running += 1;
    }

    pub(super) fn stopped(&mut self, place: &ArrayPlace) {
        self.change(place, |array| array.running = array.running.saturating_sub(1));
    }

    /// Changes an array and forgets it when nothing of it is left.
    fn change(&mut self, place: &ArrayPlace, change: impl FnOnce(&mut Array)) {
        let Some(array) = self.0.get_mut(&place.array) else { return };
        change(array);
        if array.running == 0 && array.ready == 0 && array.parked.is_empty() {
            self.0.remove(&place.array);
        }
    }
}
