//! Where the last lines of a log begin, found from its end.

use fetchml_api::log::{FrameHeader, HEADER_BYTES, Stream, TRAILER_BYTES};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// A place in a log: a frame, and bytes of its payload to leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) skip: usize,
}

/// Where the last `lines` lines of the chosen streams begin. A frame that is
/// being written, or was cut by a crash, is not counted.
pub(crate) fn find(log: &File, lines: u64, only: Option<Stream>) -> io::Result<Place> {
    let mut end = whole_frames(log)?;
    let mut wanted = lines;
    let mut last = true;
    let mut place = Place { offset: end, skip: 0 };
    let mut payload = Vec::new();
    while wanted > 0 {
        let Some((begin, header)) = frame_before(log, end)? else {
            break;
        };
        end = begin;
        if only.is_some_and(|s| s != header.stream) {
            continue;
        }
        payload.resize(header.len, 0);
        log.read_exact_at(&mut payload, begin + HEADER_BYTES as u64)?;
        // The line end that ends the log begins no line.
        let counted = if std::mem::take(&mut last) { header.len - 1 } else { header.len };
        place = Place { offset: begin, skip: 0 };
        for at in (0..counted).rev() {
            if payload.get(at) == Some(&b'\n') {
                wanted -= 1;
                if wanted == 0 {
                    return Ok(Place { offset: begin, skip: at + 1 });
                }
            }
        }
    }
    Ok(place)
}

/// The end of the last whole frame. Each frame repeats its length at its end;
/// where the end of the file is not such an end, frames are counted from the
/// beginning.
fn whole_frames(log: &File) -> io::Result<u64> {
    let len = log.metadata()?.len();
    if frame_before(log, len)?.is_some() {
        return Ok(len);
    }
    let mut end = 0;
    while let Some(header) = header_at(log, end)? {
        let next = end + (HEADER_BYTES + header.len + TRAILER_BYTES) as u64;
        if next > len {
            break;
        }
        end = next;
    }
    Ok(end)
}

fn frame_before(log: &File, end: u64) -> io::Result<Option<(u64, FrameHeader)>> {
    let mut trailer = [0u8; TRAILER_BYTES];
    let Some(at) = end.checked_sub(TRAILER_BYTES as u64) else {
        return Ok(None);
    };
    log.read_exact_at(&mut trailer, at)?;
    let len = u64::from(u32::from_le_bytes(trailer));
    let Some(begin) = at.checked_sub(len + HEADER_BYTES as u64) else {
        return Ok(None);
    };
    Ok(header_at(log, begin)?.filter(|h| h.len as u64 == len).map(|h| (begin, h)))
}

fn header_at(log: &File, at: u64) -> io::Result<Option<FrameHeader>> {
    let mut head = [0u8; HEADER_BYTES];
    match log.read_exact_at(&mut head, at) {
        Ok(()) => Ok(FrameHeader::decode(&head).ok()),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::frames::frame;
    use std::io::Write as _;

    fn log(parts: &[(Stream, &str)], torn: usize) -> File {
        let mut file = tempfile::tempfile().expect("a temporary file");
        for (stream, text) in parts {
            file.write_all(&frame(*stream, 1, text.as_bytes())).expect("a write");
        }
        let cut = frame(Stream::Stdout, 1, b"torn\n");
        file.write_all(&cut[..torn]).expect("a write");
        file
    }

    fn tail(parts: &[(Stream, &str)], lines: u64, only: Option<Stream>, torn: usize) -> String {
        let place = find(&log(parts, torn), lines, only).expect("a readable log");
        let mut offset = 0;
        let mut out = String::new();
        for (stream, text) in parts {
            if offset >= place.offset && only.is_none_or(|s| s == *stream) {
                let skip = if offset == place.offset { place.skip } else { 0 };
                out.push_str(&text[skip..]);
            }
            offset += (HEADER_BYTES + text.len() + TRAILER_BYTES) as u64;
        }
        out
    }

    #[test]
    fn the_last_lines_are_found_whatever_the_frames() {
        let parts = [
            (Stream::Stdout, "one\ntw"),
            (Stream::Stdout, "o\n"),
            (Stream::Stderr, "bad\n"),
            (Stream::Stdout, "three\nfour"),
        ];
        for torn in [0, 3, 17, 24] {
            assert_eq!(tail(&parts, 0, None, torn), "");
            assert_eq!(tail(&parts, 1, None, torn), "four");
            assert_eq!(tail(&parts, 2, None, torn), "three\nfour");
            assert_eq!(tail(&parts, 3, None, torn), "bad\nthree\nfour");
            assert_eq!(tail(&parts, 4, None, torn), "two\nbad\nthree\nfour");
            assert_eq!(tail(&parts, 99, None, torn), "one\ntwo\nbad\nthree\nfour");
            assert_eq!(tail(&parts, 1, Some(Stream::Stderr), torn), "bad\n");
            assert_eq!(tail(&parts, 3, Some(Stream::Stdout), torn), "two\nthree\nfour");
        }
        assert_eq!(tail(&[], 5, None, 0), "");
        assert_eq!(tail(&[(Stream::Stdout, "a\nb\n")], 1, None, 0), "b\n");
        assert_eq!(tail(&[(Stream::Stdout, "\n")], 1, None, 0), "\n");
    }
}
