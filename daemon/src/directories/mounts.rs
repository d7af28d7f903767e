//! The mounts that the calling thread sees (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Its number among those of the machine.
    pub(super) id: u64,
    /// Which directory of the file system it shows: `/` for all of it.
    pub(super) root: PathBuf,
    /// Where.
    pub(super) point: PathBuf,
    /// The kind of file system, as mount(8) calls it.
    pub(super) kind: String,
}

/// The table of the calling thread's mount namespace.
pub(super) fn read() -> io::Result<Vec<Mount>> {
    // The root directory of the process may be another than the thread's.
    let table = std::fs::read("/proc/thread-self/mountinfo")?;
    Ok(table.split(|&byte| byte == b'\n').filter_map(parse).collect())
}

fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let root = path(fields.nth(2)?);
    let point = path(fields.next()?);
    // The options, then any number of optional fields up to a lonely dash.
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some(Mount { id, root, point, kind: String::from_utf8_lossy(kind).into_owned() })
}

/// Spaces, tabs, line feeds and backslashes are written as `\` and three octal digits.
fn path(field: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = (byte == b'\\')
            .then(|| after.get(..3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match octal {
            Some(meant) => {
                plain.push(meant);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_with_or_without_optional_fields() {
        for optional in ["", "shared:1 ", "shared:1 master:2 propagate_from:3 "] {
            let line =
                format!("36 35 98:0 /of/it /mnt/my\\040data rw,noatime {optional}- ext4 /dev/x rw");
            let expected = Mount {
                id: 36,
                root: "/of/it".into(),
                point: "/mnt/my data".into(),
                kind: "ext4".into(),
            };
            assert_eq!(parse(line.as_bytes()), Some(expected));
        }
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"36 35 98:0 / /mnt rw"), None);
    }

    #[test]
    fn this_machine_has_a_root() {
        let mounts = read().expect("readable");
        assert!(mounts.iter().any(|mount| mount.point.as_os_str() == "/"), "{mounts:?}");
    }
}
