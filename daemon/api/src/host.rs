//! What is found on a machine: the document of `Manager.DescribeHost` and of
//! `fetchmlctl doctor --json`.

use serde::{Deserialize, Serialize};

/// One fact about a machine. Supervisor and client look at different sides of
/// it; where both know a fact of one name, the supervisor's holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which part of the machine it is about.
    #[serde(default)]
    pub group: Group,
    /// Short name, unique and stable: `landlock`, `cgroups`, …
    pub name: String,
    /// How it is.
    pub state: FindingState,
    /// Whether no job runs without it.
    #[serde(default)]
    pub needed: bool,
    /// What exactly was found.
    pub detail: String,
    /// What it means for jobs, unless all is well.
    #[serde(default)]
    pub consequence: Option<String>,
    /// What to do about it, when something can be done.
    pub remedy: Option<String>,
}

/// Parts of a machine, in the order in which they are shown.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// What the kernel must have.
    Kernel,
    /// The layers of a job's sandbox.
    Sandbox,
    /// Memory, CPUs, files, disks.
    Resources,
    /// Where records go.
    Audit,
    /// Accelerators.
    Devices,
    /// Services of the operating system and the supervisor itself.
    #[default]
    #[serde(other)]
    System,
}

impl Group {
    /// Every group in order.
    pub const ALL: [Self; 6] =
        [Self::Kernel, Self::Sandbox, Self::Resources, Self::Audit, Self::Devices, Self::System];

    /// The word in the document and for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Sandbox => "sandbox",
            Self::Resources => "resources",
            Self::System => "system",
            Self::Audit => "audit",
            Self::Devices => "devices",
        }
    }
}

/// How a fact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingState {
    /// As it should be.
    Ok,
    /// Not there, and nobody misses it who does not ask for it: a GPU.
    Absent,
    /// There in part: jobs run, with less.
    Partial,
    /// Not there.
    Missing,
    /// Could not be found out from here.
    #[serde(other)]
    Unknown,
}

impl FindingState {
    /// The word in the document and for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Absent => "absent",
            Self::Partial => "partial",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
        }
    }
}

impl Finding {
    /// A fact as it should be.
    #[must_use]
    pub fn ok(group: Group, name: &str, detail: impl Into<String>) -> Self {
        Self {
            group,
            name: name.to_owned(),
            state: FindingState::Ok,
            needed: false,
            detail: detail.into(),
            consequence: None,
            remedy: None,
        }
    }

    /// Something that is not there and that only those miss who ask for it.
    #[must_use]
    pub fn absent(group: Group, name: &str, detail: impl Into<String>) -> Self {
        Self { state: FindingState::Absent, ..Self::ok(group, name, detail) }
    }

    /// Something that is there in part.
    #[must_use]
    pub fn partial(group: Group, name: &str, detail: impl Into<String>) -> Self {
        Self { state: FindingState::Partial, ..Self::ok(group, name, detail) }
    }

    /// Something that is not there.
    #[must_use]
    pub fn missing(group: Group, name: &str, detail: impl Into<String>) -> Self {
        Self { state: FindingState::Missing, ..Self::ok(group, name, detail) }
    }

    /// Something that could not be found out.
    #[must_use]
    pub fn unknown(group: Group, name: &str, detail: impl Into<String>) -> Self {
        Self { state: FindingState::Unknown, ..Self::ok(group, name, detail) }
    }

    /// The same as something without which no job runs.
    #[must_use]
    pub fn needed(mut self) -> Self {
        self.needed = true;
        self
    }

    /// The same with what it means for jobs.
    #[must_use]
    pub fn so(mut self, consequence: impl Into<String>) -> Self {
        self.consequence = Some(consequence.into());
        self
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn fix(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// What each level of Landlock added, with the kernel it came with.
const LANDLOCK_LEVELS: [(u32, &str, &str); 7] = [
    (1, "file access", "5.13"),
    (2, "renames between directories", "5.19"),
    (3, "truncation", "6.2"),
    (4, "TCP ports", "6.7"),
    (5, "device ioctls", "6.10"),
    (6, "abstract sockets and signals", "6.12"),
    (7, "denials in the kernel's audit where that is on", "6.15"),
];
/// Level from which every rule of the vendor's profiles holds.
const LANDLOCK_RULES: u32 = 6;
/// Level at which newer kernels are used.
const LANDLOCK_USED: u32 = 7;

/// Landlock at this level, on a kernel whose list of security modules is
/// `modules` (`/sys/kernel/security/lsm`), where it could be read.
#[must_use]
pub fn landlock(level: u32, modules: Option<&str>) -> Finding {
    const NAME: &str = "landlock";
    let named = |wanted: &dyn Fn(u32) -> bool, with_kernel: bool| {
        let words = LANDLOCK_LEVELS.iter().filter(|(step, ..)| wanted(*step)).map(
            |(step, what, kernel)| match with_kernel {
                false => (*what).to_owned(),
                true => format!("{what} (level {step}, Linux {kernel})"),
            },
        );
        words.collect::<Vec<_>>().join(", ")
    };
    if level == 0 {
        let listed = modules.unwrap_or("").trim();
        let order = if listed.is_empty() { "LIST, its list so far" } else { listed };
        return Finding::missing(Group::Sandbox, NAME, "not in this kernel, or switched off")
            .so("jobs are held by the other layers alone, and each report says so; profiles that \
                 require it are refused")
            .fix(format!(
                "on a kernel with CONFIG_SECURITY_LANDLOCK (Debian's has it) boot with \
                 lsm=landlock,{order}"
            ));
    }
    let used =
        if level > LANDLOCK_USED { format!(", used at {LANDLOCK_USED}") } else { String::new() };
    let has = format!("level {level}{used}: {}", named(&|step| step <= level, false));
    if level >= LANDLOCK_RULES {
        return Finding::ok(Group::Sandbox, NAME, has);
    }
    let lacks = named(&|step| step > level && step <= LANDLOCK_RULES, true);
    Finding::partial(Group::Sandbox, NAME, has)
        .so(format!(
            "not held by Landlock: {lacks}; the other layers hold, and each report says so"
        ))
        .fix("boot Linux 6.12 or newer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_newer_and_older_supervisors_are_understood() {
        let text = r#"[{"name":"gpu","state":"odd","detail":"none","remedy":null},
            {"group":"stars","name":"x","state":"partial","needed":true,"detail":"y","remedy":"z"}]"#;
        let findings: Vec<Finding> = serde_json::from_str(text).expect("findings");
        assert_eq!(findings[0].state, FindingState::Unknown);
        assert_eq!(findings[1].group, Group::System);
        assert!(findings[1].needed && !findings[0].needed);
    }

    #[test]
    fn the_document_has_the_words_that_people_see() {
        for group in Group::ALL {
            let finding = Finding::missing(group, "x", "y").needed().so("c").fix("r");
            let value = serde_json::to_value(&finding).expect("JSON");
            assert_eq!(value["group"], group.as_str());
            assert_eq!(value["state"], finding.state.as_str());
            assert_eq!((&value["consequence"], &value["remedy"]), (&"c".into(), &"r".into()));
        }
    }

    #[test]
    fn landlock_says_what_each_level_has_and_lacks() {
        let none = landlock(0, Some("capability,yama,apparmor\n"));
        assert_eq!(none.state, FindingState::Missing);
        assert!(none.remedy.is_some_and(|r| r.ends_with("lsm=landlock,capability,yama,apparmor")));
        let some = landlock(2, None);
        assert_eq!(some.state, FindingState::Partial);
        assert_eq!(some.detail, "level 2: file access, renames between directories");
        let lacks = some.consequence.expect("a consequence");
        assert!(lacks.contains("truncation (level 3, Linux 6.2)"), "{lacks}");
        assert!(!lacks.contains("renames") && !lacks.contains("audit"), "{lacks}");
        let all = landlock(7, None);
        assert_eq!(all.state, FindingState::Ok);
        assert!(all.detail.starts_with("level 7: "), "{}", all.detail);
        assert!(all.detail.ends_with("audit where that is on"), "{}", all.detail);
        let newer = landlock(9, None);
        assert_eq!(newer.state, FindingState::Ok);
        assert!(newer.detail.starts_with("level 9, used at 7: "), "{}", newer.detail);
    }
}
