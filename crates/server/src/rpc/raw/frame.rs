//! gRPC's message framing: a compression flag of one byte, a length of four bytes, and the message.

use std::convert::Infallible;

use bytes::{Buf as _, Bytes, BytesMut};
use tonic::Status;

use crate::rpc::decode_errors;

const HEADER_BYTES: usize = 5;

/// Splits the first message off `bytes`, and returns it with its length in the framing. Returns `None` while the
/// message is incomplete.
pub(super) fn split_first(bytes: &[u8], max: usize) -> Result<Option<(&[u8], usize)>, Status> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let [is_compressed, len @ ..] = *header;
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if is_compressed != 0 {
        return Err(decode_errors::unframed().into());
    }
    if len > max {
        return Err(Status::out_of_range(format!("the message has {len} bytes; the limit is {max}")));
    }
    Ok(rest.get(..len).map(|message| (message, HEADER_BYTES + len)))
}

/// Appends the message that `write` appends, with its frame header. On an error nothing is appended.
pub(crate) fn append<E>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    let begin = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    if let Err(error) = write(out) {
        out.truncate(begin);
        return Err(error);
    }
    // A response is bounded by a few MiB.
    let len = u32::try_from(out.len() - begin - HEADER_BYTES).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(field) = out.get_mut(begin + 1..begin + HEADER_BYTES) {
        field.copy_from_slice(&len);
    }
    Ok(())
}

/// Appends the message that `write` appends, with its frame header.
pub(crate) fn append_infallible(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let Ok(()) = append::<Infallible>(out, |out| {
        write(out);
        Ok(())
    });
}

/// The bytes of a request body, in order of arrival. The usual single chunk is not copied.
#[derive(Debug, Default)]
pub(super) enum BodyBuffer {
    #[default]
    Empty,
    Single(Bytes),
    Joined(BytesMut),
}

impl BodyBuffer {
    pub(super) fn push(&mut self, chunk: Bytes) {
        *self = match std::mem::take(self) {
            Self::Empty => Self::Single(chunk),
            Self::Single(first) => {
                let mut joined = BytesMut::with_capacity(first.len() + chunk.len());
                joined.extend_from_slice(&first);
                joined.extend_from_slice(&chunk);
                Self::Joined(joined)
            }
            Self::Joined(mut joined) => {
                joined.extend_from_slice(&chunk);
                Self::Joined(joined)
            }
        };
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::Single(bytes) => bytes,
            Self::Joined(bytes) => bytes,
        }
    }

    /// Drops the first `count` bytes.
    pub(super) fn advance(&mut self, count: usize) {
        match self {
            Self::Empty => {}
            Self::Single(bytes) => bytes.advance(count),
            Self::Joined(bytes) => bytes.advance(count),
        }
        if self.bytes().is_empty() {
            *self = Self::Empty;
        }
    }
}
