//! Who may sign the audit log and who may read it, and what is recorded of people.

use crate::support::{audit_records, in_project, submit, supervisor, wait_for_output};
use fetchml_tests::Container;
use serde_json::Value;

const ALICE: u32 = 2001;
const MALLORY: u32 = 2003;

fn of_event<'r>(records: &'r [Value], event: &str) -> Vec<&'r Value> {
    records.iter().filter(|record| record["event"] == event).collect()
}

pub(crate) fn who_is_let_in_and_who_gets_a_role_is_recorded(c: &Container) {
    in_project(c, "alice", "fetchmlctl run -- true").ok();
    assert_ne!(c.sh("mallory", "fetchmlctl --no-ask-password submit -- true").status, 0);
    let records = audit_records(c);
    let let_in = of_event(&records, "auth_success");
    let alices = let_in.iter().position(|record| record["actor"]["uid"] == ALICE);
    let alices = let_in[alices.unwrap_or_else(|| panic!("{let_in:#?}"))];
    assert_eq!((&alices["action"], &alices["resource"]), (&"connect".into(), &"bus".into()));
    // It stands before what she did.
    let queued = of_event(&records, "job_queued")[0];
    assert!(alices["seq"].as_u64() < queued["seq"].as_u64(), "{alices} {queued}");
    assert!(!let_in.iter().any(|record| record["actor"]["uid"] == MALLORY), "{let_in:#?}");

    c.write(
        "/etc/polkit-1/rules.d/10-site.rules",
        br#"polkit.addRule(function (action, subject) {
            if (action.id === "org.fetchml.submit" && subject.user === "mallory") {
                return polkit.Result.YES;
            }
        });"#,
    );
    let _ = c.eventually(
        "mallory",
        "mkdir -p p && cd p && fetchmlctl --no-ask-password submit --quiet -- true",
    );
    let records = audit_records(c);
    let granted = of_event(&records, "auth_success")
        .into_iter()
        .find(|record| record["action"] == "authorize")
        .unwrap_or_else(|| panic!("no grant: {records:#?}"));
    assert_eq!(granted["actor"]["uid"], MALLORY, "{granted}");
    assert_eq!(granted["resource"], "org.fetchml.submit", "{granted}");

    // Both were made members after the supervisor had started.
    let expected = [("give-role", "alice", "researcher"), ("give-role", "bob", "researcher")];
    assert_eq!(roles_told_after_a_reload(c, 2), expected.map(owned));
    c.sh("root", "usermod -aG fetchml-analysts mallory && gpasswd -d bob fetchml").ok();
    let expected = [("take-role", "bob", "researcher"), ("give-role", "mallory", "analyst")];
    assert_eq!(roles_told_after_a_reload(c, 4)[2..], expected.map(owned));
}

fn owned((action, user, role): (&str, &str, &str)) -> [String; 3] {
    [action.to_owned(), format!("user/{user}"), role.to_owned()]
}

fn roles_told_after_a_reload(c: &Container, count: usize) -> Vec<[String; 3]> {
    c.sh("root", "systemctl reload fetchmld").ok();
    let told = format!(
        "test $(grep -h '\"event\":\"role_changed\"' /var/log/fetchml/audit/*.log | wc -l) -ge {count}"
    );
    let _ = c.eventually("root", &told);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let all = |record: &&Value| {
        [text(&record["action"]), text(&record["resource"]), text(&record["details"]["role"])]
    };
    of_event(&audit_records(c), "role_changed").iter().map(all).collect()
}

pub(crate) fn only_root_and_the_granted_read_the_log_and_stand_in_it(c: &Container) {
    in_project(c, "alice", "fetchmlctl run -- true").ok();
    c.sh("root", "usermod -aG fetchml-analysts mallory").ok();
    // A member, an analyst, and whoever calls the bus by hand.
    let by_hand = "busctl --system call org.fetchml.FetchML1 /org/fetchml/FetchML1 \
                   org.fetchml.FetchML1.Audit";
    for user in ["alice", "mallory", "nobody"] {
        for command in [
            "fetchmlctl --no-ask-password audit show".to_owned(),
            "fetchmlctl --no-ask-password audit verify".to_owned(),
            format!("{by_hand} OpenFiles s 0"),
            format!("{by_hand} OpenSegments"),
            format!("{by_hand} Head"),
        ] {
            let refused = c.run(user, &["sh", "-c", &format!("cd /; {command}")]);
            assert_ne!(refused.status, 0, "{refused}");
            assert!(!refused.says("job_queued"), "{refused}");
        }
    }
    let records = audit_records(c);
    assert!(of_event(&records, "audit_read").is_empty(), "{records:#?}");
    let denied = of_event(&records, "policy_denied");
    for uid in [ALICE, MALLORY] {
        let of_uid = denied.iter().filter(|record| record["actor"]["uid"] == uid);
        let audit = of_uid.filter(|record| record["resource"] == "audit").count();
        assert!(audit >= 4, "{uid}: {denied:#?}");
    }
    // Whoever begins in the middle is seen as well.
    c.sh("root", &format!("{by_hand} OpenFiles s 0")).ok();
    assert_eq!(of_event(&audit_records(c), "audit_read").len(), 1);
}

/// Tries to read the key from everywhere that a process could think of.
const STEAL: &str = r#"for p in /proc/[0-9]*/root; do
    for f in var/lib/fetchml/audit.key run/credentials/fetchmld.service/fetchml.audit-key; do
        cat "/$f" "$p/$f"; done; done
timeout 10 cat /proc/[0-9]*/environ | grep -a -q THE-KEY && echo found
true"#;

pub(crate) fn neither_jobs_nor_agents_nor_users_read_the_key(c: &Container) {
    let key = "/var/lib/fetchml/audit.key";
    let secret = c.sh("root", &format!("cat {key}")).ok().to_owned();
    let public = c.sh("root", "fetchmlctl audit key").ok().to_owned();
    let inside_credential = "/run/credentials/fetchmld.service/fetchml.audit-key";
    for as_credential in [false, true] {
        if as_credential {
            // As docs/audit.md says it.
            c.sh("root", &format!(
                "mkdir -p /etc/fetchml /etc/systemd/system/fetchmld.service.d && \
                 systemd-creds encrypt --with-key=host --name=fetchml.audit-key {key} /etc/fetchml/audit-key.cred && \
                 printf '[Service]\nLoadCredentialEncrypted=fetchml.audit-key:/etc/fetchml/audit-key.cred\n' \
                     > /etc/systemd/system/fetchmld.service.d/key.conf && \
                 systemctl daemon-reload && systemctl restart fetchmld && shred -u {key}"
            ))
            .ok();
            assert_eq!(c.sh("root", "fetchmlctl audit key").ok(), public, "the same key");
            c.sh("root", "fetchmlctl audit verify").ok();
            c.sh("root", &format!("test ! -e {key} && test -s {inside_credential}")).ok();
            // And again, without the file.
            c.sh("root", "systemctl restart fetchmld && fetchmlctl audit verify").ok();
            let records = audit_records(c);
            assert!(of_event(&records, "key_created").is_empty(), "{records:#?}");
        }
        let steal = STEAL.replace("THE-KEY", &secret);
        let inside = in_project(c, "alice", &format!("fetchmlctl run -- sh -c '{steal}' 2>&1"));
        let outside = c.sh("alice", &steal);
        for tried in [&inside, &outside] {
            tried.ok();
            assert!(!tried.says(&secret) && !tried.says("found"), "{tried}");
        }
        // What the agent of a job has: its own root, its open files.
        let job = submit(c, "alice", "", "echo up; sleep 60");
        wait_for_output(c, "alice", job, "up");
        // Not the holder of the jobs' cgroup, which may open no file at all (its unit).
        let agents = c.sh(
            "root",
            "pgrep -x fetchml-agent | grep -vx $(systemctl show --property=MainPID --value fetchml-jobs)",
        );
        assert!(!agents.ok().is_empty(), "{agents}");
        for agent in agents.ok().split_whitespace() {
            let looked = c.sh(
                "root",
                &format!(
                    "cat /proc/{agent}/root{key} /proc/{agent}/root{inside_credential} 2>/dev/null; \
                     ls -l /proc/{agent}/fd | grep -E 'audit|credential'; grep -E 'credential|var/lib/fetchml$' /proc/{agent}/mountinfo; true"
                ),
            );
            assert_eq!(looked.ok(), "", "{looked}");
        }
        c.sh("alice", &format!("fetchmlctl cancel {job}")).ok();
    }
    assert_ne!(supervisor(c), "0");
}
