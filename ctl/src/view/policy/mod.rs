//! Profiles: lists, explanations, differences, faults.

mod show;

pub(crate) use show::{Machine, machine, show};

use crate::view::style::{Style, Tone};
use crate::view::table::{Cell, draw};
use crate::view::text::{visible, wrap};
use fetchml_policies::explain::{By, Case, Grounds, Verdict};
use fetchml_policies::profile::in_words;
use fetchml_policies::{Answer, Difference, Network, Overview, Problem, Subject};
use std::fmt::Write as _;

/// One line a profile.
pub(crate) fn list(profiles: &[Overview], width: Option<usize>, style: Style) -> String {
    let rows: Vec<Vec<Cell>> = profiles
        .iter()
        .map(|profile| {
            let mark = match (profile.default, profile.privileges.is_empty()) {
                (true, true) => Cell::toned("default", Tone::Good),
                (false, true) => "".into(),
                (true, false) => Cell::toned("default, weaker", Tone::Careful),
                (false, false) => Cell::toned("weaker", Tone::Careful),
            };
            vec![
                visible(&profile.name).into(),
                mark,
                network(profile.network).into(),
                visible(&profile.description).into(),
            ]
        })
        .collect();
    let mut text = draw(&["PROFILE", "MARK", "NETWORK", "DESCRIPTION"], &rows, width, style);
    for profile in profiles.iter().filter(|p| !p.privileges.is_empty()) {
        let lead = format!("\n{} needs the role for it: ", visible(&profile.name));
        text.push_str(&wrap(&lead, &visible(&in_words(&profile.privileges)), width));
    }
    text
}

fn network(network: Network) -> String {
    // The word of the profile's file.
    serde_json::to_value(network)
        .ok()
        .and_then(|v| v.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// Whether a job may, by which rule, and where else it may.
pub(crate) fn answer(answer: &Answer, width: Option<usize>, style: Style) -> String {
    let told = &answer.explanation;
    let mut text = format!(
        "{}: {} (profile {})\n",
        style.paint(Tone::Strong, &visible(&told.question)),
        verdict(told.verdict, style),
        visible(&told.profile)
    );
    text.push_str(&wrap("  ", &visible(&told.outcome), width));
    text.push_str(&by(told.by, told.rule.as_ref(), width));
    for case in &told.cases {
        text.push_str(&one_case(case, width, style));
    }
    let named = |wanted| -> Vec<String> {
        let others = answer.others.iter().filter(|other| other.verdict == wanted);
        others.map(|other| visible(&other.profile)).collect()
    };
    let (allowing, depending) = (named(Verdict::Allowed), named(Verdict::Depends));
    if told.verdict == Verdict::Allowed {
        return text;
    }
    if !allowing.is_empty() {
        text.push_str(&wrap("  allowed by: ", &format!("profile {}", allowing.join(", ")), width));
    }
    if told.verdict == Verdict::Denied && !depending.is_empty() {
        text.push_str(&wrap("  depends in: ", &format!("profile {}", depending.join(", ")), width));
    }
    if told.verdict == Verdict::Denied && allowing.is_empty() && depending.is_empty() {
        text.push_str("  no other profile allows it\n");
    }
    text
}

fn verdict(verdict: Verdict, style: Style) -> String {
    match verdict {
        Verdict::Allowed => style.paint(Tone::Good, "allowed"),
        Verdict::Denied => style.paint(Tone::Bad, "denied"),
        Verdict::Depends => style.paint(Tone::Careful, "depends"),
    }
}

fn by(by: By, rule: Option<&Grounds>, width: Option<usize>) -> String {
    let who = match by {
        By::Profile => "the profile",
        By::Ceiling => "what holds above every profile",
        By::Default => "no rule: what is not named is refused",
        By::Sandbox => "the sandbox of every job",
    };
    let Some(rule) = rule else { return wrap("  by: ", who, width) };
    let place = format!("{who}, {} in {}", visible(&rule.key), visible(&rule.file));
    let mut text = wrap("  by: ", &place, width);
    if !rule.reason.is_empty() {
        text.push_str(&wrap("  why: ", &visible(&rule.reason), width));
    }
    text
}

fn one_case(case: &Case, width: Option<usize>, style: Style) -> String {
    let when = if case.when.is_empty() { "otherwise" } else { &case.when };
    let mut text = wrap(
        &format!("  {}: ", visible(when)),
        &format!("{}, {}", case_word(case), visible(&case.outcome)),
        width,
    );
    if style.colour {
        text = text.replacen(case_word(case), &verdict(case.verdict, style), 1);
    }
    if let Some(rule) = &case.rule
        && !rule.reason.is_empty()
    {
        text.push_str(&wrap("    why: ", &visible(&rule.reason), width));
    }
    text
}

fn case_word(case: &Case) -> &'static str {
    match case.verdict {
        Verdict::Allowed => "allowed",
        Verdict::Denied => "denied",
        Verdict::Depends => "depends",
    }
}

/// What distinguishes two profiles, by subject.
pub(crate) fn differences(
    names: (&str, &str),
    found: &[Difference],
    width: Option<usize>,
    style: Style,
) -> String {
    if found.is_empty() {
        return format!("{} and {} do not differ\n", visible(names.0), visible(names.1));
    }
    let side = |side: &Option<String>| side.as_deref().map_or_else(|| "-".to_owned(), visible);
    let rows: Vec<Vec<Cell>> = found
        .iter()
        .map(|one| {
            vec![
                Cell::toned(subject(one.subject), Tone::Quiet),
                visible(&one.name).into(),
                side(&one.before).into(),
                side(&one.after).into(),
            ]
        })
        .collect();
    let header =
        ["ABOUT", "NAME", &visible(names.0).to_uppercase(), &visible(names.1).to_uppercase()];
    draw(&header, &rows, width, style)
}

fn subject(subject: Subject) -> &'static str {
    match subject {
        Subject::Key => "setting",
        Subject::Capability => "capability",
        Subject::Path => "path",
        Subject::Device => "device",
        Subject::Variable => "variable",
        Subject::Call => "call",
    }
}

/// One line a fault, as compilers write them.
pub(crate) fn problems(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", visible(&problem.to_string()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchml_policies::{Library, Other, Question};
    use std::path::Path;

    const PLAIN: Style = Style { colour: false };

    fn ask(kind: &str, what: &str) -> Answer {
        let library = Library::load::<&Path>(&[]).expect("the vendor's policies are valid");
        let profile = library.profile("default").expect("it exists");
        let filter = library.filter(&profile).expect("it is compiled");
        let question = Question::read(kind, what).expect("a question");
        library.answer(&question, &profile, &filter).expect("an answer")
    }

    #[test]
    fn a_denial_names_its_rule_its_reason_and_the_way_out() {
        let mut told = ask("call", "reboot");
        told.others = vec![Other { profile: "admin".into(), verdict: Verdict::Allowed }];
        let text = answer(&told, Some(60), PLAIN);
        assert!(text.starts_with("reboot: denied (profile default)\n"), "{text}");
        assert!(
            text.contains("built-in\n      default-hardened.json")
                || text.contains("built-in default-hardened.json"),
            "{text}"
        );
        assert!(text.contains("  why: "), "{text}");
        assert!(text.contains("  allowed by: profile admin\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
    }

    #[test]
    fn cases_are_told_in_their_order() {
        let text = answer(&ask("call", "socket"), None, PLAIN);
        assert!(text.contains("  argument 0 is AF_UNIX: allowed, is made\n"), "{text}");
        assert!(text.contains("  otherwise: denied, fails with EAFNOSUPPORT"), "{text}");
    }

    #[test]
    fn weaker_profiles_are_marked_and_say_why() {
        let one = |name: &str, default, privileges: &[&str]| Overview {
            name: name.into(),
            description: "x".into(),
            default,
            network: Network::None,
            privileges: privileges.iter().map(|&p| p.to_owned()).collect(),
        };
        let text =
            list(&[one("default", true, &[]), one("raw", false, &["keeps CAP_X"])], None, PLAIN);
        assert_eq!(
            text,
            "PROFILE  MARK     NETWORK  DESCRIPTION\n\
             default  default  none     x\n\
             raw      weaker   none     x\n\
             \nraw needs the role for it: keeps CAP_X\n"
        );
    }

    #[test]
    fn differences_have_both_sides() {
        let one = Difference {
            subject: Subject::Key,
            name: "limits.pids".into(),
            before: Some("4096".into()),
            after: None,
        };
        let text = differences(("default", "strict"), &[one], None, PLAIN);
        assert_eq!(
            text,
            "ABOUT    NAME         DEFAULT  STRICT\nsetting  limits.pids  4096     -\n"
        );
        assert_eq!(differences(("a", "b"), &[], None, PLAIN), "a and b do not differ\n");
    }
}
