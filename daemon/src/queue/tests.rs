//! The laws of the queue, held against random histories, and its words.

use super::*;
use fetchml_api::queueing::Condition;
use proptest::prelude::*;

const MINUTE: u64 = 60_000_000;

fn entry(id: u64, uid: u32) -> Entry {
    Entry {
        id: JobId(id),
        uid,
        priority: 0,
        held: false,
        not_before_usec: 0,
        time_limit_usec: 10 * MINUTE,
        needs: Arc::default(),
        after: Box::default(),
        array: None,
        text_bytes: 10,
    }
}

fn needing(id: u64, milli_cpus: u64, gpus: u32) -> Entry {
    let needs = Needs { milli_cpus, gpus, ..Needs::default() };
    Entry { needs: Arc::new(needs), ..entry(id, 1) }
}

fn queue(slots: usize, cpus: u64, gpus: usize) -> Queue {
    let mut queue = Queue::default();
    let gpu = |n| Gpu { name: format!("nvidia{n}"), kind: "NVIDIA H100".into() };
    queue.set_capacity(Capacity {
        slots,
        milli_cpus: cpus * 1000,
        memory_bytes: 8 << 30,
        gpus: (0..gpus).map(gpu).collect(),
    });
    queue
}

fn ids(starts: &[Start]) -> Vec<u64> {
    starts.iter().map(|start| start.job.0).collect()
}

fn why(queue: &Queue, id: u64) -> String {
    queue.why(JobId(id), 1).expect("it waits").to_string()
}

#[test]
fn whoever_queues_many_that_cannot_start_keeps_nobody_else_from_starting() {
    let mut queue = queue(16, 16, 1);
    let long = Entry { uid: 9, time_limit_usec: 24 * 60 * MINUTE, ..needing(1, 1000, 1) };
    queue.push(long, 1);
    assert_eq!(ids(&queue.take_next(1)), [1]);
    for id in 100..100 + 2 * MOST_LOOKED_AT as u64 {
        queue.push(needing(id, 1000, 1), 1);
    }
    queue.push(Entry { uid: 2, time_limit_usec: MINUTE, ..entry(9999, 2) }, 1);
    assert_eq!(ids(&queue.take_next(2)), [9999]);
}

#[test]
fn a_job_that_is_put_in_line_twice_waits_once() {
    let mut queue = queue(1, 8, 0);
    let later = |at| Entry { not_before_usec: at, ..entry(1, 1) };
    queue.push(later(5), 1);
    queue.push(later(7), 1);
    assert_eq!((queue.queued_of(1).jobs, queue.next_time()), (1, Some(7)));
    queue.wake(8);
    assert_eq!(ids(&queue.take_next(8)), [1]);
    assert_eq!((queue.queued_of(1).jobs, queue.next_time()), (0, None));
}

#[test]
fn first_come_first_served_within_the_slots() {
    let mut queue = queue(2, 8, 0);
    for id in [3, 1, 2, 4] {
        queue.push(entry(id, 1), 1);
    }
    assert!(queue.remove(JobId(2)).is_some());
    assert!(queue.remove(JobId(2)).is_none());
    assert_eq!(ids(&queue.take_next(1)), [1, 3]);
    assert_eq!(ids(&queue.take_next(1)), [0; 0]);
    assert_eq!(why(&queue, 4), "waits for a slot, 2 of 2 run; no job before it");
    queue.ended(JobId(1), true, 2);
    assert_eq!(ids(&queue.take_next(2)), [4]);
}

#[test]
fn many_jobs_have_a_reason_together_if_one_thing_keeps_them() {
    let mut queue = queue(1, 8, 0);
    let place = |index| ArrayPlace { array: JobId(1), index, count: 4, at_once: 3 };
    for id in 1..=4 {
        queue.push(Entry { array: Some(place(id)), held: true, ..entry(id, 1) }, 1);
    }
    let all = [1, 2, 3, 4, 77].map(JobId);
    let together =
        |queue: &Queue, drained| queue.why_all(&all, drained, 1).map(|why| why.to_string());
    let held = "held: release it to let it start";
    assert_eq!(together(&queue, true).as_deref(), Some(held));
    queue.change(JobId(2), 1, |entry| entry.held = false);
    assert_eq!(together(&queue, false), None, "one is released");
    for id in [1, 3, 4] {
        queue.change(JobId(id), 1, |entry| entry.held = false);
    }
    // Three wait for their turns, one for its array: neither turn comes in a drained queue.
    assert_eq!(together(&queue, false), None);
    let drained = "the queue is drained: nothing starts until `drain --end` or the next supervisor";
    assert_eq!(together(&queue, true).as_deref(), Some(drained));
    assert_eq!(ids(&queue.take_next(1)), [1]);
    queue.change(JobId(4), 1, |entry| entry.array = None);
    let turns = "waits for a slot, 1 of 1 run; no job before it";
    assert_eq!(together(&queue, false).as_deref(), Some(turns));
    assert_eq!(queue.why_all(&[JobId(1)], false, 1), None, "it runs");
}

#[test]
fn a_higher_priority_goes_first_and_can_be_changed() {
    let mut queue = queue(1, 8, 0);
    queue.push(entry(1, 1), 1);
    queue.push(Entry { priority: 5, ..entry(2, 1) }, 1);
    queue.push(entry(3, 1), 1);
    assert!(queue.change(JobId(3), 1, |entry| entry.priority = 9));
    assert_eq!(ids(&queue.take_next(1)), [3]);
    assert_eq!(why(&queue, 1), "waits for a slot, 1 of 1 run; 1 job before it");
    queue.ended(JobId(3), true, 2);
    assert_eq!(ids(&queue.take_next(2)), [2]);
    assert!(!queue.change(JobId(2), 2, |_| {}), "it runs");
}

#[test]
fn users_take_turns_however_many_jobs_one_has() {
    let mut queue = queue(2, 8, 0);
    for id in 1..=50 {
        queue.push(entry(id, 1), 1);
    }
    queue.push(entry(51, 2), 1);
    assert_eq!(ids(&queue.take_next(1)), [1, 51]);
    queue.push(entry(52, 2), 1);
    // The first user's ran an hour, the other's a minute.
    queue.ended(JobId(1), true, 60 * MINUTE);
    assert_eq!(ids(&queue.take_next(60 * MINUTE)), [52]);
}

#[test]
fn a_job_behind_another_starts_when_that_is_over_or_fails_with_it() {
    let mut queue = queue(4, 8, 0);
    queue.push(entry(1, 1), 1);
    let after =
        |condition| -> Box<[Dependency]> { [Dependency { job: JobId(1), condition }].into() };
    queue.push(Entry { after: after(Condition::Any), ..entry(2, 1) }, 1);
    queue.push(Entry { after: after(Condition::Ok), ..entry(3, 1) }, 1);
    assert_eq!(ids(&queue.take_next(1)), [1]);
    assert_eq!(why(&queue, 2), "starts after job 1");
    assert_eq!(why(&queue, 3), "starts after success of job 1");
    let doomed = queue.ended(JobId(1), false, 2);
    let dependency = Dependency { job: JobId(1), condition: Condition::Ok };
    assert_eq!(doomed, [Doomed { job: JobId(3), uid: 1, dependency }]);
    assert!(!queue.is_waiting(JobId(3)));
    assert_eq!(ids(&queue.take_next(2)), [2]);
}

#[test]
fn held_and_later_jobs_wait_without_holding_up_others() {
    let mut queue = queue(4, 8, 0);
    queue.push(Entry { held: true, ..entry(1, 1) }, 1);
    queue.push(Entry { not_before_usec: 100, ..entry(2, 1) }, 1);
    queue.push(entry(3, 1), 1);
    assert_eq!(ids(&queue.take_next(1)), [3]);
    assert_eq!(why(&queue, 1), "held: release it to let it start");
    assert_eq!(why(&queue, 2), "failed, and is tried again after a pause");
    assert_eq!(queue.next_time(), Some(100));
    assert_eq!(ids(&queue.take_next(99)), [0; 0]);
    assert_eq!(ids(&queue.take_next(100)), [2]);
    assert_eq!(queue.next_time(), None);
    queue.change(JobId(1), 101, |entry| entry.held = false);
    assert_eq!(ids(&queue.take_next(101)), [1]);
}

#[test]
fn no_more_of_an_array_run_than_may() {
    let mut queue = queue(8, 8, 0);
    let array = |index| ArrayPlace { array: JobId(1), index, count: 5, at_once: 2 };
    for id in 1..=5 {
        queue.push(Entry { array: Some(array(id)), ..entry(id, 1) }, 1);
    }
    queue.push(entry(6, 1), 1);
    assert_eq!(ids(&queue.take_next(1)), [1, 2, 6]);
    assert_eq!(why(&queue, 3), "waits for its array: 2 of at most 2 run");
    queue.ended(JobId(2), true, 2);
    assert_eq!(ids(&queue.take_next(2)), [3]);
    // One that is cancelled while it could start lets the next in.
    queue.ended(JobId(1), true, 3);
    queue.ended(JobId(4), false, 3);
    assert_eq!(ids(&queue.take_next(3)), [5]);
}

#[test]
fn accelerators_go_to_one_job_each_and_by_kind() {
    let mut queue = queue(8, 8, 2);
    queue.push(needing(1, 0, 1), 1);
    queue.push(needing(2, 0, 2), 1);
    let other = Needs { gpus: 1, gpu_kind: Some("mi300".into()), ..Needs::default() };
    queue.push(Entry { needs: Arc::new(other), ..entry(3, 1) }, 1);
    let starts = queue.take_next(1);
    assert_eq!(starts, [Start { job: JobId(1), uid: 1, gpus: vec!["nvidia0".into()] }]);
    assert_eq!(why(&queue, 2), "waits for 2 GPUs; no job before it");
    assert_eq!(
        why(&queue, 3),
        "cannot start: it needs 1 GPU of kind mi300, this machine has 2 (NVIDIA H100)"
    );
    queue.ended(JobId(1), true, 2);
    assert_eq!(queue.take_next(2)[0].gpus, ["nvidia0", "nvidia1"]);
}

#[test]
fn small_jobs_go_before_a_large_one_only_when_they_do_not_delay_it() {
    let mut queue = queue(8, 4, 0);
    queue.push(Entry { time_limit_usec: 60 * MINUTE, ..needing(1, 3000, 0) }, 1);
    assert_eq!(ids(&queue.take_next(1)), [1]);
    queue.push(needing(2, 4000, 0), 1);
    queue.push(Entry { time_limit_usec: 90 * MINUTE, ..needing(3, 1000, 0) }, 1);
    queue.push(Entry { time_limit_usec: 30 * MINUTE, ..needing(4, 1000, 0) }, 1);
    // The third would still run when the first must have ended; the fourth would not.
    assert_eq!(ids(&queue.take_next(2)), [4]);
    assert_eq!(why(&queue, 2), "waits for 4 CPUs; no job before it");
    queue.ended(JobId(4), true, 3);
    queue.ended(JobId(1), true, 4);
    assert_eq!(ids(&queue.take_next(4)), [2]);
}

#[test]
fn a_quota_keeps_its_user_alone_waiting() {
    let mut queue = queue(8, 8, 0);
    let quota = Quota { running_jobs: Some(1), ..Quota::default() };
    queue.set_rules(Rules { quota, ..Rules::default() });
    for (id, uid) in [(1, 1), (2, 1), (3, 2)] {
        queue.push(entry(id, uid), 1);
    }
    assert_eq!(ids(&queue.take_next(1)), [1, 3]);
    assert_eq!(why(&queue, 2), "waits for its user's quota of 1 running jobs");
    let never = queue.never(&Needs { milli_cpus: 9000, ..Needs::default() });
    assert_eq!(never.as_deref(), Some("it needs 9 CPUs, this machine has 8 CPUs"));
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Push { uid: u32, priority: i32, cpus: u64, gpus: u32, limit: u64, array: bool, after: u64 },
    End { which: usize, succeeded: bool },
    Retry { which: usize, pause: u64 },
    Cancel { which: usize },
    Hold { which: usize, held: bool },
    Priority { which: usize, priority: i32 },
    Pass { usec: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let push = (0..3u32, -2..3i32, 0..5u64, 0..3u32, 1..100u64, any::<bool>(), 0..8u64);
    prop_oneof![
        4 => push.prop_map(|(uid, priority, cpus, gpus, limit, array, after)| {
            Step::Push { uid, priority, cpus, gpus, limit, array, after }
        }),
        3 => (0..9usize, any::<bool>()).prop_map(|(which, succeeded)| Step::End { which, succeeded }),
        1 => (0..9usize, 0..50u64).prop_map(|(which, pause)| Step::Retry { which, pause }),
        1 => (0..9usize).prop_map(|which| Step::Cancel { which }),
        1 => (0..9usize, any::<bool>()).prop_map(|(which, held)| Step::Hold { which, held }),
        1 => (0..9usize, -2..3i32).prop_map(|(which, priority)| Step::Priority { which, priority }),
        1 => (1..60u64).prop_map(|usec| Step::Pass { usec }),
    ]
}

/// A history, and what must be true all along.
struct History {
    queue: Queue,
    now: u64,
    next: u64,
    accepted: usize,
    over: usize,
}

const AT_ONCE: u32 = 2;
const RUNNING_QUOTA: usize = 3;

impl History {
    fn new() -> Self {
        let mut queue = queue(4, 4, 2);
        let quota = Quota { running_jobs: Some(RUNNING_QUOTA), ..Quota::default() };
        queue.set_rules(Rules { quota, ..Rules::default() });
        Self { queue, now: 1, next: 1, accepted: 0, over: 0 }
    }

    fn running(&self, which: usize) -> Option<JobId> {
        self.queue.running.keys().nth(which % self.queue.running.len().max(1)).copied()
    }

    fn waiting(&self, which: usize) -> Option<JobId> {
        let mut all: Vec<_> = self.queue.waiting.keys().copied().collect();
        all.sort();
        all.get(which % all.len().max(1)).copied()
    }

    fn take(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Push { uid, priority, cpus, gpus, limit, array, after } => {
                let id = self.next;
                self.next += 1;
                self.accepted += 1;
                let place = ArrayPlace { array: JobId(0), index: id, count: 9, at_once: AT_ONCE };
                let alive = |job: &JobId| {
                    self.queue.is_waiting(*job) || self.queue.running.contains_key(job)
                };
                let dependency = Some(JobId(id.saturating_sub(after))).filter(|job| alive(job));
                let needs = Needs { milli_cpus: cpus * 1000, gpus, ..Needs::default() };
                let entry = Entry {
                    priority,
                    time_limit_usec: limit,
                    needs: Arc::new(needs),
                    array: array.then_some(place),
                    after: dependency
                        .map(|job| Dependency { job, condition: Condition::Ok })
                        .into_iter()
                        .collect(),
                    ..entry(id, uid)
                };
                self.queue.push(entry, now);
            }
            Step::End { which, succeeded } => {
                let Some(job) = self.running(which) else { return };
                self.end(job, succeeded);
            }
            Step::Retry { which, pause } => {
                let Some(job) = self.running(which) else { return };
                let mut entry = self.queue.running[&job].entry.clone();
                entry.not_before_usec = now + pause;
                self.queue.stopped(job, now, now);
                self.queue.push(entry, now);
            }
            Step::Cancel { which } => {
                let Some(job) = self.waiting(which) else { return };
                self.end(job, false);
            }
            Step::Hold { which, held } => {
                let Some(job) = self.waiting(which) else { return };
                self.queue.change(job, now, |entry| entry.held = held);
            }
            Step::Priority { which, priority } => {
                let Some(job) = self.waiting(which) else { return };
                self.queue.change(job, now, |entry| entry.priority = priority);
            }
            Step::Pass { usec } => self.now += usec,
        }
    }

    fn end(&mut self, job: JobId, succeeded: bool) {
        self.over += 1;
        let mut ended = vec![(job, succeeded)];
        while let Some((job, succeeded)) = ended.pop() {
            for doomed in self.queue.ended(job, succeeded, self.now) {
                self.over += 1;
                ended.push((doomed.job, false));
            }
        }
    }

    fn start(&mut self) {
        let before: Vec<_> = self.queue.waiting.keys().copied().collect();
        for start in self.queue.take_next(self.now) {
            assert!(before.contains(&start.job), "a job started that did not wait");
        }
        self.laws();
    }

    fn laws(&self) {
        let running: Vec<_> = self.queue.running.values().collect();
        assert!(running.len() <= 4, "more than the slots");
        let cpus: u64 = running.iter().map(|r| r.entry.needs.milli_cpus).sum();
        assert!(cpus <= 4000, "more processors than there are");
        let mut gpus: Vec<_> = running.iter().flat_map(|r| &r.gpus).collect();
        let given = gpus.len();
        gpus.sort();
        gpus.dedup();
        assert_eq!(gpus.len(), given, "a GPU was given to two jobs");
        for r in &running {
            assert_eq!(r.gpus.len(), r.entry.needs.gpus as usize, "not as many GPUs as asked");
            assert!(r.entry.after.is_empty() && !r.entry.held, "it should have waited");
        }
        for uid in 0..3 {
            let count = running.iter().filter(|r| r.entry.uid == uid).count();
            assert!(count <= RUNNING_QUOTA, "user {uid} is over the quota");
        }
        let of_array = running.iter().filter(|r| r.entry.array.is_some()).count();
        assert!(of_array <= AT_ONCE as usize, "too many of an array");
        let (running, waiting) = self.queue.counts();
        assert_eq!(running + waiting + self.over, self.accepted, "a job was lost or doubled");
        for job in self.queue.waiting.keys() {
            assert!(self.queue.why(*job, self.now).is_some(), "job {job} waits without a reason");
        }
        let queued: usize = (0..3).map(|uid| self.queue.queued_of(uid).jobs).sum();
        assert_eq!(queued, waiting);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nothing_is_lost_doubled_or_overcommitted(steps in proptest::collection::vec(step(), 1..120)) {
        let mut history = History::new();
        for step in steps {
            history.take(step);
            history.start();
        }
        // Nobody starves: with no new jobs, all that can ever start do.
        for _ in 0..1000 {
            let held: Vec<_> = history.queue.iter_waiting().filter(|e| e.held).map(|e| e.id).collect();
            for job in held {
                history.queue.change(job, history.now, |entry| entry.held = false);
            }
            history.now += 100;
            history.start();
            match history.running(0) {
                Some(job) => history.end(job, true),
                None => break,
            }
        }
        for left in history.queue.iter_waiting() {
            let behind = !left.after.is_empty();
            prop_assert!(behind || history.queue.never(&left.needs).is_some(), "{left:?} starves");
        }
    }

    /// What is promised to the first job that does not fit is kept, whatever others
    /// are let before it.
    #[test]
    fn the_first_job_in_line_is_not_delayed(
        limits in proptest::collection::vec((1..100u64, 1..4u64), 4..40),
        large in 3..5u64,
    ) {
        let mut queue = queue(8, 4, 0);
        let mut now = 1;
        for (id, (limit, cpus)) in (1..).zip(&limits) {
            let limit = Entry { time_limit_usec: *limit, ..needing(id, cpus * 1000, 0) };
            queue.push(limit, now);
        }
        queue.take_next(now);
        queue.push(Entry { priority: 1, ..needing(1000, large * 1000, 0) }, now);
        // If everything that runs now took all its time, and nothing else were started:
        let free_at = {
            let mut ends: Vec<_> = queue
                .running
                .values()
                .map(|r| (r.ends_usec(now), r.entry.needs.milli_cpus))
                .collect();
            ends.sort_unstable();
            let mut free = 4000 - ends.iter().map(|(_, cpus)| cpus).sum::<u64>();
            let mut at = now;
            for (end, cpus) in ends {
                if free >= large * 1000 { break }
                free += cpus;
                at = end;
            }
            at
        };
        for _ in 0..10_000 {
            if queue.take_next(now).iter().any(|start| start.job == JobId(1000)) {
                break;
            }
            now += 1;
            let over: Vec<_> =
                queue.running.values().filter(|r| r.started_usec + r.entry.time_limit_usec <= now).map(|r| r.entry.id).collect();
            for job in over {
                queue.ended(job, true, now);
            }
        }
        prop_assert!(now <= free_at, "started at {now}, promised {free_at}");
    }
}
