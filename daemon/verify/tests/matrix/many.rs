//! More files than a process may have open, and more anchors than an export may have.

use super::machine::Machine;
use fetchml_api::audit::merkle::Tree;
use fetchml_api::audit::{AnchorLine, Excerpt, Kind};
use std::process::Command;

#[test]
fn three_thousand_segments_are_verified_with_a_few_open_files() {
    let mut machine = Machine::new(17);
    for _ in 0..3_000 {
        machine.work(1);
        machine.rotate();
    }
    machine.stop();
    let dir = tempfile::tempdir().unwrap();
    machine.files.write_to(dir.path());
    let verify = || {
        Command::new("sh")
            .args(["-c", "ulimit -n 16; exec \"$@\"", "sh"])
            .arg(env!("CARGO_BIN_EXE_fetchml-audit-verify"))
            .args(["--key", &machine.public().to_string()])
            .arg(dir.path())
            .output()
            .unwrap()
    };
    let output = verify();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(&format!("records 1 to {}", machine.head().seq)), "{said}");
    // And one of them is missed.
    std::fs::remove_file(dir.path().join("000000001500.log")).unwrap();
    assert_eq!(verify().status.code(), Some(1));
}

#[test]
fn an_export_has_so_many_anchors_and_no_more() {
    let mut machine = Machine::new(18);
    machine.work(5);
    let anchor = machine.note(Kind::Demand);
    let notes = machine.files.all_notes();
    let export = |anchors: &[AnchorLine]| Excerpt::new((1, 5), &notes, Tree::new(), anchors);
    assert!(export(&vec![anchor; 1_000]).is_ok());
    let refused = export(&vec![anchor; 1_001]).unwrap_err().to_string();
    assert!(refused.contains("1001 anchors were given, the most is 1000"), "{refused}");

    let header = format!(
        "fetchml-audit-export 1\nlog {}\nfirst 1\nlast 5\npeaks\nextension\n{}",
        machine.log_id,
        "anchor 3\n".repeat(2_000)
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("export.audit");
    std::fs::write(&path, header).unwrap();
    let verifier = env!("CARGO_BIN_EXE_fetchml-audit-verify");
    let output = Command::new(verifier).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("more than 1000 anchors"), "{said}");
}
