//! `audit export`: some records in one file that proves itself.

use crate::cli::AuditExport;
use crate::cmd::audit_show::Lines;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::input;
use crate::link::{Files, Link, Part};
use fetchml_api::audit::merkle::Tree;
use fetchml_api::audit::{Excerpt, Head, Note, Record, split_notes};
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};

pub(crate) async fn run(context: &Context, export: &AuditExport) -> Result<u8> {
    let mut anchors = Vec::new();
    for anchor in &export.anchors {
        let read = fetchml_audit_verify::anchor_or_file(anchor);
        anchors.extend(read.map_err(|e| Failure::usage(e.to_string()))?);
    }
    let link = &context.link;
    // That somebody reads is recorded first, so that the checkpoint covers it; the
    // notes are read after it, so that they lead there.
    drop(link.audit_files("").await?);
    let newest = link.checkpoint().await?;
    let notes = read_notes(&notes_text(link).await?, &newest)?;
    let size = notes.last().map_or(0, |note| note.checkpoint.size);
    let (first, last) = range(export, link, size).await?;
    let before = before(link, &notes).await?;
    within((first, last), before.size() + 1, size)?;
    let refused = |e: fetchml_api::audit::NoExport| {
        // The words are for who reads one, and there is none yet.
        let words = e.to_string();
        let (_, why) = words.split_once(": ").unwrap_or_default();
        Failure::no(format!("cannot export: {why}"))
    };
    let mut excerpt = Excerpt::new((first, last), &notes, before, &anchors).map_err(refused)?;
    each_line(link, |line| {
        if let Ok(head) = Head::of_line(line) {
            excerpt.see(head.seq, head.hash);
        }
        Ok(())
    })
    .await?;
    let header = excerpt.header().map_err(refused)?;
    let path = export.file.display();
    let failed = |e: std::io::Error| Failure::io("cannot write", &path, &e);
    let mut out = BufWriter::new(File::create_new(&export.file).map_err(failed)?);
    out.write_all(header.as_bytes()).map_err(failed)?;
    each_line(link, |line| {
        if Head::of_line(line).is_ok_and(|head| (first..=last).contains(&head.seq)) {
            out.write_all(line).and_then(|()| out.write_all(b"\n")).map_err(failed)?;
        }
        Ok(())
    })
    .await?;
    let file = out.into_inner().map_err(|e| failed(e.into_error()))?;
    file.sync_all().map_err(failed)?;
    if context.json {
        let file = export.file.to_string_lossy();
        let json = json!({"version": 1, "file": file, "first": first, "last": last});
        context.print_json(&json.to_string())?;
    } else {
        context.tell(&format_args!("records {first} to {last} are in {path}"));
    }
    Ok(0)
}

/// That these records are among those from `begin` to `end`.
fn within((first, last): (u64, u64), begin: u64, end: u64) -> Result<()> {
    let words = if first > end {
        format!("records from {first} on were asked for, and the log ends at record {end}")
    } else if first < begin {
        let why = if begin == 1 { "" } else { ": older ones were deleted" };
        format!("records from {first} on were asked for, and the log begins at {begin}{why}")
    } else if first > last {
        format!("records {first} to {last} were asked for: write the smaller number first")
    } else {
        return Ok(());
    };
    Err(Failure::no(format!("cannot export: {words}")))
}

async fn notes_text(link: &Link) -> Result<String> {
    let mut text = String::new();
    let mut files = Files::again(link, Part::Checkpoints);
    while let Some((name, mut file)) = files.next().await? {
        file.read_to_string(&mut text).map_err(|e| Failure::io("cannot read", &name, &e))?;
    }
    Ok(text)
}

/// All notes up to this one.
fn read_notes(text: &str, newest: &str) -> Result<Vec<Note>> {
    let unreadable = || Failure::no("a checkpoint of the log cannot be read: verify the log");
    let mut notes: Vec<Note> = split_notes(text)
        .0
        .into_iter()
        .map(|note| Note::read(note).ok_or_else(unreadable))
        .collect::<Result<_>>()?;
    let newest = Note::read(newest).ok_or_else(unreadable)?;
    match notes.iter().position(|note| note.text() == newest.text()) {
        Some(place) => notes.truncate(place + 1),
        None => notes.push(newest),
    }
    Ok(notes)
}

/// Every record of the log, segment by segment. It may have grown since the last time.
async fn each_line(link: &Link, mut act: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut segments = Files::again(link, Part::Segments);
    while let Some((name, file)) = segments.next().await? {
        let mut lines = Lines::new(file);
        while lines.next().map_err(|e| Failure::io("cannot read", &name, &e))? {
            act(lines.line())?;
        }
    }
    Ok(())
}

/// Where the first segment begins, when older ones were pruned.
async fn before(link: &Link, notes: &[Note]) -> Result<Tree> {
    let mut first = None;
    if let Some((name, file)) = Files::again(link, Part::Segments).next().await? {
        let mut lines = Lines::new(file);
        if lines.next().map_err(|e| Failure::io("cannot read", &name, &e))? {
            first = Head::of_line(lines.line()).ok().map(|head| head.seq);
        }
    }
    let Some(first) = first.filter(|first| *first > 1) else { return Ok(Tree::new()) };
    let seal = notes
        .iter()
        .map(|note| &note.checkpoint)
        .find(|seal| seal.size + 1 == first && seal.sealed.is_some());
    let tree =
        seal.and_then(|seal| Tree::from_peaks(seal.size, seal.sealed.as_ref()?.peaks.clone()));
    tree.ok_or_else(|| Failure::no("the log does not begin where a segment was sealed: verify it"))
}

/// Numbers of the first and the last record that are meant.
async fn range(export: &AuditExport, link: &Link, size: u64) -> Result<(u64, u64)> {
    let number = |text: &str| text.parse::<u64>().ok();
    let to = export.to.as_deref();
    if let (Some(first), Some(last)) = (number(&export.from), to.map_or(Some(size), number)) {
        // What is beyond the end is not there yet; what was asked for stays in the words.
        return Ok((first, if first > size { last } else { last.min(size) }));
    }
    let (mut first, mut last) = (number(&export.from), to.map_or(Some(size), number));
    let from_time = first.is_none().then(|| time("--from", &export.from)).transpose()?;
    let to_time = match (last, to) {
        (None, Some(to)) => Some(time("--to", to)?),
        _ => None,
    };
    each_line(link, |line| {
        if let Ok(record) = Record::parse(line)
            && record.seq <= size
        {
            if first.is_none() && from_time.is_some_and(|time| record.time_usec >= time) {
                first = Some(record.seq);
            }
            if to_time.is_some_and(|time| record.time_usec <= time) {
                last = Some(record.seq);
            }
        }
        Ok(())
    })
    .await?;
    match (first, last) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(Failure::no("there are no records of that time")),
    }
}

fn time(option: &str, word: &str) -> Result<u64> {
    input::time_usec(word).map_err(|_| {
        Failure::usage(format!("{option} {word:?} is neither the number of a record nor a time"))
            .hint("write a number such as 120, or a time such as 2026-11-01T08:30:00Z")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_are_not_there_are_told_with_where_the_log_ends() {
        let told = |range, begin, end| within(range, begin, end).err().map(|f| f.what().to_owned());
        assert_eq!(told((1, 426), 1, 426), None);
        let words = told((99_999, 999_999), 1, 426).expect("beyond the end");
        assert!(words.contains("from 99999 on") && words.contains("ends at record 426"), "{words}");
        assert!(told((0, 5), 1, 426).is_some_and(|words| words.contains("begins at 1")));
        assert!(told((5, 50), 10, 426).is_some_and(|words| words.contains("older ones")));
        assert!(told((9, 3), 1, 426).is_some_and(|words| words.contains("smaller number first")));
    }

    #[test]
    fn a_word_that_is_neither_number_nor_time_is_named_with_its_option() {
        let words = time("--from", "foo").expect_err("no time").to_string();
        assert!(words.contains("--from \"foo\"") && words.contains("number such as"), "{words}");
    }
}
