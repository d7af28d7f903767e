//! Frames out of pieces of a log, in one buffer of a fixed size.

use fetchml_api::log::{FrameError, FrameHeader, HEADER_BYTES, MAX_PAYLOAD, TRAILER_BYTES};

/// Room for several of the longest frames, so that one read brings many.
const BUFFER_BYTES: usize = 4 * (HEADER_BYTES + MAX_PAYLOAD + TRAILER_BYTES);

/// Takes bytes as they come and gives whole frames.
#[derive(Debug)]
pub(crate) struct Decoder {
    buffer: Box<[u8]>,
    /// Bytes before this were given out.
    start: usize,
    /// Bytes before this are filled.
    end: usize,
    /// Where in the log `start` is.
    offset: u64,
}

impl Decoder {
    /// A decoder for a log read from `offset`, where a frame begins.
    pub(crate) fn at(offset: u64) -> Self {
        Self { buffer: vec![0; BUFFER_BYTES].into(), start: 0, end: 0, offset }
    }

    /// Where to put the next bytes. Never empty once [`Decoder::next`] said `None`.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        &mut self.buffer[self.end..]
    }

    /// So many bytes of the space were filled.
    pub(crate) fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.buffer.len());
    }

    /// The next whole frame, or `None` until more bytes come.
    pub(crate) fn next(&mut self) -> Result<Option<(FrameHeader, &[u8])>, FrameError> {
        let held = &self.buffer[self.start..self.end];
        let Some((head, rest)) = held.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let header = FrameHeader::decode(head)?;
        let Some((payload, rest)) = rest.split_at_checked(header.len) else {
            return Ok(None);
        };
        let Some(trailer) = rest.first_chunk::<TRAILER_BYTES>() else {
            return Ok(None);
        };
        if trailer != &head[..TRAILER_BYTES] {
            return Err(FrameError::Trailer);
        }
        let whole = HEADER_BYTES + header.len + TRAILER_BYTES;
        self.start += whole;
        self.offset += whole as u64;
        Ok(Some((header, payload)))
    }

    /// Where in the log the next frame begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes that are not a whole frame yet.
    pub(crate) fn pending(&self) -> usize {
        self.end - self.start
    }
}

/// The bytes of one frame, for tests here and elsewhere.
#[cfg(test)]
pub(crate) fn frame(stream: fetchml_api::log::Stream, time_usec: u64, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader { len: payload.len(), stream, time_usec }.encode();
    [&header, payload, &header[..TRAILER_BYTES]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchml_api::log::Stream;

    fn decode(log: &[u8], piece: usize) -> (Vec<(Stream, Vec<u8>)>, usize) {
        let mut decoder = Decoder::at(0);
        let mut got = Vec::new();
        for mut bytes in log.chunks(piece) {
            while !bytes.is_empty() {
                let space = decoder.space();
                let count = space.len().min(bytes.len());
                space[..count].copy_from_slice(&bytes[..count]);
                decoder.filled(count);
                bytes = &bytes[count..];
                while let Some((header, payload)) = decoder.next().expect("a good log") {
                    got.push((header.stream, payload.to_vec()));
                }
            }
        }
        (got, decoder.pending())
    }

    #[test]
    fn frames_survive_any_border_between_pieces() {
        let parts: Vec<(Stream, Vec<u8>)> = vec![
            (Stream::Stdout, vec![b'a']),
            (Stream::Stderr, (0..=255).collect()),
            (Stream::Stdout, vec![7; MAX_PAYLOAD]),
            (Stream::Stdout, vec![8; MAX_PAYLOAD]),
            (Stream::Stderr, b"end".to_vec()),
        ];
        let log: Vec<u8> = parts.iter().flat_map(|(s, p)| frame(*s, 1, p)).collect();
        for piece in [1, 3, 16, 17, 4096, 65_537, log.len()] {
            assert_eq!(decode(&log, piece), (parts.clone(), 0), "{piece}");
        }
    }

    #[test]
    fn a_log_cut_inside_a_frame_gives_all_before_it() {
        let log = [frame(Stream::Stdout, 1, b"one"), frame(Stream::Stdout, 2, b"two")].concat();
        let first = log.len() / 2;
        for cut in first..log.len() {
            let (got, pending) = decode(&log[..cut], 5);
            assert_eq!(got, [(Stream::Stdout, b"one".to_vec())]);
            assert_eq!(pending, cut - first);
        }
    }

    #[test]
    fn damage_is_named_and_its_place_known() {
        let mut log = [frame(Stream::Stdout, 1, b"one"), frame(Stream::Stdout, 2, b"two")].concat();
        let at = log.len() / 2;
        let last = log.len() - 1;
        log[last] ^= 1;
        let mut decoder = Decoder::at(0);
        decoder.space()[..log.len()].copy_from_slice(&log);
        decoder.filled(log.len());
        assert!(decoder.next().is_ok_and(|f| f.is_some()));
        assert_eq!(decoder.next(), Err(FrameError::Trailer));
        assert_eq!(decoder.offset(), at as u64);
    }
}
