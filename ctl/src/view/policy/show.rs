//! One profile in full, in sections.

use crate::view::style::{Style, Tone};
use crate::view::text::{duration, size, visible, wrap};
use fetchml_api::job::{Layer, LayerState};
use fetchml_policies::explain::outcome_words;
use fetchml_policies::{Demand, Denials, Document, Network, Profile, Rule, calls};
use serde::Deserialize;
use std::fmt::Write as _;

/// What a running supervisor makes of a profile on its machine.
#[derive(Debug, Deserialize)]
pub(crate) struct Machine {
    absent: Vec<String>,
    layers: Vec<Layer>,
    refused: Option<String>,
}

impl Machine {
    /// From the supervisor's document; there is none in one made from files.
    pub(crate) fn read(document: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Whole {
            machine: Machine,
        }
        serde_json::from_str::<Whole>(document).ok().map(|whole| whole.machine)
    }
}

struct Page {
    text: String,
    width: Option<usize>,
    style: Style,
}

impl Page {
    fn head(&mut self, title: &str) {
        let title = self.style.paint(Tone::Strong, title);
        // Writing to a string cannot fail.
        let _ = write!(self.text, "\n{title}\n");
    }

    fn line(&mut self, name: &str, words: &str) {
        const NAME: usize = 16;
        let lead = format!("  {:<NAME$} ", visible(name));
        self.text.push_str(&wrap(&lead, &visible(words), self.width));
    }
}

/// Everything a profile gives and withholds.
pub(crate) fn show(document: &Document, width: Option<usize>, style: Style) -> String {
    let profile = &document.profile;
    let mut page = Page { text: String::new(), width, style };
    let title = style.paint(Tone::Strong, &format!("profile {}", visible(&profile.name)));
    let default = if document.default { " (the default)" } else { "" };
    page.text = format!("{title}{default}\n");
    page.text.push_str(&wrap("  ", &visible(&profile.description), width));
    for privilege in &document.privileges {
        page.text.push_str(&wrap("  weaker: ", &visible(privilege), width));
    }
    identity(&mut page, profile);
    mounts(&mut page, profile);
    limits(&mut page, profile);
    page.head("environment");
    for (name, value) in &profile.env {
        page.line(name, value);
    }
    system_calls(&mut page, document);
    page.text
}

fn identity(page: &mut Page, profile: &Profile) {
    page.head("sandbox");
    page.line("user", &format!("{} in a user namespace of its own", profile.run_as_uid));
    page.line("group", &profile.run_as_gid.to_string());
    let kept = match profile.allowed_caps.is_empty() {
        true => "none".to_owned(),
        false => format!("{} in its own user namespace", profile.allowed_caps.join(", ")),
    };
    page.line("capabilities", &kept);
    page.line("new privileges", "never");
    page.line("network", network(profile.network_mode));
    page.line(
        "landlock",
        match profile.landlock {
            Demand::Required => "required: refused on kernels that lack some of it",
            Demand::BestEffort => "best effort: what the kernel lacks stands in the job's report",
        },
    );
    let quiet = match profile.quiet_calls.is_empty() {
        true => "counted by call".to_owned(),
        false => format!("counted by call, but for {}", profile.quiet_calls.join(", ")),
    };
    page.line(
        "denials",
        match profile.denials {
            Denials::Count => &quiet,
            Denials::Silent => "not counted",
        },
    );
}

fn network(mode: Network) -> &'static str {
    match mode {
        Network::None => "none: its own, in which nothing is up",
        Network::Loopback => "loopback: its own loopback alone",
        Network::Host => "host: the network of this machine",
    }
}

fn mounts(page: &mut Page, profile: &Profile) {
    page.head("root, read-only but for");
    page.line("/work", "the project; changes are kept with the job");
    page.line("/outputs", "results, kept with the job");
    page.line("/tmp", &format!("private, in memory, at most {}", size(profile.tmp_bytes)));
    page.line(
        "/dev/shm",
        &format!("private, in memory, at most {}, no programs", size(profile.shm_bytes)),
    );
    if profile.terminals {
        page.line("/dev/pts", "pseudo-terminals of the job's own");
    }
    page.head("shown of the host, read-only");
    for shown in &profile.show {
        page.line(&shown.path, if shown.optional { "where there is one" } else { "" });
    }
}

fn limits(page: &mut Page, profile: &Profile) {
    if !profile.devices.is_empty() {
        page.head("devices of the host");
        for device in &profile.devices {
            page.line(&device.path, if device.optional { "where there is one" } else { "" });
        }
    }
    page.head("limits");
    page.line("time", &duration(profile.max_runtime_usec));
    page.line("grace", &format!("{} between TERM and KILL", duration(profile.stop_grace_usec)));
    page.line("processes", &profile.pids.to_string());
    page.line("open files", &profile.open_files.to_string());
    page.line("memory", &profile.memory_bytes.map_or_else(|| "the job's own".to_owned(), size));
    page.line("cpus", &profile.cpus.map_or_else(|| "the job's own".to_owned(), |n| n.to_string()));
    let cpuset = profile.cpuset.map_or_else(|| "any".to_owned(), |set| set.to_string());
    page.line("cpuset", &cpuset);
    page.line("disk", &profile.disk_bytes.map_or_else(|| "the job's own".to_owned(), size));
    page.line("log", &size(profile.log_bytes));
    page.line("weights", &format!("{} cpu, {} io", profile.cpu_weight, profile.io_weight));
}

fn system_calls(page: &mut Page, document: &Document) {
    let filter = &document.filter;
    page.head("system calls");
    page.text.push_str(&wrap(
        "  ",
        &format!(
            "{}: {} possible, {} refused by name; any other {}",
            visible(&filter.name),
            filter.allowed,
            filter.denied,
            outcome_words(filter.default)
        ),
        page.width,
    ));
    for rule in &filter.rules {
        rule_lines(page, rule);
    }
    if !filter.unknown.is_empty() {
        page.text.push_str(&wrap(
            "  unknown here: ",
            &visible(&filter.unknown.join(" ")),
            page.width,
        ));
    }
}

/// The reason first: names alone tell few people anything.
fn rule_lines(page: &mut Page, rule: &Rule) {
    let number = rule.names.first().and_then(|name| calls::number(name)).unwrap_or(u32::MAX);
    let when: Vec<String> = rule.conditions.iter().map(|c| calls::condition(number, c)).collect();
    let when = if when.is_empty() { String::new() } else { format!(" when {}", when.join(", ")) };
    let (word, tone, outcome) = match rule.outcome.lets_through() {
        true => ("allowed", Tone::Good, String::new()),
        false => ("denied", Tone::Bad, format!(", {}", outcome_words(rule.outcome))),
    };
    let line = wrap("  ", &format!("{word}{}{outcome}", visible(&when)), page.width);
    page.text.push_str(&line.replacen(word, &page.style.paint(tone, word), 1));
    if !rule.comment.is_empty() {
        page.text.push_str(&wrap("    why: ", &visible(&rule.comment), page.width));
    }
    page.text.push_str(&wrap("    ", &visible(&rule.names.join(" ")), page.width));
}

/// What this machine makes of the profile.
pub(crate) fn machine(
    machine: &Machine,
    document: &Document,
    width: Option<usize>,
    style: Style,
) -> String {
    let mut page = Page { text: String::new(), width, style };
    page.head("on this machine");
    match &machine.refused {
        None => page.line("jobs", "run"),
        Some(why) => page.line("jobs", &format!("are refused: {why}")),
    }
    let shown = document.profile.show.len() - machine.absent.len().min(document.profile.show.len());
    page.line(
        "mounts",
        &format!("{shown} host paths, /work, /outputs, /tmp, /dev/shm, /proc, /dev"),
    );
    if !machine.absent.is_empty() {
        page.line("not here", &machine.absent.join(" "));
    }
    for layer in &machine.layers {
        let state = match layer.state {
            LayerState::Held => "held",
            LayerState::Partial => "partial",
            LayerState::Missing => "missing",
        };
        page.line(&layer.name, &format!("{state}: {}", layer.detail));
    }
    page.line("other layers", "held, or the job is refused");
    page.text
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchml_policies::Library;
    use std::path::Path;

    fn default() -> Document {
        let library = Library::load::<&Path>(&[]).expect("the vendor's policies are valid");
        library.document("default", "default").expect("it exists")
    }

    #[test]
    fn every_section_of_a_profile_is_shown() {
        let text = show(&default(), Some(72), Style { colour: false });
        for words in [
            "profile default (the default)\n",
            "  capabilities     none\n",
            "  network          none: its own",
            "  /usr",
            "  /tmp             private, in memory, at most 2 GiB\n",
            "  time             1d\n",
            "  PYTHONUNBUFFERED 1\n",
            "  denied when argument 0 is ",
            "    why: ",
        ] {
            assert!(text.contains(words), "{words:?} is not in {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn the_machine_says_what_it_lacks() {
        let text = r#"{"machine":{"absent":["/opt"],"refused":null,
            "layers":[{"name":"landlock","state":"partial","detail":"level 2"}]}}"#;
        let found = Machine::read(text).expect("a machine");
        let text = machine(&found, &default(), None, Style { colour: false });
        assert!(text.contains("  not here         /opt\n"), "{text}");
        assert!(text.contains("  landlock         partial: level 2\n"), "{text}");
        assert!(Machine::read("{}").is_none());
    }
}
