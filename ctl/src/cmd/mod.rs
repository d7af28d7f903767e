//! The verbs, one a file, and the way from the command line to them.

mod attempts;
mod audit_anchor;
mod audit_export;
mod audit_key;
mod audit_show;
mod audit_verify;
mod backup;
mod cancel;
mod change;
mod completion;
mod config;
mod dead;
mod doctor;
mod drain;
mod list;
mod logs;
mod man;
mod metrics;
mod outputs;
mod policy;
mod policy_import;
mod queue;
mod run;
mod secret;
mod secrets;
mod shutdown;
mod status;
mod submit;
mod wait;

use crate::cli::{Audit, Cli, Verb};
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::link::Change;
use crate::private;
use crate::say::say;
use clap::{CommandFactory as _, Parser as _};
use std::ffi::OsString;

/// The status of this program.
pub(crate) fn main() -> u8 {
    let words: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&words) {
        Ok(cli) => cli,
        Err(error) => return usage(error, &words),
    };
    let jobs = status_is_the_jobs(&cli.verb);
    match begin(cli) {
        Ok(status) => status,
        Err(failure) => {
            if !failure.is_closed() {
                say(&failure);
            }
            failure.status(jobs)
        }
    }
}

/// Help that was asked for is no failure. A wrong command line is one, and for
/// `run` the contract has a single status for all failures of FetchML.
fn usage(mut error: clap::Error, words: &[OsString]) -> u8 {
    let verb = intended_verb(words);
    let hint = forgotten_equals(&error, words)
        .or_else(|| forgotten_dashes(&error, verb.as_deref(), words))
        .or_else(|| many_jobs(&mut error, verb.as_deref()));
    if error.kind() == clap::error::ErrorKind::UnknownArgument {
        // That `-- --tim` passes it as a value helps nobody who mistyped an option.
        error.remove(clap::error::ContextKind::Suggested);
    }
    // Nobody reading it changes nothing.
    let _ = error.print();
    if !error.use_stderr() {
        return 0;
    }
    if let Some(hint) = hint {
        say(&format_args!("hint: {hint}"));
    }
    Failure::usage("").status(matches!(verb.as_deref(), Some("run" | "wait")))
}

/// The verb on a command line that clap could not read.
fn intended_verb(words: &[OsString]) -> Option<String> {
    let mut words = words.iter().skip(1).map_while(|w| w.to_str());
    while let Some(word) = words.next() {
        match word {
            "--color" => {
                words.next();
            }
            word if word.starts_with('-') => {}
            verb => return Some(verb.to_owned()),
        }
    }
    None
}

/// The directory of a private supervisor is optional, so that it must be joined to its
/// option; what stands behind is taken for a verb or an argument.
fn forgotten_equals(error: &clap::Error, words: &[OsString]) -> Option<String> {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let kind = match error.kind() {
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        _ => return None,
    };
    let Some(ContextValue::String(dir)) = error.get(kind) else { return None };
    let stands = words.windows(2).any(|pair| pair[0] == "--private" && pair[1] == dir.as_str());
    stands.then(|| crate::private::joined(dir))
}

/// What makes many jobs is an option of `submit` alone, and no near one of `run`.
fn many_jobs(error: &mut clap::Error, verb: Option<&str>) -> Option<String> {
    use clap::error::{ContextKind, ContextValue};
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let option = option.split('=').next().unwrap_or_default().to_owned();
    let many = matches!(option.as_str(), "--array" | "--sweep" | "--dry-run");
    (verb == Some("run") && many).then(|| {
        for near in [ContextKind::SuggestedArg, ContextKind::Suggested] {
            error.remove(near);
        }
        format!("`run` is for one job; write `fetchmlctl submit {option} …`")
    })
}

/// People who know other tools write the command without the two dashes.
fn forgotten_dashes(error: &clap::Error, verb: Option<&str>, words: &[OsString]) -> Option<String> {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let verb = verb.filter(|verb| matches!(*verb, "run" | "submit"))?;
    let Some(ContextValue::String(first)) = error.get(ContextKind::InvalidArg) else { return None };
    if error.kind() != ErrorKind::UnknownArgument || first.starts_with('-') {
        return None;
    }
    let words: Vec<String> = words.iter().map(|w| w.to_string_lossy().into_owned()).collect();
    let at = words.iter().position(|word| word == first)?;
    let rest: Vec<String> = words[at..].iter().filter(|word| *word != "--").cloned().collect();
    let command = crate::view::text::command(&rest);
    Some(format!("write the command after --, as in `fetchmlctl {verb} … -- {command}`"))
}

/// Whether the status of this verb is a job's, so that a failure of FetchML
/// must not look like one.
fn status_is_the_jobs(verb: &Verb) -> bool {
    matches!(verb, Verb::Run(_) | Verb::Wait(_))
}

/// Verbs that need no supervisor, then those that do.
fn begin(cli: Cli) -> Result<u8> {
    match cli.verb {
        Verb::Completion { shell } => completion::run(shell, Cli::command()),
        Verb::Man { dir } => man::run(&dir, Cli::command()),
        Verb::DetachedSupervisor { program, dir } => {
            Err(private::become_supervisor(&program, &dir))
        }
        verb => {
            let context = Context::new(cli.global)?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|e| Failure::io("cannot start", "the event loop", &e))?;
            let ended = runtime.block_on(with_supervisor(verb, &context));
            ended.map_err(|failure| failure.about(context.link.target()))
        }
    }
}

async fn with_supervisor(verb: Verb, context: &Context) -> Result<u8> {
    match verb {
        Verb::Run(job) => run::run(context, job).await,
        Verb::Submit(job) => submit::run(context, job).await,
        Verb::List(list) => list::run(context, &list).await,
        Verb::Status(jobs) => status::run(context, &jobs.jobs).await,
        Verb::Logs(logs) => logs::run(context, &logs).await,
        Verb::Wait(jobs) => wait::run(context, &jobs.jobs).await,
        Verb::Cancel(cancel) => cancel::run(context, &cancel).await,
        Verb::Hold(jobs) => change::run(context, &jobs.jobs, Change::Hold).await,
        Verb::Release(jobs) => change::run(context, &jobs.jobs, Change::Release).await,
        Verb::Priority(to) => change::run(context, &to.jobs, Change::Priority(to.priority)).await,
        Verb::Dead(dead) => dead::run(context, &dead).await,
        Verb::Queue => queue::run(context).await,
        Verb::Attempts(jobs) => attempts::run(context, &jobs.jobs).await,
        Verb::Drain(drain) => drain::run(context, &drain).await,
        Verb::Shutdown(shutdown) => shutdown::run(context, &shutdown).await,
        Verb::Metrics(metrics) => metrics::run(context, &metrics).await,
        Verb::Backup { file } => backup::run(context, &file).await,
        Verb::Outputs(outputs) => outputs::run(context, &outputs).await,
        Verb::Audit(Audit::Show(show)) => audit_show::run(context, &show).await,
        Verb::Audit(Audit::Verify(verify)) => audit_verify::run(context, &verify).await,
        Verb::Audit(Audit::Key) => audit_key::run(context).await,
        Verb::Audit(Audit::Anchor) => audit_anchor::run(context).await,
        Verb::Audit(Audit::Export(export)) => audit_export::run(context, &export).await,
        Verb::Policy(policy) => policy::run(context, &policy).await,
        Verb::Secret(asked) => secret::run(context, &asked).await,
        Verb::Secrets(asked) => secrets::run(context, &asked),
        Verb::Config(asked) => config::run(context, &asked),
        Verb::Doctor => doctor::run(context).await,
        // Handled before there was a context.
        Verb::Completion { .. } | Verb::Man { .. } | Verb::DetachedSupervisor { .. } => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(Into::into).collect()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_verb_is_known_even_when_its_options_are_wrong() {
        let verb = |line| intended_verb(&words(line));
        assert_eq!(verb("fetchmlctl run --memory lots -- true").as_deref(), Some("run"));
        assert_eq!(
            verb("fetchmlctl --private=/x --color never run --nope").as_deref(),
            Some("run")
        );
        assert_eq!(verb("fetchmlctl list run").as_deref(), Some("list"));
        assert_eq!(verb("fetchmlctl --json"), None);
    }

    #[test]
    fn options_of_every_verb_may_stand_anywhere_before_the_command() {
        let cli =
            Cli::try_parse_from(words("fetchmlctl run --private --json --name n -- ls --json -q"))
                .expect("a good command line");
        assert_eq!(cli.global.private, Some(None));
        assert!(cli.global.json && !cli.global.quiet);
        let Verb::Run(job) = cli.verb else { unreachable!("the verb is run") };
        assert_eq!(job.command, ["ls", "--json", "-q"]);
    }

    #[test]
    fn a_directory_that_is_not_joined_to_its_option_is_told_how() {
        let hint = |line: &str| {
            let words = words(line);
            let error = Cli::try_parse_from(&words).expect_err("a wrong command line");
            forgotten_equals(&error, &words)
        };
        let told = "a directory is joined to its option: --private=/srv/x";
        assert_eq!(hint("fetchmlctl --private /srv/x list").as_deref(), Some(told));
        assert_eq!(hint("fetchmlctl list --private /srv/x").as_deref(), Some(told));
        assert_eq!(hint("fetchmlctl --private=/srv/x lits"), None);
        assert_eq!(hint("fetchmlctl --private -q lits"), None);
    }

    #[test]
    fn run_makes_one_job_and_says_who_makes_many() {
        let words = words("fetchmlctl run --array 1-3 -- true");
        let mut error = Cli::try_parse_from(words).expect_err("no option of run");
        let hint = many_jobs(&mut error, Some("run")).expect("a hint");
        assert!(hint.ends_with("`fetchmlctl submit --array …`"), "{hint}");
        assert!(!error.to_string().contains("--retry"), "{error}");
        assert_eq!(many_jobs(&mut error, Some("list")), None);
    }

    #[test]
    fn a_command_without_the_two_dashes_is_refused() {
        let read = Cli::try_parse_from(words("fetchmlctl run python3 train.py"));
        let error = read.expect_err("a wrong command line");
        assert!(error.to_string().contains("-- "));
        let words = words("fetchmlctl run python3 train.py");
        let hint = forgotten_dashes(&error, Some("run"), &words).expect("a hint");
        assert!(hint.ends_with("`fetchmlctl run … -- python3 train.py`"), "{hint}");
    }
}
