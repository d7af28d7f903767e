use super::*;
use crate::filter::{Filter, Manner, Ruleset};
use std::sync::Arc;

/// The structure of Docker's profile, and each of its conditions once.
const DOCUMENT: &str = r#"{
  "defaultAction": "SCMP_ACT_ERRNO",
  "defaultErrnoRet": 1,
  "archMap": [
    {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
    {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}
  ],
  "syscalls": [
    {"names": ["read", "write", "socketcall"], "action": "SCMP_ACT_ALLOW"},
    {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
    {"names": ["fchmodat2"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "6.6"}},
    {"names": ["ustat"], "action": "SCMP_ACT_ALLOW", "excludes": {"minKernel": "5.0"}},
    {"names": ["socket"], "action": "SCMP_ACT_ALLOW",
     "args": [{"index": 0, "value": 38, "op": "SCMP_CMP_LT"}]},
    {"names": ["socket"], "action": "SCMP_ACT_ALLOW",
     "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_GT"}]},
    {"names": ["fadvise64_64"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm"]}},
    {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "x32"]}},
    {"names": ["bpf", "mount", "clone"], "action": "SCMP_ACT_ALLOW",
     "includes": {"caps": ["CAP_SYS_ADMIN"]}},
    {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
     "args": [{"index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"}],
     "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390x"]}},
    {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38,
     "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
    {"names": ["setns"], "action": "SCMP_ACT_ALLOW",
     "includes": {"caps": ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"]}}
  ]
}"#;

fn host(capabilities: &[&str], kernel: (u32, u32)) -> ImportHost {
    ImportHost { capabilities: capabilities.iter().map(|&name| name.to_owned()).collect(), kernel }
}

fn compiled(imported: &Imported) -> Filter {
    let rules = Ruleset::read("imported", "imported.json", &imported.text)
        .unwrap_or_else(|found| panic!("{found:?} in {}", imported.text));
    Filter::compile(&Arc::new(rules), None, &Manner::default()).expect("it is short")
}

#[track_caller]
fn allows(filter: &Filter, name: &str, args: &[u64]) -> bool {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    filter.outcome(calls::number(name).expect("a call"), &all).lets_through()
}

fn import_for(capabilities: &[&str], kernel: (u32, u32)) -> (Imported, Filter) {
    let imported =
        import("docker.json", DOCUMENT, &host(capabilities, kernel)).expect("it is understood");
    let filter = compiled(&imported);
    (imported, filter)
}

#[test]
fn rules_are_decided_for_a_job_without_capabilities() {
    let (imported, filter) = import_for(&[], (6, 1));
    for name in ["read", "write", "ptrace", "arch_prctl"] {
        assert!(allows(&filter, name, &[]), "{name}");
    }
    for name in ["bpf", "mount", "setns", "clone3", "fchmodat2", "ustat", "reboot"] {
        assert!(!allows(&filter, name, &[]), "{name}");
    }
    assert!(allows(&filter, "clone", &[17]) && !allows(&filter, "clone", &[0x1000_0011]));
    for (family, allowed) in [(1, true), (37, true), (38, false), (40, false), (41, true)] {
        assert_eq!(allows(&filter, "socket", &[family]), allowed, "{family}");
    }
    assert_eq!(filter.outcome(435, &[0; 6]), Outcome::Errno(38), "clone3");
    assert_eq!(filter.default, Outcome::Errno(1));
    let notes: Vec<String> =
        imported.notes.iter().map(|note| format!("{}: {}", note.key, note.decision)).collect();
    assert_eq!(
        notes,
        [
            "archMap: SCMP_ARCH_X86 is left out: calls by other entries never pass",
            "archMap: SCMP_ARCH_X32 is left out: calls by other entries never pass",
            "syscalls[0] (read): not calls of this architecture: socketcall",
            "syscalls[2] (fchmodat2): left out: it is only for kernels from 6.6",
            "syscalls[3] (ustat): left out: it is only for kernels before 5.0",
            "syscalls[6] (fadvise64_64): left out: it is only for arm",
            "syscalls[8] (bpf): left out: it is only with CAP_SYS_ADMIN",
            "syscalls[11] (setns): left out: it is only with CAP_SYS_ADMIN",
        ]
    );
    let reason = filter.rules.iter().find(|rule| rule.names.contains(&"bpf".to_owned()));
    assert_eq!(
        reason.map(|rule| (rule.comment.as_str(), rule.names.len())),
        Some(("Left out: it is only with CAP_SYS_ADMIN.", 2)),
        "clone has a rule of its own"
    );
}

#[test]
fn capabilities_and_kernels_change_what_is_decided() {
    let (_, filter) = import_for(&["CAP_SYS_ADMIN"], (6, 6));
    for name in ["bpf", "mount", "fchmodat2"] {
        assert!(allows(&filter, name, &[]), "{name}");
    }
    assert!(allows(&filter, "clone", &[0x1000_0011]), "with the capability it is unconditional");
    assert!(!allows(&filter, "setns", &[]), "it needs both capabilities");
    assert!(!allows(&filter, "clone3", &[]));
    let (_, filter) = import_for(&["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"], (4, 7));
    assert!(allows(&filter, "setns", &[]));
    assert!(allows(&filter, "ustat", &[]) && !allows(&filter, "ptrace", &[]));
}

#[test]
fn podmans_names_of_errors_are_read() {
    let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "defaultErrno": "ENOSYS",
        "syscalls": [
            {"names": ["bdflush"], "action": "SCMP_ACT_ERRNO", "args": [], "comment": "",
             "includes": {}, "excludes": {}, "errnoRet": 1, "errno": "EPERM"},
            {"name": "personality", "action": "SCMP_ACT_ERRNO", "errno": "EINVAL", "args": null},
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}"#;
    let filter = compiled(&import("podman.json", text, &host(&[], (6, 1))).expect("understood"));
    assert_eq!(filter.outcome(135, &[0; 6]), Outcome::Errno(22));
    assert_eq!(filter.default, Outcome::Errno(38));
}

#[track_caller]
fn refused(text: &str, parts: &[&str]) {
    let found = import("x.json", text, &host(&[], (6, 1))).expect_err("it is refused");
    assert_eq!(found.len(), 1, "{found:#?}");
    for part in parts {
        assert!(found[0].to_string().contains(part), "{part:?} is not in {}", found[0]);
    }
}

#[test]
fn what_cannot_be_said_plainly_is_refused_with_its_place() {
    let with = |key: &str, rules: &str| {
        format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", {key} "syscalls": [{rules}]}}"#)
    };
    refused(
        &with("", r#"{"names": ["bind"], "action": "SCMP_ACT_NOTIFY"}"#),
        &["x.json:1:", "syscalls[0] (bind)", "\"SCMP_ACT_NOTIFY\" is not supported"],
    );
    refused(
        &with(r#""listenerPath": "/run/x","#, ""),
        &["listenerPath: asks for a listener outside the job"],
    );
    refused(&with(r#""flags": ["SECCOMP_FILTER_FLAG_NEW"],"#, ""), &["flags: unknown flag"]);
    refused(
        &with(r#""architectures": ["SCMP_ARCH_AARCH64"],"#, ""),
        &["architectures: the profile is not for this architecture"],
    );
    refused(
        &with("", r#"{"names": ["a"], "name": "b", "action": "SCMP_ACT_ALLOW"}"#),
        &["has both name and names"],
    );
    refused(
        &with(
            "",
            r#"{"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "new"}}"#,
        ),
        &["minKernel \"new\" is no version"],
    );
    refused(
        &with("", r#"{"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"cap": []}}"#),
        &["unknown field `cap`"],
    );
    refused(
        &with(
            "",
            r#"{"names": ["dup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "errno": "ENOSYS"}"#,
        ),
        &["ENOSYS is error 38, not 1"],
    );
    refused(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}"#,
        &["defaultAction: lets through every call"],
    );
    refused(
        &with(
            "",
            r#"{"names": ["dup"], "action": "SCMP_ACT_ERRNO"},
               {"names": ["dup"], "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}"#,
        ),
        &["x.json:2:", "syscalls[1] (dup): has another action than syscalls[0]"],
    );
}

#[test]
fn what_is_imported_passes_the_check() {
    let library = crate::Library::load::<&str>(&[]).expect("the vendor's policies are sound");
    for capabilities in [&[][..], &["CAP_SYS_ADMIN"]] {
        for kernel in [(4, 7), (6, 1), (6, 6)] {
            let text = DOCUMENT.replace("\"read\"", "\"read\", \"execve\", \"exit_group\"");
            let imported = library.import("docker.json", &text, &host(capabilities, kernel));
            let text = imported.expect("it is understood").text;
            assert_eq!(library.check_text("docker.json", &text), [], "{text}");
        }
    }
    let found = library.import("docker.json", DOCUMENT, &host(&[], (6, 1)));
    let found = found.expect_err("nothing could start under it");
    let words = found[0].to_string();
    assert!(words.contains("docker.json:") && words.contains("does not allow execve"), "{words}");
}
