//! What was found on a machine.

use crate::view::style::{Style, Tone};
use crate::view::table::{Cell, draw};
use crate::view::text::visible;
use serde::{Deserialize, Serialize};

/// What jobs of the default profile run without when it is missing altogether.
const DISPENSABLE: [&str; 4] = ["landlock", "cgroups", "journal", "system-bus"];

/// One fact, in the form in which the supervisor describes the machine too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) name: String,
    /// `ok`, `partial` or `missing`; supervisors may say more.
    state: String,
    pub(crate) detail: String,
    pub(crate) remedy: Option<String>,
}

/// What a fact means for jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// Jobs run, without something.
    Partial,
    /// No job runs.
    Missing,
}

impl Finding {
    pub(crate) fn good(name: &str, detail: impl Into<String>) -> Self {
        Self { name: name.into(), state: "ok".into(), detail: detail.into(), remedy: None }
    }

    pub(crate) fn partial(
        name: &str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { state: "partial".into(), remedy: Some(remedy.into()), ..Self::good(name, detail) }
    }

    pub(crate) fn bad(name: &str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: "missing".into(), remedy: Some(remedy.into()), ..Self::good(name, detail) }
    }

    pub(crate) fn state(&self) -> State {
        match self.state.as_str() {
            "ok" => State::Ok,
            "missing" if !DISPENSABLE.contains(&self.name.as_str()) => State::Missing,
            _ => State::Partial,
        }
    }
}

/// Facts, and below them what to do about those that are not as they should be.
pub(crate) fn table(findings: &[Finding], width: Option<usize>, style: Style) -> String {
    let tone = |state| match state {
        State::Ok => Tone::Good,
        State::Partial => Tone::Careful,
        State::Missing => Tone::Bad,
    };
    let rows: Vec<Vec<Cell>> = findings
        .iter()
        .map(|f| {
            vec![
                visible(&f.name).into(),
                Cell::toned(visible(&f.state), tone(f.state())),
                visible(&f.detail).into(),
            ]
        })
        .collect();
    let mut text = draw(&["CHECK", "STATE", "DETAIL"], &rows, width, style);
    for finding in findings.iter().filter(|f| f.state() != State::Ok) {
        if let Some(remedy) = &finding.remedy {
            text.push_str(&format!("\n{}: {}", visible(&finding.name), visible(remedy)));
        }
    }
    if findings.iter().any(|f| f.state() != State::Ok && f.remedy.is_some()) {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_stand_below_the_table_in_full() {
        let findings = [
            Finding::good("kernel", "6.12"),
            Finding::partial("cgroups", "no memory", "boot with version 2"),
        ];
        assert_eq!(
            table(&findings, None, Style { colour: false }),
            "CHECK    STATE    DETAIL\n\
             kernel   ok       6.12\n\
             cgroups  partial  no memory\n\
             \ncgroups: boot with version 2\n"
        );
    }

    #[test]
    fn only_what_jobs_cannot_do_without_is_a_failure() {
        let text = r#"[{"name":"gpu","state":"absent","detail":"none","remedy":null},
                       {"name":"landlock","state":"missing","detail":"none","remedy":null},
                       {"name":"launcher","state":"missing","detail":"none","remedy":null}]"#;
        let findings: Vec<Finding> = serde_json::from_str(text).expect("findings");
        let states: Vec<_> = findings.iter().map(Finding::state).collect();
        assert_eq!(states, [State::Partial, State::Partial, State::Missing]);
    }
}
