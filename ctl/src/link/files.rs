//! The files of the audit log, handed over a few at a time: there may be more of them
//! than a process may have open.

use super::Link;
use crate::error::Result;
use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::OwnedFd;

/// Sorts before the name of every file and is not empty, so that who reads a second
/// time is not recorded twice.
const BEFORE_ALL: &str = "0";

/// Which of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Segments,
    Checkpoints,
}

impl Part {
    fn has(self, name: &str) -> bool {
        fetchml_audit_verify::is_notes(name) == (self == Self::Checkpoints)
    }
}

/// Files on their way, in the order of their names.
pub(crate) struct Files<'l> {
    link: &'l Link,
    part: Part,
    after: String,
    waiting: VecDeque<(String, zbus::OwnedFd)>,
}

impl<'l> Files<'l> {
    /// All of them. That somebody reads the log is recorded first.
    pub(crate) fn of(link: &'l Link, part: Part) -> Self {
        Self::after(link, part, "")
    }

    /// All of them once more.
    pub(crate) fn again(link: &'l Link, part: Part) -> Self {
        Self::after(link, part, BEFORE_ALL)
    }

    /// Those after this name.
    pub(crate) fn after(link: &'l Link, part: Part, name: &str) -> Self {
        Self { link, part, after: name.to_owned(), waiting: VecDeque::new() }
    }

    /// The next one; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<(String, File)>> {
        loop {
            while let Some((name, file)) = self.waiting.pop_front() {
                if self.part.has(&name) {
                    return Ok(Some((name, File::from(OwnedFd::from(file)))));
                }
            }
            self.waiting = self.link.audit_files(&self.after).await?.into();
            match self.waiting.back() {
                Some((last, _)) => self.after.clone_from(last),
                None => return Ok(None),
            }
        }
    }
}
