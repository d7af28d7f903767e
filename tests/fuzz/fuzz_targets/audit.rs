//! Whoever gives a log to verify gives every byte of it: records, checkpoints, exports.
#![no_main]

use fetchml_api::audit::{Checkpoints, ExcerptHeader, Known, Record, Verdict};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let cut = data.iter().position(|b| *b == 0).unwrap_or(data.len());
    let (notes, records) = (&data[..cut], data.get(cut + 1..).unwrap_or_default());
    let mut checkpoints = Checkpoints::new(Known::default());
    checkpoints.read("000000000001.notes", notes);
    let mut examination = checkpoints.examine(records);
    records.chunks(7).for_each(|piece| examination.feed(piece));
    let report = examination.finish();
    if report.verdict == Verdict::Intact {
        // What holds consists of records in their one spelling.
        for line in records.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            assert!(Record::parse(line).is_ok());
        }
    }
    let mut rest = data;
    let mut next = |limit: usize| {
        let end = rest.iter().position(|b| *b == b'\n')?;
        let (line, after) = rest.split_at(end.min(limit));
        rest = after.get(1..).unwrap_or_default();
        String::from_utf8(line.to_vec()).ok()
    };
    if let Ok(header) = ExcerptHeader::read(&mut next) {
        let mut tail = header.examine(Known::default(), rest);
        tail.feed(rest);
        assert_ne!(tail.finish().verdict, Verdict::Intact, "nobody signed it");
    }
});
