//! From words on the command line to values, each refusal with its remedy.

use fetchml_api::array;
use fetchml_api::audit::Head;
use fetchml_api::job::{FailureClass, JobState, MountMode, NetworkMode};
use fetchml_api::queueing::{MAX_ATTEMPTS, MAX_PRIORITY, MIN_PRIORITY};
use jiff::{Span, SpanRelativeTo};
use std::path::PathBuf;

/// `HOST:JOB[:ro|rw]` after reading; nothing is opened yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Directory of this machine.
    pub(crate) host: PathBuf,
    /// Absolute path inside the job.
    pub(crate) target: String,
    /// `Ro` or `Rw`.
    pub(crate) mode: MountMode,
}

/// Reads `HOST:JOB[:ro|rw]`. The host part may itself hold colons: the job's
/// path is what follows the last colon before a slash.
pub(crate) fn mount(word: &str) -> Result<Mount, String> {
    const FORM: &str = "write HOST:JOB or HOST:JOB:rw, with JOB an absolute path";
    let (paths, mode) = match word.rsplit_once(':') {
        Some((paths, "ro")) => (paths, MountMode::Ro),
        Some((paths, "rw")) => (paths, MountMode::Rw),
        Some((_, last)) if !last.starts_with('/') && word.contains(":/") => {
            return Err(format!("mode {last:?} is neither ro nor rw; {FORM}"));
        }
        _ => (word, MountMode::Ro),
    };
    let (host, target) = paths
        .rmatch_indices(":/")
        .next()
        .map(|(at, _)| (&paths[..at], &paths[at + 1..]))
        .ok_or_else(|| format!("no path in the job; {FORM}"))?;
    if host.is_empty() {
        return Err(format!("no directory of this machine; {FORM}"));
    }
    if host.chars().chain(target.chars()).any(char::is_control) {
        return Err("control characters are not allowed in paths".into());
    }
    Ok(Mount { host: host.into(), target: target.into(), mode })
}

/// Reads `NAME=VALUE`, or `NAME` with the value it has here.
pub(crate) fn variable(word: &str) -> Result<(String, String), String> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, None),
    };
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|b| b == b'_' || b.is_ascii_alphabetic());
    if !begins || !bytes.all(|b| b == b'_' || b.is_ascii_alphanumeric()) {
        return Err(format!(
            "{name:?} is not a name of a variable; use letters, digits and _, not a digit first"
        ));
    }
    let value = match value {
        Some(value) => value,
        None => std::env::var(name)
            .map_err(|_| format!("{name} has no (UTF-8) value here to copy; write {name}=VALUE"))?,
    };
    Ok((name.to_owned(), value))
}

/// Reads the name of a secret and the variable that gets it: `hf-token` is in `HF_TOKEN`.
pub(crate) fn secret_variable(word: &str) -> Result<(String, String), String> {
    let (name, variable) = match word.split_once('=') {
        Some((name, variable)) => (name, variable.to_owned()),
        None => (word, word.to_ascii_uppercase().replace(['-', '.'], "_")),
    };
    if name.is_empty() || variable.is_empty() {
        return Err("write the name of a secret, or NAME=VARIABLE".to_owned());
    }
    Ok((name.to_owned(), variable))
}

/// Reads a time such as `90s`, `2h`, `1h30m` into microseconds.
pub(crate) fn duration_usec(word: &str) -> Result<u64, String> {
    const FORM: &str = "write a number with its unit, such as 90s, 30m, 2h, 1h30m or 2d";
    if word.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("no unit; {FORM}"));
    }
    let usec = word
        .parse::<Span>()
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .map(|duration| duration.as_micros())
        .map_err(|_| format!("not a time; {FORM}"))?;
    match u64::try_from(usec) {
        Ok(0) | Err(_) => Err(format!("not a time above zero; {FORM}")),
        Ok(usec) => Ok(usec),
    }
}

/// Reads a size such as `512M` or `4G`, in powers of 1024, into bytes.
pub(crate) fn size_bytes(word: &str) -> Result<u64, String> {
    const FORM: &str = "write a number with K, M, G or T, such as 512M or 4G";
    match parse_size::Config::new().with_binary().parse_size(word) {
        Ok(0) | Err(_) => Err(format!("not a size above zero; {FORM}")),
        Ok(bytes) => Ok(bytes),
    }
}

/// Reads whole numbers of this range.
pub(crate) fn whole<T: TryFrom<u64>>(
    least: u64,
    most: u64,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |word| {
        let number = word.parse().ok().filter(|number| (least..=most).contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| match most {
            u64::MAX if least == 0 => "write a whole number, such as 20".to_owned(),
            u64::MAX => format!("write a whole number of at least {least}"),
            _ => format!("write a whole number from {least} to {most}"),
        })
    }
}

/// Reads a number of CPUs.
pub(crate) fn cpus(word: &str) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(n) if n.is_finite() && n > 0.0 => Ok(n),
        _ => Err("not a number above zero; write for example 2 or 0.5".into()),
    }
}

/// More than any supervisor makes of one array; how many one does is its own word.
pub(crate) const MAX_ARRAY: u64 = 1_000_000;

/// Values of one variable of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Values(pub(crate) Vec<String>);

/// Reads `NAME=VALUES`.
pub(crate) fn sweep(word: &str) -> Result<(String, Values), String> {
    let (name, values) = word.split_once('=').ok_or("write NAME=VALUES, such as lr=0.1,0.01")?;
    let values = array::values(values, MAX_ARRAY).map_err(|e| e.to_string())?;
    Ok((name.to_owned(), Values(values)))
}

/// Reads a priority.
pub(crate) fn priority(word: &str) -> Result<i32, String> {
    match word.parse() {
        Ok(number) if (MIN_PRIORITY..=MAX_PRIORITY).contains(&number) => Ok(number),
        _ => Err(format!("write a number from {MIN_PRIORITY} to {MAX_PRIORITY}")),
    }
}

/// Reads `CLASS=N`.
pub(crate) fn retry(word: &str) -> Result<(FailureClass, u32), String> {
    let known = || FailureClass::ALL.into_iter().filter(|class| class.can_be_retried());
    let (class, tries) = word.split_once('=').ok_or("write CLASS=N, such as lost=3")?;
    let class = known().find(|one| one.as_str() == class).ok_or_else(|| {
        let known: Vec<_> = known().map(FailureClass::as_str).collect();
        format!("no class {class:?}; use one of {}", known.join(", "))
    })?;
    match tries.parse() {
        Ok(tries) if tries <= MAX_ATTEMPTS => Ok((class, tries)),
        _ => Err(format!("write a number from 0 to {MAX_ATTEMPTS}")),
    }
}

/// Reads a name: anything visible.
pub(crate) fn label(word: &str) -> Result<String, String> {
    if word.is_empty() {
        return Err("empty; give at least one character".into());
    }
    if word.chars().any(char::is_control) {
        return Err("control characters are not allowed; use letters, digits, - and _".into());
    }
    Ok(word.to_owned())
}

/// Reads the name of a job, which must not read as another way to mean one.
pub(crate) fn job_name(word: &str) -> Result<String, String> {
    let name = label(word)?;
    match fetchml_api::names::reads_as_job(&name) {
        true => Err("this would mean a job by its number, a range, a job of an array or @last; \
                     begin it with a letter, and do not end it with []"
            .to_owned()),
        false => Ok(name),
    }
}

/// Reads the version of a kernel, `6.1`.
pub(crate) fn kernel(word: &str) -> Result<(u32, u32), String> {
    let numbers = word.split_once('.').map(|(major, minor)| (major.parse(), minor.parse()));
    match numbers {
        Some((Ok(major), Ok(minor))) => Ok((major, minor)),
        _ => Err("write two numbers, such as 6.1".into()),
    }
}

/// Reads a network mode.
pub(crate) fn network(word: &str) -> Result<NetworkMode, String> {
    match word {
        "none" => Ok(NetworkMode::None),
        "loopback" => Ok(NetworkMode::Loopback),
        _ => Err("unknown mode; use none or loopback".into()),
    }
}

/// Reads the number and hash of an audit record.
pub(crate) fn head(word: &str) -> Result<Head, String> {
    let (seq, hash) =
        word.split_once(':').ok_or("write NUMBER:HASH, as `audit verify --json` shows them")?;
    let seq = seq.parse().map_err(|_| "the part before the colon is not a number")?;
    let hash = hash.parse().map_err(|e| format!("the part after the colon is {e}"))?;
    Ok(Head { seq, hash })
}

/// Reads a job's state.
pub(crate) fn state(word: &str) -> Result<JobState, String> {
    JobState::parse(word).ok_or_else(|| {
        let known: Vec<_> = JobState::ALL.iter().map(|s| s.as_str()).collect();
        format!("unknown state; use one of {}", known.join(", "))
    })
}

/// A time as RFC 3339 writes it, in microseconds since the epoch.
pub(crate) fn time_usec(text: &str) -> Result<u64, String> {
    let time: jiff::Timestamp = text
        .parse()
        .map_err(|_| "not a time: write it as 2026-11-01T08:30:00Z or with an offset".to_owned())?;
    u64::try_from(time.as_microsecond()).map_err(|_| "a time before 1970".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_split_at_the_path_of_the_job() {
        let read = |w: &str| mount(w).map(|m| (m.host.display().to_string(), m.target, m.mode));
        assert_eq!(read("/data:/data"), Ok(("/data".into(), "/data".into(), MountMode::Ro)));
        assert_eq!(read("d:/in:rw"), Ok(("d".into(), "/in".into(), MountMode::Rw)));
        assert_eq!(read("a:b:/in:ro"), Ok(("a:b".into(), "/in".into(), MountMode::Ro)));
        assert!(read("/data").is_err_and(|e| e.contains("HOST:JOB")));
        assert!(read("/data:data").is_err_and(|e| e.contains("HOST:JOB")));
        assert!(read(":/data").is_err_and(|e| e.contains("no directory")));
        assert!(read("/data:/data:wr").is_err_and(|e| e.contains("neither ro nor rw")));
        assert!(read("/da\nta:/data").is_err_and(|e| e.contains("control")));
    }

    #[test]
    fn times_need_a_unit_and_a_value() {
        assert_eq!(duration_usec("90s"), Ok(90_000_000));
        assert_eq!(duration_usec("1h30m"), Ok(5_400_000_000));
        assert_eq!(duration_usec("1h 30m"), Ok(5_400_000_000));
        assert_eq!(duration_usec("2d"), Ok(172_800_000_000));
        assert_eq!(duration_usec("500ms"), Ok(500_000));
        for bad in ["90", "", "soon", "-2h", "2h ago", "0s", "1mo", "99999999999999999999h"] {
            assert!(duration_usec(bad).is_err_and(|e| e.contains("1h30m")), "{bad}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(size_bytes("4G"), Ok(4 << 30));
        assert_eq!(size_bytes("512M"), Ok(512 << 20));
        assert_eq!(size_bytes("1.5GiB"), Ok(3 << 29));
        assert_eq!(size_bytes("4096"), Ok(4096));
        for bad in ["", "0", "-1G", "4X", "much", "99999999999999999999G"] {
            assert!(size_bytes(bad).is_err_and(|e| e.contains("4G")), "{bad}");
        }
    }

    #[test]
    fn variables_have_names() {
        assert_eq!(variable("A_1=x=y"), Ok(("A_1".into(), "x=y".into())));
        assert_eq!(variable("A="), Ok(("A".into(), String::new())));
        assert!(variable("PATH").is_ok());
        assert!(
            variable("NOT_SET_ANYWHERE_1").is_err_and(|e| e.contains("NOT_SET_ANYWHERE_1=VALUE"))
        );
        for bad in ["", "=x", "1A=x", "A-B=x", "Ä=x"] {
            assert!(variable(bad).is_err_and(|e| e.contains("not a name")), "{bad}");
        }
    }

    #[test]
    fn numbers_and_names_out_of_range_are_refused() {
        for bad in ["0", "-1", "nan", "inf", "two"] {
            assert!(cpus(bad).is_err(), "{bad}");
        }
        assert!(label("a\u{1b}[31m").is_err_and(|e| e.contains("control")));
        assert!(label("").is_err());
        assert!(label("größe 3").is_ok());
        assert_eq!(whole::<u32>(0, 9)("9"), Ok(9));
        assert_eq!(whole::<u32>(0, u64::MAX)("4294967296").ok(), None, "it does not fit");
        for bad in ["x", "", "-1", "10", "1.5"] {
            let error = whole::<u32>(0, 9)(bad).expect_err(bad);
            assert_eq!(error, "write a whole number from 0 to 9", "{bad}");
        }
        assert_eq!(job_name("night-3"), Ok("night-3".into()));
        for bad in ["12", "3-7", "@last", "12[3]", "12[]"] {
            assert!(job_name(bad).is_err_and(|e| e.contains("begin it with a letter")), "{bad}");
        }
        assert_eq!(kernel("6.12"), Ok((6, 12)));
        assert!(kernel("6").is_err() && kernel("6.x").is_err());
    }

    #[test]
    fn what_is_asked_of_the_queue_is_checked() {
        assert_eq!(priority("-10"), Ok(-10));
        assert!(priority("1001").is_err() && priority("high").is_err());
        assert_eq!(retry("lost=3"), Ok((FailureClass::Lost, 3)));
        assert_eq!(retry("infrastructure=0"), Ok((FailureClass::Infrastructure, 0)));
        assert!(retry("cancelled=1").is_err_and(|e| e.contains("use one of infrastructure")));
        assert!(retry("lost").is_err_and(|e| e.contains("lost=3")));
        assert!(retry("lost=101").is_err_and(|e| e.contains("0 to 100")));
        let values = |word| sweep(word).map(|(name, values)| (name, values.0.len()));
        assert_eq!(values("lr=0.1,0.01"), Ok(("lr".into(), 2)));
        assert_eq!(values("seed=1..5"), Ok(("seed".into(), 5)));
        assert!(values("seed").is_err_and(|e| e.contains("NAME=VALUES")));
        assert!(values("seed=1..99999999").is_err_and(|e| e.contains("more than 1000000")));
    }
}
