//! Which job is meant: a number, a range, a name, `@last`, a job of an array.

use crate::connect::Target;
use crate::error::{Failure, Result};
use crate::link::{Filter, Link};
use crate::private;
use fetchml_api::job::JobState;
use std::collections::HashSet;

/// Most jobs that one range names, so that a slip of a digit does not ask a
/// million questions.
const MAX_RANGE: u64 = 1000;
/// How far back a name is looked for.
const MAX_NAMED: u32 = 10_000;

/// One word that means a job or several.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reference {
    Number(u64),
    Range(u64, u64),
    Last,
    /// All of an array, or the job with this index.
    Array(u64, Option<u64>),
    Name(String),
}

fn read(word: &str) -> Result<Reference> {
    if word == "@last" {
        return Ok(Reference::Last);
    }
    if let Ok(number) = word.parse() {
        return Ok(Reference::Number(number));
    }
    if let Some((from, to)) = word.split_once('-')
        && let (Ok(from), Ok(to)) = (from.parse::<u64>(), to.parse::<u64>())
    {
        if from > to || to - from >= MAX_RANGE {
            return Err(Failure::usage(format!("not a range of at most {MAX_RANGE} jobs: {word}"))
                .hint("write the smaller number first, such as 3-7"));
        }
        return Ok(Reference::Range(from, to));
    }
    if let Some(array) = array(word) {
        return Ok(array);
    }
    if word.is_empty() || word.starts_with('@') {
        return Err(Failure::usage(format!("not a job: {word:?}"))
            .hint("write a number, a range such as 3-7, 12[3], 12[], a name, or @last"));
    }
    Ok(Reference::Name(word.to_owned()))
}

/// `12[3]` and `12[]`; with a word before the bracket it is a name.
fn array(word: &str) -> Option<Reference> {
    let (array, index) = word.strip_suffix(']')?.split_once('[')?;
    let array = array.parse().ok()?;
    match index {
        "" => Some(Reference::Array(array, None)),
        index => Some(Reference::Array(array, Some(index.parse().ok()?))),
    }
}

/// The array that is all these words mean, if they mean one.
pub(crate) async fn whole_array(link: &Link, words: &[String]) -> Result<Option<u64>> {
    let [word] = words else { return Ok(None) };
    match read(word)? {
        Reference::Array(array, None) => Ok(Some(array)),
        Reference::Name(name) if name.ends_with("[]") => array_by_name(link, &name).await.map(Some),
        _ => Ok(None),
    }
}

/// The numbers meant by some words, each once, in order.
pub(crate) async fn resolve(link: &Link, words: &[String]) -> Result<Vec<u64>> {
    let mut ids = Vec::new();
    let mut seen = HashSet::new();
    for word in words {
        let found = match read(word)? {
            Reference::Number(id) => vec![id],
            Reference::Range(from, to) => within(&known(link).await?, from, to, word)?,
            Reference::Last => vec![last(link).await?],
            Reference::Array(array, index) => of_array(link, array, index).await?,
            Reference::Name(name) => by_name(link, &name).await?,
        };
        for id in found {
            if seen.insert(id) {
                ids.push(id);
            }
        }
    }
    Ok(ids)
}

/// The numbers of jobs of which there may be nothing but records any more: a range is
/// every number in it, whether or not such a job is still known.
pub(crate) async fn resolve_recorded(link: &Link, word: &str) -> Result<Vec<u64>> {
    match read(word)? {
        Reference::Range(from, to) => Ok((from..=to).collect()),
        _ => resolve(link, &[word.to_owned()]).await,
    }
}

/// The one job meant by a word.
pub(crate) async fn resolve_one(link: &Link, word: &str) -> Result<u64> {
    match resolve(link, &[word.to_owned()]).await?.as_slice() {
        [id] => Ok(*id),
        _ => Err(Failure::usage(format!("more than one job: {word}")).hint("name a single job")),
    }
}

async fn known(link: &Link) -> Result<Vec<(u64, String)>> {
    link.names(Filter { limit: Some(MAX_NAMED), ..Filter::default() }).await
}

async fn last(link: &Link) -> Result<u64> {
    let newest = link.names(Filter { limit: Some(1), ..Filter::default() }).await?;
    newest.last().map(|(id, _)| *id).ok_or_else(|| {
        Failure::no("no job yet: @last").hint("begin one with `fetchmlctl run -- COMMAND`")
    })
}

/// Jobs of an array: their numbers follow each other from the array's own, and each
/// name ends with its index.
async fn of_array(link: &Link, array: u64, index: Option<u64>) -> Result<Vec<u64>> {
    let count = link.array(array).await?.count;
    let Some(index) = index else { return Ok((array..array + count).collect()) };
    let page = Filter {
        all_users: link.describe(array).await?.job.uid != rustix::process::geteuid().as_raw(),
        limit: Some(u32::try_from(count).unwrap_or(u32::MAX)),
        before: Some(array + count),
        ..Filter::default()
    };
    let suffix = format!("[{index}]");
    let found = link.names(page).await?;
    let job = found.iter().find(|(id, name)| *id >= array && name.ends_with(&suffix));
    job.map(|(id, _)| vec![*id]).ok_or_else(|| {
        Failure::no(format!("array {array} has no job with the index {index}"))
            .hint(format!("`fetchmlctl status '{array}[]'` shows its {count} jobs"))
    })
}

fn within(known: &[(u64, String)], from: u64, to: u64, word: &str) -> Result<Vec<u64>> {
    let ids: Vec<_> =
        known.iter().map(|(id, _)| *id).filter(|id| (from..=to).contains(id)).collect();
    if ids.is_empty() {
        return Err(Failure::no(format!("no job in the range {word}"))
            .hint("`fetchmlctl list` shows the jobs you may see"));
    }
    Ok(ids)
}

/// `NAME`, or `NAME[]` for all of an array with that name.
async fn by_name(link: &Link, name: &str) -> Result<Vec<u64>> {
    if name.ends_with("[]") {
        let array = array_by_name(link, name).await?;
        return of_array(link, array, None).await;
    }
    let known = known(link).await?;
    let failure = match named(&known, name) {
        Ok(id) => return Ok(vec![id]),
        Err(failure) => failure,
    };
    let Some((newest, _)) = known.iter().rfind(|(_, other)| other == name) else {
        let is_path = ["/", "./", "../"].iter().any(|begin| name.starts_with(begin));
        // Behind `--private` a directory reads as the next word.
        return Err(match link.target() {
            Target::Private(_) if is_path => failure.hint(private::joined(name)),
            _ => failure,
        });
    };
    // One that ended before it is not meant. Those that are not over are looked for once
    // more, as one may go back to the queue meanwhile.
    let mut live = Vec::new();
    for state in [JobState::Queued, JobState::Starting, JobState::Running, JobState::Queued] {
        let filter = Filter { state: Some(state), ..Filter::default() };
        live.extend(link.names(filter).await?);
    }
    live.retain(|(_, other)| other == name);
    if !live.is_empty() && live.iter().all(|(id, _)| id == newest) {
        return Ok(vec![*newest]);
    }
    Err(failure)
}

/// The number of the array that `NAME[]` means.
async fn array_by_name(link: &Link, word: &str) -> Result<u64> {
    let known = known(link).await?;
    let name = word.strip_suffix("[]").unwrap_or(word);
    let several = |newest: u64| {
        Failure::no(format!("{word:?} may mean several things"))
            .hint(format!("use a number; the newest is {newest}"))
    };
    // Supervisors of before accepted such a name of one job.
    if let Some((id, _)) = known.iter().rfind(|(_, other)| other == word) {
        return Err(several(*id));
    }
    let ids = members(&known, name);
    let (Some(oldest), Some(newest)) = (ids.first(), ids.last()) else {
        return Err(Failure::no(format!("no array has the name {name:?}"))
            .hint("`fetchmlctl list` shows the jobs you may see"));
    };
    let Some(place) = link.describe(*newest).await?.job.spec.queueing.array else {
        return Err(several(*newest));
    };
    let array = place.array.0;
    // Of what was not looked at there may be more.
    let is_cut = known.len() >= MAX_NAMED as usize && known.first().is_some_and(|k| k.0 >= array);
    if *oldest < array || is_cut { Err(several(array)) } else { Ok(array) }
}

/// The jobs of arrays with this name.
fn members(known: &[(u64, String)], name: &str) -> Vec<u64> {
    let is_member = |job: &str| {
        let index = job.strip_prefix(name).and_then(|rest| rest.strip_prefix('['));
        index.and_then(|rest| rest.strip_suffix(']')).is_some_and(|i| i.parse::<u64>().is_ok())
    };
    known.iter().filter(|(_, job)| is_member(job)).map(|(id, _)| *id).collect()
}

fn named(known: &[(u64, String)], name: &str) -> Result<u64> {
    let ids: Vec<_> = known.iter().filter(|(_, n)| n == name).map(|(id, _)| *id).collect();
    match ids.as_slice() {
        [id] => Ok(*id),
        [] if !members(known, name).is_empty() => Err(Failure::no(format!(
            "no job, but an array has the name {name:?}"
        ))
        .hint(format!("'{name}[]' means all of its jobs, and '{name}[2]' that with index 2"))),
        [] => Err(Failure::no(format!("no job has the name {name:?}"))
            .hint("`fetchmlctl list` shows the jobs you may see")),
        [.., newest] => Err(Failure::no(format!("{} jobs have the name {name:?}", ids.len()))
            .hint(format!("use the number; the newest is {newest}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_apart() {
        assert_eq!(read("12").ok(), Some(Reference::Number(12)));
        assert_eq!(read("3-7").ok(), Some(Reference::Range(3, 7)));
        assert_eq!(read("@last").ok(), Some(Reference::Last));
        assert_eq!(read("night-3").ok(), Some(Reference::Name("night-3".into())));
        assert_eq!(read("12[]").ok(), Some(Reference::Array(12, None)));
        assert_eq!(read("12[3]").ok(), Some(Reference::Array(12, Some(3))));
        assert_eq!(read("train[3]").ok(), Some(Reference::Name("train[3]".into())));
        for bad in ["7-3", "1-1001", "", "@first"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_must_mean_one_job() {
        let known = [(1, "a".into()), (2, "b".into()), (5, "a".into())];
        assert_eq!(named(&known, "b").ok(), Some(2));
        assert!(named(&known, "c").is_err_and(|e| e.to_string().contains("no job has the name")));
        assert!(named(&known, "a").is_err_and(|e| e.to_string().contains("the newest is 5")));
        let known = [(1, "a[1]".into()), (2, "a[2]".into()), (3, "a[x]".into()), (4, "a".into())];
        assert_eq!(members(&known, "a"), [1, 2]);
        assert!(named(&known[..2], "a").is_err_and(|e| e.to_string().contains("'a[]' means all")));
        let known = [(1, "a".into()), (2, "b".into()), (5, "a".into())];
        assert_eq!(within(&known, 2, 9, "2-9").ok(), Some(vec![2, 5]));
        assert!(within(&known, 6, 9, "6-9").is_err());
    }
}
