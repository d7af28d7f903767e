//! Which job is meant: a number, a range, a name, `@last`, a job of an array.

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

/// The array that is all a word means, if it means one.
pub(crate) fn whole_array(words: &[String]) -> Option<u64> {
    match words {
        [word] => match array(word) {
            Some(Reference::Array(array, None)) => Some(array),
            _ => None,
        },
        _ => None,
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
    let known = known(link).await?;
    if let Some(name) = name.strip_suffix("[]") {
        let ids = members(&known, name);
        let Some(newest) = ids.last() else {
            return Err(Failure::no(format!("no array has the name {name:?}"))
                .hint("`fetchmlctl list` shows the jobs you may see"));
        };
        let place = link.describe(*newest).await?.job.spec.queueing.array;
        let array = place.map_or(*newest, |place| place.array.0);
        return match ids.iter().any(|id| *id < array) {
            true => Err(Failure::no(format!("several arrays have the name {name:?}"))
                .hint(format!("use the number; the newest is '{array}[]'"))),
            false => of_array(link, array, None).await,
        };
    }
    match named(&known, name) {
        Err(several) if known.iter().any(|(_, other)| other == name) => {
            let mut live = Vec::new();
            for state in [JobState::Queued, JobState::Starting, JobState::Running] {
                let filter = Filter { state: Some(state), ..Filter::default() };
                live.extend(link.names(filter).await?);
            }
            // Of one that changed meanwhile there would be two.
            live.sort_unstable();
            live.dedup();
            named(&live, name).map(|id| vec![id]).map_err(|_| several)
        }
        other => other.map(|id| vec![id]),
    }
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
        [] => Err(Failure::no(format!("no job has the name {name:?}")).hint(looks_for(name))),
        [.., newest] => Err(Failure::no(format!("{} jobs have the name {name:?}", ids.len()))
            .hint(format!("use the number; the newest is {newest}"))),
    }
}

/// Behind `--private` a directory reads as the next word.
fn looks_for(name: &str) -> String {
    if ["/", "./", "../"].iter().any(|begin| name.starts_with(begin)) {
        return private::joined(name);
    }
    "`fetchmlctl list` shows the jobs you may see".to_owned()
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
        assert_eq!(whole_array(&["12[]".into()]), Some(12));
        assert_eq!(whole_array(&["12[1]".into()]), None);
        assert_eq!(whole_array(&["12[]".into(), "13".into()]), None);
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
        assert!(named(&known, "/a b").is_err_and(|e| e.to_string().contains("'--private=/a b'")));
        let known = [(1, "a[1]".into()), (2, "a[2]".into()), (3, "a[x]".into()), (4, "a".into())];
        assert_eq!(members(&known, "a"), [1, 2]);
        assert!(named(&known[..2], "a").is_err_and(|e| e.to_string().contains("'a[]' means all")));
        let known = [(1, "a".into()), (2, "b".into()), (5, "a".into())];
        assert_eq!(within(&known, 2, 9, "2-9").ok(), Some(vec![2, 5]));
        assert!(within(&known, 6, 9, "6-9").is_err());
    }
}
