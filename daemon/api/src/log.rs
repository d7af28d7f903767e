//! The framed format of a job's log file.
//!
//! The agent appends one frame for each piece of output that it read. A frame
//! is a 16-byte header, the bytes exactly as the job wrote them, and a 4-byte
//! trailer that repeats the length, so that a reader can walk from either end:
//!
//! ```text
//! offset  size  field
//!      0     4  length of the payload, little endian, 1..=MAX_PAYLOAD
//!      4     1  stream: 1 standard output, 2 standard error
//!      5     3  zero
//!      8     8  microseconds since the epoch, little endian
//!     16   len  payload
//! 16+len     4  length again
//! ```
//!
//! A log that ends inside a frame was cut by a crash; everything before is valid.

/// Bytes of the frame header.
pub const HEADER_BYTES: usize = 16;
/// Bytes of the frame trailer.
pub const TRAILER_BYTES: usize = 4;
/// Longest payload of one frame.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// Which of the job's streams a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
}

/// The facts of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Payload bytes that follow.
    pub len: usize,
    /// Stream they were written to.
    pub stream: Stream,
    /// When the agent wrote them, microseconds since the epoch.
    pub time_usec: u64,
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is zero or above [`MAX_PAYLOAD`].
    #[error("frame length {0} is out of range")]
    Length(u32),
    /// The stream is neither 1 nor 2, or a reserved byte is set.
    #[error("frame stream byte {0} is unknown")]
    Stream(u8),
    /// The trailer does not repeat the length.
    #[error("frame trailer does not match its header")]
    Trailer,
}

impl FrameHeader {
    /// The bytes of the header.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0u8; HEADER_BYTES];
        let len = u32::try_from(self.len).unwrap_or(u32::MAX);
        out[..4].copy_from_slice(&len.to_le_bytes());
        out[4] = self.stream as u8;
        out[8..].copy_from_slice(&self.time_usec.to_le_bytes());
        out
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`FrameError`] when a field is out of range.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let [l0, l1, l2, l3, stream, r0, r1, r2, time @ ..] = *bytes;
        let len = u32::from_le_bytes([l0, l1, l2, l3]);
        let stream = match (stream, r0 | r1 | r2) {
            (1, 0) => Stream::Stdout,
            (2, 0) => Stream::Stderr,
            _ => return Err(FrameError::Stream(stream)),
        };
        match usize::try_from(len) {
            Ok(n @ 1..=MAX_PAYLOAD) => {
                Ok(Self { len: n, stream, time_usec: u64::from_le_bytes(time) })
            }
            _ => Err(FrameError::Length(len)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_round_trip() {
        let h =
            FrameHeader { len: 65_536, stream: Stream::Stderr, time_usec: 1_763_000_000_000_001 };
        assert_eq!(FrameHeader::decode(&h.encode()), Ok(h));
    }

    #[test]
    fn damaged_headers_are_named() {
        let good = FrameHeader { len: 5, stream: Stream::Stdout, time_usec: 0 }.encode();
        let mut zero = good;
        zero[0] = 0;
        assert_eq!(FrameHeader::decode(&zero), Err(FrameError::Length(0)));
        let mut huge = good;
        huge[2] = 2;
        assert_eq!(FrameHeader::decode(&huge), Err(FrameError::Length(0x2_0005)));
        let mut stream = good;
        stream[4] = 9;
        assert_eq!(FrameHeader::decode(&stream), Err(FrameError::Stream(9)));
        let mut reserved = good;
        reserved[6] = 1;
        assert!(FrameHeader::decode(&reserved).is_err());
    }
}
