//! What was found on a machine.

use crate::view::style::{Style, Tone};
use crate::view::table::{Cell, draw};
use crate::view::text::{visible, wrap};
use fetchml_api::host::{Finding, FindingState, Group};
use std::fmt::Write as _;

fn tone(finding: &Finding) -> Tone {
    match (finding.state, finding.needed) {
        (FindingState::Ok, _) => Tone::Good,
        (FindingState::Absent, _) => Tone::Quiet,
        (FindingState::Missing, true) => Tone::Bad,
        _ => Tone::Careful,
    }
}

/// Facts by group, below them what those that are not as they should be mean and
/// what to do about them, and last what it comes to.
pub(crate) fn table(findings: &[Finding], width: Option<usize>, style: Style) -> String {
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for group in Group::ALL {
        let of_group: Vec<_> = findings.iter().filter(|f| f.group == group).collect();
        for (i, finding) in of_group.into_iter().enumerate() {
            let head = if i == 0 { group.as_str() } else { "" };
            rows.push(vec![
                Cell::toned(head, Tone::Strong),
                visible(&finding.name).into(),
                Cell::toned(finding.state.as_str(), tone(finding)),
                visible(&finding.detail).into(),
            ]);
        }
    }
    let mut text = draw(&["GROUP", "CHECK", "STATE", "DETAIL"], &rows, width, style);
    let mut to_say: Vec<_> = findings.iter().filter(|f| f.state != FindingState::Ok).collect();
    to_say.sort_by_key(|f| (!f.needed, f.group));
    for finding in to_say {
        let words = [&finding.consequence, &finding.remedy];
        if words.iter().all(|w| w.is_none()) {
            continue;
        }
        let name = style.paint(tone(finding), &visible(&finding.name));
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{name}: {}\n", finding.state.as_str());
        for (label, words) in [("so", &finding.consequence), ("fix", &finding.remedy)] {
            if let Some(words) = words {
                text.push_str(&wrap(&format!("  {label}: "), &visible(words), width));
            }
        }
    }
    text.push('\n');
    text.push_str(&wrap("", &verdict(findings), width));
    text
}

/// One sentence on what it comes to.
fn verdict(findings: &[Finding]) -> String {
    let named = |state| -> Vec<&str> {
        let needed = findings.iter().filter(|f| f.needed && f.state == state);
        needed.map(|f| f.name.as_str()).collect()
    };
    let (missing, unknown) = (named(FindingState::Missing), named(FindingState::Unknown));
    match (missing.is_empty(), unknown.is_empty()) {
        (false, _) => {
            format!("this machine runs no jobs as it is: {}", visible(&missing.join(", ")))
        }
        (true, false) => format!(
            "nothing that jobs need is known to be missing; not found out: {}",
            visible(&unknown.join(", "))
        ),
        (true, true) => "this machine can run jobs".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { colour: false };

    #[test]
    fn groups_lead_and_what_to_do_stands_below_in_full() {
        let findings = [
            Finding::ok(Group::Kernel, "kernel", "6.12").needed(),
            Finding::ok(Group::Kernel, "pidfd", "there").needed(),
            Finding::partial(Group::Resources, "cgroups", "no memory")
                .so("limits of memory are refused")
                .fix("boot with version 2"),
            Finding::absent(Group::Devices, "amd", "no driver"),
        ];
        assert_eq!(
            table(&findings, None, PLAIN),
            "GROUP      CHECK    STATE    DETAIL\n\
             kernel     kernel   ok       6.12\n           \
                        pidfd    ok       there\n\
             resources  cgroups  partial  no memory\n\
             devices    amd      absent   no driver\n\
             \ncgroups: partial\n  so: limits of memory are refused\n  fix: boot with version 2\n\
             \nthis machine can run jobs\n"
        );
    }

    #[test]
    fn what_no_job_can_do_without_comes_first_and_decides() {
        let findings = [
            Finding::missing(Group::Kernel, "a", "x").so("less"),
            Finding::missing(Group::Sandbox, "b", "x").needed().so("none"),
        ];
        let text = table(&findings, Some(40), PLAIN);
        assert!(text.find("\nb: missing") < text.find("\na: missing"), "{text}");
        assert!(text.ends_with("\nthis machine runs no jobs as it is: b\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        let unknown = [Finding::unknown(Group::Kernel, "c", "x").needed()];
        assert!(table(&unknown, None, PLAIN).contains("not found out: c"));
    }
}
