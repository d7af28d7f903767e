//! What goes wrong, in words, and the status it ends with.

use crate::connect::Target;
use fetchml_api::job::STATUS_REFUSED;
use fetchml_api::names::error as name;
use std::fmt;
use std::io;

/// Status of a program that SIGPIPE ended (128 + 13), for output that nobody reads.
pub(crate) const STATUS_CLOSED: u8 = 141;
/// Status of a program that SIGINT ended (128 + 2).
pub(crate) const STATUS_INTERRUPTED: u8 = 130;

/// A failure of the client: one line of what, one of what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    what: String,
    hint: Option<String>,
    /// Last part of the bus error behind it, if there is one.
    bus: Option<String>,
    /// The hint is the one of the bus error, which depends on who was asked.
    of_bus: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The command line asks for something that cannot be.
    Usage,
    /// The answer is no, or something failed.
    No,
    /// Nobody reads standard output any more: nothing is said.
    Closed,
    /// A second Ctrl-C.
    Interrupted,
}

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub(crate) fn no(what: impl Into<String>) -> Self {
        Self { kind: Kind::No, what: what.into(), hint: None, bus: None, of_bus: false }
    }

    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, what: what.into(), hint: None, bus: None, of_bus: false }
    }

    pub(crate) fn closed() -> Self {
        Self {
            kind: Kind::Closed,
            what: "standard output was closed".into(),
            hint: None,
            bus: None,
            of_bus: false,
        }
    }

    pub(crate) fn interrupted(what: impl Into<String>) -> Self {
        Self { kind: Kind::Interrupted, what: what.into(), hint: None, bus: None, of_bus: false }
    }

    /// A failed system call on a path or another named thing.
    pub(crate) fn io(step: &str, value: impl fmt::Display, error: &io::Error) -> Self {
        Self::no(format!("{step} {value}: {}", reason(error)))
    }

    /// A failed write to standard output: silent when nobody reads it.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::closed();
        }
        Self::no(format!("cannot write to standard output: {}", reason(error)))
    }

    /// An error from the supervisor or from the way to it.
    pub(crate) fn bus(step: impl fmt::Display, error: &zbus::Error) -> Self {
        let (short, text) = bus_parts(error);
        let mut failure = Self::no(format!("{step}: {text}"));
        failure.hint = bus_hint(&short, &Target::System);
        failure.of_bus = true;
        failure.bus = Some(short);
        failure
    }

    /// What the supervisor says of one job of several.
    pub(crate) fn named(step: &str, name: &str, words: &str) -> Self {
        let short = name.rsplit('.').next().unwrap_or(name).to_owned();
        let mut failure = Self::no(format!("{step}: {words}"));
        failure.hint = bus_hint(&short, &Target::System);
        failure.of_bus = true;
        failure.bus = Some(short);
        failure
    }

    /// The same for who was asked: the commands that it names ask the same one.
    #[must_use]
    pub(crate) fn about(mut self, target: &Target) -> Self {
        if self.of_bus
            && let Some(short) = &self.bus
        {
            self.hint = bus_hint(short, target);
        }
        self.what = asking(target, &self.what);
        self.hint = self.hint.map(|hint| asking(target, &hint));
        self
    }

    /// The same for a verb whose status 1 is an answer: nothing was found out.
    #[must_use]
    pub(crate) fn undecided(mut self) -> Self {
        if self.kind == Kind::No {
            self.kind = Kind::Usage;
        }
        self
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self.of_bus = false;
        self
    }

    /// Last part of the name of the bus error behind it; empty for any other.
    pub(crate) fn bus_name(&self) -> &str {
        self.bus.as_deref().unwrap_or_default()
    }

    /// What failed, without the hint.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.kind == Kind::Closed
    }

    /// The status for it. A verb whose status is the job's keeps 125 for this.
    pub(crate) fn status(&self, status_is_the_jobs: bool) -> u8 {
        match self.kind {
            Kind::Closed => STATUS_CLOSED,
            Kind::Interrupted => STATUS_INTERRUPTED,
            _ if status_is_the_jobs => u8::try_from(STATUS_REFUSED).unwrap_or(125),
            Kind::Usage => 2,
            Kind::No => 1,
        }
    }
}

/// `error: …` and `hint: …`, with what others wrote made visible.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::view::text::visible;
        write!(f, "error: {}", visible(&self.what))?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {}", visible(hint))?;
        }
        Ok(())
    }
}

/// The system's own words, without Rust's number behind them.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => nix::errno::Errno::from_raw(errno).desc().to_lowercase(),
        None => error.to_string(),
    }
}

/// Stands for the name of an error that is not a message but a lost connection.
pub(crate) const LOST: &str = "InputOutput";

/// Last part of the error's name, and its text.
fn bus_parts(error: &zbus::Error) -> (String, String) {
    let last = |full: &str| full.rsplit('.').next().unwrap_or(full).to_owned();
    match error {
        zbus::Error::MethodError(full, text, _) => {
            let short = last(full.as_str());
            let text = text.clone().unwrap_or_else(|| short.clone());
            (short, text)
        }
        zbus::Error::FDO(fdo) => {
            use zbus::DBusError as _;
            let short = last(fdo.name().as_str());
            let text = fdo
                .description()
                .filter(|d| !d.is_empty())
                .map_or_else(|| short.clone(), str::to_owned);
            (short, text)
        }
        zbus::Error::InputOutput(io) => {
            (LOST.into(), format!("the connection was lost: {}", reason(io)))
        }
        zbus::Error::Handshake(text) => (LOST.into(), text.clone()),
        other => (String::new(), other.to_string()),
    }
}

/// Last part of the error's name, for decisions.
pub(crate) fn bus_name(error: &zbus::Error) -> String {
    bus_parts(error).0
}

fn bus_hint(short: &str, target: &Target) -> Option<String> {
    let is = |full: &str| full.rsplit('.').next() == Some(short);
    let ctl = target.command();
    if is(name::NO_SUCH_JOB) {
        return Some(format!("`{ctl} list` shows the jobs you may see"));
    }
    if is(name::NO_SUCH_PROFILE) {
        return Some(format!("`{ctl} policy list` shows the profiles"));
    }
    if is(name::AUDIT_UNAVAILABLE) {
        return Some(match target {
            Target::System => {
                "see `systemctl status fetchmld` and the free space below /var/log/fetchml".into()
            }
            Target::Private(dir) => {
                let dir = dir.display();
                format!("see {dir}/run/fetchmld.log and the free space below {dir}/log")
            }
        });
    }
    if is(name::BARRIER_UNAVAILABLE) {
        return Some(format!("`{ctl} doctor` shows what this machine can hold"));
    }
    if is(name::SHUTTING_DOWN) {
        return Some("try again when the supervisor has started".into());
    }
    match short {
        "ServiceUnknown" | "NameHasNoOwner" | "SpawnChildExited" | "SpawnFailed" => {
            Some(NO_SERVICE.into())
        }
        "AccessDenied" => Some("ask an administrator to add you to the group fetchml".into()),
        "InteractiveAuthorizationRequired" => Some(
            "ask an administrator to add you to the group fetchml, or to run it with you on a \
             terminal without --no-ask-password"
                .into(),
        ),
        _ => None,
    }
}

/// Words in which each command, written `fetchmlctl …`, asks this supervisor. The
/// supervisor does not know how it was reached, and neither does most of this program.
fn asking(target: &Target, words: &str) -> String {
    const PLAIN: &str = "`fetchmlctl ";
    let command = target.command();
    let mut pieces = words.split(PLAIN);
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        if piece.starts_with("--private") {
            out += PLAIN;
        } else {
            out += &format!("`{command} ");
        }
        out += piece;
    }
    out
}

/// What to do without a system service.
pub(crate) const NO_SERVICE: &str =
    "start the service with `systemctl start fetchmld`, or try `fetchmlctl --private` as root";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_follow_the_contract() {
        assert_eq!(Failure::no("x").status(false), 1);
        assert_eq!(Failure::usage("x").status(false), 2);
        assert_eq!(Failure::no("x").status(true), 125);
        assert_eq!(Failure::usage("x").status(true), 125);
        assert_eq!(Failure::closed().status(true), 141);
        assert_eq!(Failure::interrupted("x").status(true), 130);
    }

    #[test]
    fn a_message_cannot_move_the_cursor() {
        let text = Failure::no("job \u{1b}[2Jx").hint("a\nb").to_string();
        assert_eq!(text, "error: job \\u{1b}[2Jx\nhint: a\\nb");
    }

    #[test]
    fn errors_of_the_bus_come_with_a_remedy() {
        let gone =
            zbus::Error::FDO(Box::new(zbus::fdo::Error::ServiceUnknown("no service".into())));
        let text = Failure::bus("cannot list jobs", &gone).to_string();
        assert!(text.contains("cannot list jobs: no service"), "{text}");
        assert!(text.contains("systemctl start fetchmld"), "{text}");
    }

    #[test]
    fn hints_name_the_supervisor_that_was_asked() {
        use zbus::names::ErrorName;
        let message = zbus::Message::method_call("/", "X").build(&());
        let name = ErrorName::from_static_str_unchecked(name::NO_SUCH_JOB);
        let error =
            zbus::Error::MethodError(name.into(), Some("none".into()), message.expect("a message"));
        let failure = Failure::bus("cannot show job 9", &error);
        let text = failure.about(&Target::Private("/srv/mine".into())).to_string();
        assert!(text.contains("`fetchmlctl --private=/srv/mine list`"), "{text}");
        let mine = Target::Private("/srv/mine".into());
        let text = Failure::no("`fetchmlctl queue` shows it")
            .hint("`fetchmlctl list`, or `fetchmlctl --private=/x list`")
            .about(&mine)
            .about(&mine)
            .to_string();
        let of = "`fetchmlctl --private=/srv/mine";
        let expected = format!(
            "error: {of} queue` shows it\nhint: {of} list`, or `fetchmlctl --private=/x list`"
        );
        assert_eq!(text, expected);
        let own = Failure::bus("x", &error).hint("mine").about(&Target::System).to_string();
        assert!(own.ends_with("hint: mine"), "{own}");
    }
}
