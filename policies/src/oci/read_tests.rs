use super::*;
use crate::oci::calls;

fn document(rules: &str) -> String {
    format!(
        r#"{{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [{rules}]}}"#
    )
}

fn faults(text: &str) -> Vec<String> {
    let found = match read("x.json", text) {
        Err(problems) => problems,
        Ok(document) => calls("x.json", text, &document).err().unwrap_or_default(),
    };
    found.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn refused(text: &str, parts: &[&str]) {
    let found = faults(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    for part in parts {
        assert!(found[0].contains(part), "{part:?} is not in {}", found[0]);
    }
}

#[test]
fn dockers_conditions_are_refused_and_never_dropped() {
    let allow = r#""names": ["mount", "bpf"], "action": "SCMP_ACT_ALLOW""#;
    refused(
        &document(&format!(r#"{{{allow}, "includes": {{"caps": ["CAP_SYS_ADMIN"]}}}}"#)),
        &[
            "x.json:1:73: syscalls[0] (mount): includes makes the rule depend on capabilities",
            "policy import",
        ],
    );
    refused(
        &document(&format!(r#"{{{allow}, "excludes": {{"minKernel": "4.8"}}}}"#)),
        &["excludes"],
    );
    refused(
        &document(&format!(r#"{{{allow}, "minKernel": "4.8"}}"#)),
        &["x.json:1:", "unknown field `minKernel`"],
    );
    assert_eq!(
        faults(&document(&format!(r#"{{{allow}, "includes": {{}}, "excludes": null}}"#))),
        Vec::<String>::new()
    );
}

#[test]
fn a_second_architecture_is_refused() {
    for name in ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"] {
        let text = format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "{name}"]}}"#
        );
        refused(&text, &[name, "second way into the kernel", "SCMP_ARCH_X86_64 alone"]);
    }
}

#[test]
fn rules_that_can_be_read_in_two_ways_are_refused() {
    let twice = r#"{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [
        {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]}"#;
    refused(&document(twice), &["argument 0 is tested twice", "one rule for each alternative"]);
    let contradiction = r#"{"names": ["read"], "action": "SCMP_ACT_ALLOW"}, {"names": ["read"], "action": "SCMP_ACT_LOG"}"#;
    refused(&document(contradiction), &["read is named twice", "keep one"]);
    let swapped = r#"{"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [
        {"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]}"#;
    refused(&document(swapped), &["bits that the mask 0x1 removes"]);
}

#[test]
fn actions_and_comparisons_that_are_not_supported_are_named() {
    refused(
        &document(r#"{"names": ["read"], "action": "SCMP_ACT_TRACE"}"#),
        &["\"SCMP_ACT_TRACE\" is not supported"],
    );
    refused(
        &document(r#"{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0}"#),
        &["error number 0"],
    );
    refused(
        &document(r#"{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 70000}"#),
        &["70000"],
    );
    refused(
        &document(r#"{"names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1}"#),
        &["remove errnoRet"],
    );
    refused(&document(r#"{"names": [], "action": "SCMP_ACT_ALLOW"}"#), &["names no system call"]);
    let arg = |index: u8, op: &str| {
        format!(
            r#"{{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{{"index": {index}, "value": 1, "op": "{op}"}}]}}"#
        )
    };
    refused(&document(&arg(6, "SCMP_CMP_EQ")), &["argument 6 does not exist"]);
    refused(&document(&arg(0, "EQ")), &["unknown comparison \"EQ\""]);
}

#[test]
fn every_fault_of_a_document_is_told() {
    let rules = r#"{"names": [], "action": "SCMP_ACT_ALLOW"}, {"names": ["read"], "action": "SCMP_ACT_NOTIFY"}"#;
    assert_eq!(faults(&document(rules)).len(), 2);
}

#[test]
fn each_fault_has_its_line_and_column() {
    let text = r#"{
  "defaultAction": "SCMP_ACT_ERRNO",
  "syscalls": [
    {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
    {
      "names": ["socket"],
      "action": "SCMP_ACT_ALLOW",
      "args": [
        {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
        {"index": 9, "value": 1, "op": "SCMP_CMP_EQ"}
      ]
    },
    {"names": ["write"],
     "action": 7}
  ]
}"#;
    let found = faults(text);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("x.json:10:9: syscalls[1] (socket): argument 9"), "{found:#?}");
    assert!(found[1].starts_with("x.json:14:16: syscalls[2]: invalid type"), "{found:#?}");
}
