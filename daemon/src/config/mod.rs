//! The supervisor's configuration: vendor defaults, `/etc/fetchml/fetchml.toml`,
//! then the drop-ins `/etc/fetchml/fetchml.toml.d/*.toml` in the order of their
//! names. Later files win key by key. A file with a mistake stops the start:
//! a limit that is silently not what was written is worse than no service.

mod expand;
mod read;
mod secrets;

pub use read::{ConfigError, Problem};
pub use secrets::{Secrets, digest};

use crate::audit::LEAST_KEEP_DAYS;
use crate::queue::{RetryPolicy, Rules};
use fetchml_policies::Library;
use fetchml_policies::secrets::Rules as SecretRules;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the system service reads its configuration.
pub const SYSTEM_FILE: &str = "/etc/fetchml/fetchml.toml";

/// Everything that can be configured, complete and in range.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What the queue does.
    pub jobs: Jobs,
    /// What the bus does.
    pub bus: Bus,
    /// What the audit log does.
    pub audit: Audit,
    /// How long jobs are remembered (`[store]`).
    pub store: Storing,
    /// What happens to jobs that failed (`[retry]`).
    pub retry: RetryPolicy,
    /// What each user may have, and how users take turns (`[quota]`, `[queue]`).
    pub rules: Rules,
    /// How accelerators are given out.
    pub gpus: Gpus,
    /// What looks like a secret and is none.
    pub secrets: Secrets,
}

/// `[jobs]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jobs {
    /// Jobs that run at once (`max_running`).
    pub max_running: usize,
    /// Profile of a job that names none (`default_profile`).
    pub default_profile: String,
    /// Jobs of one user that wait at once (`max_queued_per_user`).
    pub max_queued_per_user: usize,
    /// Texts of the specifications of one user's jobs that wait, bytes
    /// (`max_queued_mib_per_user`).
    pub max_queued_bytes_per_user: usize,
    /// Jobs of one array (`max_array_size`).
    pub max_array_size: usize,
}

/// `[bus]`: the peer-to-peer socket. The system bus has limits of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bus {
    /// Connections of all users, half-open ones included (`max_connections`).
    pub max_connections: usize,
    /// Connections of one user (`max_connections_per_user`).
    pub max_connections_per_user: usize,
    /// Time a client has to authenticate (`handshake_timeout_seconds`).
    pub handshake_timeout: Duration,
    /// A private supervisor without work and clients stops after this
    /// (`idle_exit_seconds`); zero means never.
    pub idle_exit: Duration,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storing {
    /// Jobs that were over for longer are forgotten with their logs and outputs
    /// (`keep_days`); `None` keeps all.
    pub keep: Option<Duration>,
}

/// `[audit]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Copy each record to the journal (`journald`).
    pub journald: bool,
    /// Directories of which it is recorded which files jobs open (`data`).
    pub data: Vec<PathBuf>,
    /// A segment of this length is sealed (`segment_mib`).
    pub segment_bytes: u64,
    /// Segments that were sealed longer ago are deleted (`keep_days`).
    pub keep: Duration,
    /// When nothing is recorded, a checkpoint is made so often (`heartbeat_minutes`).
    pub heartbeat: Duration,
}

/// `[gpus]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gpus {
    /// Jobs that ask for none see all that their profile shows (`shared`).
    pub shared: bool,
}

impl Default for Config {
    fn default() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            jobs: Jobs {
                // One job on a single processor would let a sleeping job hold up the queue.
                max_running: cpus.max(2),
                default_profile: "default".to_owned(),
                max_queued_per_user: 200_000,
                max_queued_bytes_per_user: 64 << 20,
                max_array_size: 100_000,
            },
            bus: Bus {
                max_connections: 256,
                max_connections_per_user: 64,
                handshake_timeout: Duration::from_secs(5),
                idle_exit: Duration::from_secs(15),
            },
            audit: Audit {
                journald: true,
                data: Vec::new(),
                segment_bytes: 64 << 20,
                keep: Duration::from_secs(LEAST_KEEP_DAYS * 86_400),
                heartbeat: Duration::from_secs(300),
            },
            store: Storing { keep: None },
            retry: RetryPolicy::default(),
            rules: Rules::default(),
            gpus: Gpus::default(),
            secrets: Secrets::default(),
        }
    }
}

impl Config {
    /// Reads the system's configuration.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem of every file.
    pub fn load_system(
        rules: &SecretRules,
        library: Option<&Library>,
    ) -> Result<Self, ConfigError> {
        Self::load(&files(Path::new(SYSTEM_FILE))?, rules, library)
    }

    /// Puts on top what one text says.
    ///
    /// # Errors
    /// Every problem of it.
    pub fn read_text(
        &mut self,
        file: &Path,
        text: &str,
        rules: &SecretRules,
    ) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        read::apply(file, text, self, &mut problems);
        secrets::refuse(file, text, rules, &self.secrets, &mut problems);
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::Problems(problems)) }
    }

    /// Reads these files, later ones winning, on top of the defaults. With a library,
    /// the default profile is looked for in it.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem of every file.
    pub fn load(
        files: &[PathBuf],
        rules: &SecretRules,
        library: Option<&Library>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let (mut problems, mut texts) = (Vec::new(), Vec::new());
        for path in files {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.clone(), source })?;
            read::apply(path, &text, &mut config, &mut problems);
            texts.push((path, text));
        }
        // All of it has been read: what is allowed counts for every file.
        for (path, text) in &texts {
            secrets::refuse(path, text, rules, &config.secrets, &mut problems);
        }
        if let Some(Err(error)) = library.map(|l| l.profile(&config.jobs.default_profile)) {
            // The last file that says it has decided; the defaults name one that is there.
            let place = texts.iter().rev().find_map(|(path, text)| {
                read::line_of(text, "jobs", "default_profile").map(|line| (path, line))
            });
            // What a fault was found with already may be a secret and is not repeated.
            if let Some((path, line)) = place
                && !problems.iter().any(|told| told.file == **path && told.line == line)
            {
                let message = format!("jobs.default_profile: {error}");
                problems.push(Problem { file: path.to_path_buf(), line, message });
            }
        }
        problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        if problems.is_empty() { Ok(config) } else { Err(ConfigError::Problems(problems)) }
    }
}

/// The main file, if it is there, and its drop-ins in the order of their names.
fn files(main: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let mut found = Vec::new();
    if main.exists() {
        found.push(main.to_owned());
    }
    let mut folder = main.as_os_str().to_owned();
    folder.push(".d");
    let folder = PathBuf::from(folder);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(source) => return Err(ConfigError::Read { path: folder, source }),
    };
    let mut drop_ins = entries
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| ConfigError::Read { path: folder, source })?;
    drop_ins.retain(|path| path.extension().is_some_and(|ext| ext == "toml"));
    drop_ins.sort();
    found.append(&mut drop_ins);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(files: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().expect("temporary directory");
        let paths: Vec<_> = files
            .iter()
            .map(|(name, text)| {
                let path = dir.path().join(name);
                std::fs::write(&path, text).expect("write");
                path
            })
            .collect();
        let rules = fetchml_policies::secrets::load::<&str>(&[]).expect("sound rules");
        Config::load(&paths, &rules, None)
    }

    #[test]
    fn a_default_profile_that_is_not_there_is_told_with_the_rest() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("f.toml");
        let library = Library::load::<&str>(&[]).expect("the vendor's policies are valid");
        let told = |text: &str| {
            std::fs::write(&path, text).expect("write");
            Config::load(std::slice::from_ref(&path), library.secrets(), Some(&library))
                .err()
                .map(|error| error.to_string())
        };
        let error = told("[jobs]\nmax_running = 0\ndefault_profile = \"defualt\"\n");
        let error = error.expect("two mistakes");
        assert!(error.contains("f.toml:2: jobs.max_running is 0"), "{error}");
        assert!(error.contains("f.toml:3: jobs.default_profile: unknown profile"), "{error}");
        assert!(error.contains("did you mean default?"), "{error}");
        assert_eq!(told("[jobs]\ndefault_profile = \"strict\"\n"), None);
        let token = format!("ghp_{}", "x7Kq".repeat(9));
        let error = told(&format!("[jobs]\ndefault_profile = \"{token}\"\n"));
        let error = error.expect("a secret");
        assert!(error.lines().count() == 1 && !error.contains("x7Kq"), "{error}");
    }

    #[test]
    fn later_files_win_key_by_key() {
        let config = load(&[
            ("a.toml", "[jobs]\nmax_running = 3\ndefault_profile = \"strict\"\n"),
            ("b.toml", "[jobs]\nmax_running = 5\n[audit]\njournald = false\n"),
        ])
        .expect("valid");
        assert_eq!(config.jobs.max_running, 5);
        assert_eq!(config.jobs.default_profile, "strict");
        assert!(!config.audit.journald);
        assert_eq!(config.bus, Config::default().bus);
    }

    #[test]
    fn every_problem_is_named_with_its_place_and_remedy() {
        let error = load(&[(
            "f.toml",
            "[jobs]\nmax_runing = 3\nmax_running = 0\ndefault_profile = 7\n[buss]\n",
        )])
        .expect_err("four mistakes")
        .to_string();
        assert!(error.contains("f.toml:2: unknown key jobs.max_runing"), "{error}");
        assert!(error.contains("did you mean max_running?"), "{error}");
        assert!(error.contains("f.toml:3: jobs.max_running is 0"), "{error}");
        assert!(error.contains("f.toml:4: jobs.default_profile must be a string"), "{error}");
        assert!(error.contains("f.toml:5: unknown table buss"), "{error}");
        assert!(error.contains("did you mean bus?"), "{error}");
    }

    #[test]
    fn secrets_and_placeholders_are_refused_and_never_repeated() {
        let token = format!("ghp_{}", "x7Kq".repeat(9));
        let text = format!(
            "[jobs]\ndefault_profile = \"{token}\"\n# password = \"Tr0ub4dor&3\"\n[audit]\njournald = true\n"
        );
        let error = load(&[("f.toml", &text)]).expect_err("two secrets").to_string();
        assert!(
            error.contains("f.toml:2: jobs.default_profile holds a secret (github-token)"),
            "{error}"
        );
        assert!(error.contains("f.toml:3: "), "{error}");
        assert!(!error.contains("x7Kq") && !error.contains("Tr0ub"), "{error}");
        let error = load(&[("f.toml", "[jobs]\ndefault_profile = \"CHANGE_ME\"\n")]);
        let error = error.expect_err("a placeholder").to_string();
        assert!(error.contains("f.toml:2: jobs.default_profile holds a placeholder"), "{error}");
    }

    #[test]
    fn a_false_alarm_is_marked_by_the_digest_of_the_value() {
        let odd = "kY3vR8wQz1LmN7bTx2JpQ4";
        let text = format!("[jobs]\ndefault_profile = \"{odd}\"\n");
        load(&[("a.toml", &text)]).expect_err("it looks random");
        let allowed = format!("[secrets]\nallow_literal = [\"{}\"]\n", digest(odd));
        let config = load(&[("a.toml", &text), ("b.toml", &allowed)]).expect("it is allowed");
        assert_eq!(config.jobs.default_profile, odd);
        let error = load(&[("f.toml", "[secrets]\nallow_literal = [\"abc\"]\n")]);
        let error = error.expect_err("no digest").to_string();
        assert!(error.contains("f.toml:2: secrets.allow_literal"), "{error}");
    }

    #[test]
    fn references_are_expanded_or_refused() {
        let config = load(&[("f.toml", "[jobs]\ndefault_profile = \"${HOME}-x\"\n")]);
        let home = std::env::var("HOME").expect("a home");
        assert_eq!(config.expect("expanded").jobs.default_profile, format!("{home}-x"));
        for (value, words) in [
            ("${FETCHML_NOT_SET}", "FETCHML_NOT_SET is not set"),
            ("${HOME:-x}", "a default"),
            ("${HOME", "no }"),
        ] {
            let text = format!("[jobs]\ndefault_profile = \"{value}\"\n");
            let error = load(&[("f.toml", &text)]).expect_err(value).to_string();
            assert!(
                error.contains("f.toml:2: jobs.default_profile") && error.contains(words),
                "{error}"
            );
        }
    }

    #[test]
    fn text_that_is_not_toml_is_refused_with_its_line() {
        let error = load(&[("f.toml", "[jobs]\nmax_running = = 1\n")]).expect_err("no TOML");
        assert!(error.to_string().contains("f.toml:2: "), "{error}");
    }

    #[test]
    fn drop_ins_are_read_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let main = dir.path().join("fetchml.toml");
        assert_eq!(files(&main).expect("nothing there"), Vec::<PathBuf>::new());
        let drop_ins = dir.path().join("fetchml.toml.d");
        std::fs::create_dir(&drop_ins).expect("mkdir");
        for name in ["20-b.toml", "10-a.toml", "README"] {
            std::fs::write(drop_ins.join(name), "").expect("write");
        }
        std::fs::write(&main, "").expect("write");
        assert_eq!(
            files(&main).expect("files"),
            [main, drop_ins.join("10-a.toml"), drop_ins.join("20-b.toml")]
        );
    }
}
