//! Secrets for jobs on a whole system: encrypted by systemd, for whom they were added,
//! and in nothing that anybody reads.

use crate::support::{audit_records, in_project};
use fetchml_tests::Container;

// The commands of this test are in the journal as well, so that what is planted is put
// together where they run.

pub(crate) fn a_secret_is_encrypted_and_for_those_it_was_added_for(c: &Container) {
    let add = "umask 077; printf 'Pl4nted%s' -system-5Rt > /root/value
        fetchmlctl secret add hf-token --for alice --file /root/value; s=$?
        rm /root/value; exit $s";
    c.sh("root", add).ok();
    c.sh("root", "printf 'Pl4nted%s' -system-of-root | fetchmlctl secret add roots").ok();
    let kept = "cd /var/lib/fetchml/secrets && stat -c '%a %U %n' . hf-token";
    assert_eq!(c.sh("root", kept).ok(), "700 root .\n600 root hf-token");
    let listed = c.sh("root", "fetchmlctl secret list");
    assert!(listed.ok().contains("by systemd"), "{listed}");

    let script = "fetchmlctl run --secret hf-token -- sh -c \
        'sha256sum < /run/secrets/hf-token; stat -c \"%a %u\" /run/secrets/hf-token; \
         cat /run/secrets/hf-token'";
    let output = in_project(c, "alice", script);
    let hash = c.sh("root", "printf 'Pl4nted%s' -system-5Rt | sha256sum").ok().to_owned();
    assert_eq!(output.ok(), format!("{hash}\n400 1000\n[redacted:injected-secret]"), "{output}");

    let refused = in_project(c, "bob", "fetchmlctl run --secret hf-token -- true");
    refused.expect(125);
    assert!(refused.says("there is no secret hf-token that you may use"), "{refused}");
    let absent = in_project(c, "bob", "fetchmlctl run --secret absent -- true");
    let said = |text: &str| text.replace("hf-token", "absent");
    assert_eq!(said(&refused.stderr), absent.stderr, "whether it is there is not told");
    let of_root = in_project(c, "alice", "fetchmlctl run --secret roots -- true");
    assert!(of_root.says("there is no secret roots that you may use"), "{of_root}");
    for words in ["list", "remove hf-token --yes", "add mine --file /etc/hostname"] {
        let denied = c.sh("alice", &format!("fetchmlctl --no-ask-password secret {words}"));
        assert_ne!(denied.status, 0, "{denied}");
        assert!(denied.says("org.fetchml.manage-secrets") || denied.says("authentic"), "{denied}");
    }

    c.sh("root", "systemctl restart fetchmld").ok();
    let rotate = "printf 'Pl4nted%s' -system-6Xu | fetchmlctl secret rotate hf-token";
    c.sh("root", rotate).ok();
    let script = "fetchmlctl run --secret-env hf-token -- sh -c 'printf %s $HF_TOKEN | sha256sum'";
    let hash = c.sh("root", "printf 'Pl4nted%s' -system-6Xu | sha256sum").ok().to_owned();
    assert_eq!(in_project(c, "alice", script).ok(), hash);
    c.sh("root", "fetchmlctl secret remove hf-token --yes").ok();
    let gone = in_project(c, "alice", "fetchmlctl run --secret hf-token -- true");
    assert!(gone.says("there is no secret hf-token"), "{gone}");

    // The brackets keep these searches from finding themselves.
    for search in [
        "grep -raE 'Pl4nted[-]system' /var/lib/fetchml /var/log /run/fetchml /etc /var/crash",
        "grep -aE 'Pl4nted[-]system' /proc/[0-9]*/cmdline /proc/[0-9]*/environ",
        "journalctl --no-pager --all | grep -E 'Pl4nted[-]system'",
    ] {
        let found = c.sh("root", &format!("{search} 2>/dev/null | head -c 2000"));
        assert_eq!(found.ok(), "", "{found}");
    }
    let records = audit_records(c);
    let of = |event: &str| {
        let all = records.iter().filter(|record| record["event"] == event);
        all.map(|record| record["resource"].as_str().unwrap_or_default()).collect::<Vec<_>>()
    };
    assert_eq!(of("secret_added"), ["secret/hf-token", "secret/roots"]);
    assert_eq!(of("secret_rotated"), ["secret/hf-token"]);
    assert_eq!(of("secret_removed"), ["secret/hf-token"]);
}
