//! Files a job left.

use crate::view::style::{Style, Tone};
use crate::view::table::{Cell, draw};
use crate::view::text::{size, time, visible};
use std::path::PathBuf;

/// One name below a job's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Relative to the directory.
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    /// 0 for anything but a file.
    pub(crate) size_bytes: u64,
    pub(crate) modified_usec: u64,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    /// A symbolic link and what it says; nobody followed it.
    Link(PathBuf),
    /// The job deleted this file of its project.
    Deleted,
    /// A socket, a pipe or a device.
    Other,
}

impl Kind {
    fn word(&self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Link(_) => "link",
            Self::Deleted => "deleted",
            Self::Other => "special",
        }
    }
}

/// Files with their sizes; a directory is named only through what is in it,
/// unless it is empty.
pub(crate) fn table(entries: &[Entry], width: Option<usize>, style: Style) -> String {
    let filled = |entry: &Entry, next: Option<&Entry>| {
        entry.kind == Kind::Directory && next.is_some_and(|n| n.path.starts_with(&entry.path))
    };
    let mut rows = Vec::new();
    for (i, entry) in entries.iter().enumerate() {
        if filled(entry, entries.get(i + 1)) {
            continue;
        }
        let path = visible(&entry.path.to_string_lossy());
        let (first, name): (Cell, _) = match &entry.kind {
            Kind::File => (size(entry.size_bytes).into(), path),
            Kind::Directory => ("-".into(), format!("{path}/")),
            Kind::Link(target) => {
                ("link".into(), format!("{path} -> {}", visible(&target.to_string_lossy())))
            }
            other => (Cell::toned(other.word(), Tone::Careful), path),
        };
        rows.push(vec![first, time(entry.modified_usec).into(), name.into()]);
    }
    draw(&["SIZE", "MODIFIED", "PATH"], &rows, width, style)
}

/// All entries for a program. A path that is not UTF-8 has its bad bytes replaced.
pub(crate) fn json(entries: &[Entry]) -> String {
    let list: Vec<_> = entries
        .iter()
        .map(|entry| {
            let mut value = serde_json::json!({
                "path": entry.path.to_string_lossy(),
                "type": entry.kind.word(),
                "size_bytes": entry.size_bytes,
                "modified_usec": entry.modified_usec,
            });
            if let Kind::Link(target) = &entry.kind {
                value["target"] = target.to_string_lossy().into();
            }
            value
        })
        .collect();
    serde_json::Value::from(list).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_listed_with_their_sizes() {
        let entry = |path: &str, kind, size_bytes| Entry {
            path: path.into(),
            kind,
            size_bytes,
            modified_usec: 1_763_000_000_000_000,
        };
        let entries = [
            entry("a", Kind::Directory, 0),
            entry("a/model.bin", Kind::File, 3 << 20),
            entry("empty", Kind::Directory, 0),
            entry("l\n", Kind::Link("/etc".into()), 0),
        ];
        assert_eq!(
            table(&entries, None, Style { colour: false }),
            "SIZE   MODIFIED              PATH\n\
             3 MiB  2025-11-13T02:13:20Z  a/model.bin\n\
             -      2025-11-13T02:13:20Z  empty/\n\
             link   2025-11-13T02:13:20Z  l\\n -> /etc\n"
        );
        let value: serde_json::Value = serde_json::from_str(&json(&entries)).expect("JSON");
        assert_eq!(value[3]["target"], "/etc");
        assert_eq!(value[1]["size_bytes"], 3 << 20);
    }
}
