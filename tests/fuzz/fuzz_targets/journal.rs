//! Any user writes entries into the journal with fields of their choice; what begins with
//! `_` is journald's word. A log, a byte 0, and an export of the journal.
#![no_main]

use fetchml_api::audit::mirror::{Entry, Mirror};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let cut = data.iter().position(|b| *b == 0).unwrap_or(data.len());
    let (log, mut export) = (&data[..cut], data.get(cut + 1..).unwrap_or_default());
    // Nobody whom journald knows as root wrote any of it.
    let by_nobody = !export.windows(6).any(|word| word == b"_UID=0");
    let in_length = export.windows(5).any(|word| word == b"_UID\n");
    let mut mirror = Mirror::new(0, u64::MAX);
    let mut copies = 0;
    while let Ok(Some(entry)) = Entry::read(&mut export) {
        copies += usize::from(mirror.take(&entry).is_some());
    }
    log.chunks(7).for_each(|piece| mirror.feed(piece));
    let found = mirror.finish();
    if by_nobody && !in_length {
        assert_eq!(copies, 0, "it is taken for a copy");
        assert!(found.finding.is_none(), "it speaks against the log: {:?}", found.finding);
    }
    for run in &found.missing {
        assert!(run.first <= run.last, "{run:?}");
    }
});
