//! What a disk has after a power cut: everything before the last flush that it
//! acknowledged, and of what came later some or nothing.
//!
//! Killing the emulator alone would show less. What the guest wrote is in this
//! machine's page cache by then, flushed or not, and survives; a program that forgets
//! to flush would never be found out. So qemu writes down each write and each flush in
//! order (its driver `blklogwrites`, the format of the kernel's dm-log-writes), and
//! after the kill the disk is made anew from its state before the boot and that log.

use crate::campaign::Lot;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const SECTOR: u64 = 512;
const FLUSH: u64 = 1;
const THROUGH: u64 = 2;
const DISCARD: u64 = 4;

/// What became of the writes of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// Flushes that were acknowledged.
    pub flushes: u64,
    /// Writes that are on the disk.
    pub kept: u64,
    /// Writes that are not.
    pub lost: u64,
}

struct Write {
    offset: u64,
    from: u64,
    length: u64,
}

/// Applies a log to the disk as it was before. `None` when the log has a gap, because
/// the emulator was killed in the middle of writing it; nothing is changed then.
pub(super) fn replay(log: &Path, disk: &Path, lot: &mut Lot) -> io::Result<Option<Fate>> {
    let log = File::open(log)?;
    let [magic, _version, entries] = words(&log, 0)?;
    // Before the first flush nothing is there but the entries.
    if magic != MAGIC && magic != 0 {
        return Ok(None);
    }
    let disk = OpenOptions::new().write(true).open(disk)?;
    let mut fate = Fate::default();
    let mut at = SECTOR;
    let mut seen = 0;
    let mut pending: Vec<Write> = Vec::new();
    let mut durable: Vec<Write> = Vec::new();
    loop {
        let [sector, sectors, flags] = words(&log, at)?;
        if sectors == 0 && flags == 0 {
            break;
        }
        seen += 1;
        at += SECTOR;
        if flags & FLUSH != 0 {
            fate.flushes += 1;
            durable.append(&mut pending);
        }
        if flags & DISCARD != 0 || sectors == 0 {
            continue;
        }
        let length = sectors * SECTOR;
        let write = Write { offset: sector * SECTOR, from: at, length };
        at += length;
        if flags & THROUGH != 0 { durable.push(write) } else { pending.push(write) }
    }
    if seen < entries {
        return Ok(None);
    }
    // A disk writes back in any order: of what it holds in its cache some sectors may
    // have reached it. In half of the cuts none has.
    let some = lot.below(2) == 0;
    for write in pending {
        if some && lot.below(2) == 0 { durable.push(write) } else { fate.lost += 1 }
    }
    // In the order of the log also where they overlap.
    durable.sort_by_key(|write| write.from);
    for write in &durable {
        copy(&log, &disk, write)?;
    }
    fate.kept = durable.len() as u64;
    Ok(Some(fate))
}

fn words(log: &File, at: u64) -> io::Result<[u64; 3]> {
    let mut bytes = [0; 24];
    match log.read_exact_at(&mut bytes, at) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok([0; 3]),
        read => read?,
    }
    let mut words = [0; 3];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    Ok(words)
}

fn copy(log: &File, disk: &File, write: &Write) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    while done < write.length {
        let part =
            usize::try_from(write.length - done).map_or(buffer.len(), |n| n.min(buffer.len()));
        log.read_exact_at(&mut buffer[..part], write.from + done)?;
        disk.write_all_at(&buffer[..part], write.offset + done)?;
        done += part as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of entries: sector, flags, and the byte that fills one sector.
    fn log(entries: &[(u64, u64, Option<u8>)], counted: u64) -> Vec<u8> {
        let sector = |words: &[u64]| {
            let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            bytes.resize(512, 0);
            bytes
        };
        let mut bytes = sector(&[MAGIC, 1, counted]);
        for (at, flags, data) in entries {
            bytes.extend(sector(&[*at, u64::from(data.is_some()), *flags]));
            bytes.extend(data.iter().flat_map(|byte| [*byte; 512]));
        }
        bytes
    }

    /// The first byte of each of four sectors afterwards.
    fn disk_after(entries: &[(u64, u64, Option<u8>)], counted: u64, seed: u64) -> Option<Vec<u8>> {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let (from, to) = (dir.path().join("log"), dir.path().join("disk"));
        std::fs::write(&from, log(entries, counted)).expect("written");
        std::fs::write(&to, vec![0; 2048]).expect("written");
        replay(&from, &to, &mut Lot::new(seed)).expect("replayed")?;
        Some(std::fs::read(&to).expect("read").into_iter().step_by(512).collect())
    }

    #[test]
    fn what_was_flushed_is_there_and_of_the_rest_perhaps_some() {
        let entries = [
            (0, 0, Some(1)),
            (1, 0, Some(2)),
            (0, 0, Some(3)),
            (0, FLUSH, None),
            (2, 0, Some(4)),
            (1, THROUGH, Some(5)),
            (3, 0, Some(6)),
        ];
        let after: Vec<_> =
            (0..100).map(|seed| disk_after(&entries, 4, seed).expect("a whole log")).collect();
        assert!(after.iter().all(|disk| disk[..2] == [3, 5]), "{after:?}");
        for rest in [[0, 0], [4, 0], [0, 6], [4, 6]] {
            assert!(after.iter().any(|disk| disk[2..] == rest), "never {rest:?}");
        }
    }

    #[test]
    fn a_log_with_a_gap_is_not_used() {
        assert_eq!(disk_after(&[(0, 0, Some(1)), (0, FLUSH, None)], 3, 0), None);
    }

    #[test]
    fn before_the_first_flush_everything_may_be_lost() {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let (from, to) = (dir.path().join("log"), dir.path().join("disk"));
        let mut bytes = log(&[(0, 0, Some(1))], 0);
        bytes[..512].fill(0);
        std::fs::write(&from, bytes).expect("written");
        std::fs::write(&to, vec![0; 512]).expect("written");
        let fates = (0..100).map(|seed| replay(&from, &to, &mut Lot::new(seed)).expect("replayed"));
        let lost = fates.filter(|fate| fate.is_some_and(|fate| fate.lost == 1)).count();
        assert!((1..100).contains(&lost), "{lost} of 100");
    }
}
