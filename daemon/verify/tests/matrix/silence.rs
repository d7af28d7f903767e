//! What the times of checkpoints tell of a log that holds.

use super::machine::Machine;
use fetchml_api::audit::{Kind, Verdict};

#[test]
fn silence_is_told_from_a_log_that_was_stopped() {
    const HOUR: u64 = 3_600_000_000;
    let remarks = |between: fn(&mut Machine)| {
        let mut machine = Machine::new(41);
        machine.work(3);
        machine.note(Kind::Interval);
        between(&mut machine);
        machine.note(Kind::Demand);
        let report = machine.files.judge(machine.known());
        assert_eq!(report.verdict, Verdict::Intact);
        report.remarks.into_iter().map(|remark| remark.words).collect::<Vec<_>>().join("\n")
    };
    let alive = remarks(|machine| {
        for _ in 0..40 {
            machine.time += HOUR;
            machine.note(Kind::Interval);
        }
    });
    assert_eq!(alive, "");
    let silent = remarks(|machine| machine.time += 5 * HOUR);
    assert!(silent.contains("there was no checkpoint for 300 minutes"), "{silent}");
    let killed = remarks(|machine| {
        machine.time += 2 * HOUR;
        machine.begin_again();
    });
    assert!(killed.contains("started 120 minutes after the last checkpoint"), "{killed}");
    let stopped = remarks(|machine| {
        machine.stop();
        machine.time += 900 * HOUR;
        machine.begin_again();
    });
    assert_eq!(stopped, "");
}
