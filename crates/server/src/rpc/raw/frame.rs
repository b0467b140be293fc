//! gRPC's message framing: a compression flag of one byte, a length of four bytes, and the message.

use std::convert::Infallible;

use bytes::{Buf as _, Bytes, BytesMut};
use prost_reflect::MessageDescriptor;
use tonic::Status;

use crate::rpc::decode_errors;
use crate::rpc::errors::RpcError;
use crate::rpc::field_count::FieldCount;

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

/// Follows the frames of a request body, to know how much of a message has arrived.
#[derive(Debug)]
pub(crate) struct FrameProgress {
    header: [u8; HEADER_BYTES],
    header_len: usize,
    /// The bytes of the message that have arrived, and those that have not.
    arrived: usize,
    missing: usize,
    fields: FieldCount,
    limits: FieldLimits,
}

/// The limits of the fields of a message, and its type.
#[derive(Debug, Clone, Default)]
pub(crate) struct FieldLimits {
    /// The type, if it is known.
    pub(crate) of: Option<MessageDescriptor>,
    /// The maximum number of fields of the message itself.
    pub(crate) own_max: usize,
    /// The maximum number of fields with those of the messages in the message.
    pub(crate) all_max: usize,
}

impl FieldLimits {
    /// # Errors
    /// `INVALID_ARGUMENT` when there are too many fields, or one ends after its message.
    fn check(&self, fields: &FieldCount) -> Result<(), RpcError> {
        if fields.is_broken() {
            return Err(decode_errors::malformed());
        }
        let (max, with) = if fields.all() > self.all_max {
            (self.all_max, ", with those of the messages in it")
        } else if fields.own() > self.own_max {
            (self.own_max, "")
        } else {
            return Ok(());
        };
        let rule = format!("must have at most {max} fields and elements of lists{with}; send fewer at a time");
        Err(RpcError::invalid("request", &rule))
    }
}

impl FrameProgress {
    /// Follows messages with these limits.
    pub(crate) fn new(limits: FieldLimits) -> Self {
        let fields = FieldCount::of(limits.of.clone());
        Self { header: [0; HEADER_BYTES], header_len: 0, arrived: 0, missing: 0, fields, limits }
    }

    /// Adds a chunk, and returns how many bytes of an incomplete message have arrived.
    ///
    /// # Errors
    /// When a message has too many fields.
    pub(crate) fn add(&mut self, mut chunk: &[u8]) -> Result<usize, RpcError> {
        while !chunk.is_empty() {
            if self.header_len < HEADER_BYTES {
                let count = chunk.len().min(HEADER_BYTES - self.header_len);
                let (now, later) = chunk.split_at(count);
                if let Some(room) = self.header.get_mut(self.header_len..self.header_len + count) {
                    room.copy_from_slice(now);
                }
                (self.header_len, chunk) = (self.header_len + count, later);
                let [_, len @ ..] = self.header;
                self.missing = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
            } else {
                let (now, later) = chunk.split_at(chunk.len().min(self.missing));
                self.fields.add(now);
                self.limits.check(&self.fields)?;
                self.arrived += now.len();
                self.missing -= now.len();
                chunk = later;
            }
            if self.header_len == HEADER_BYTES && self.missing == 0 {
                *self = Self::new(std::mem::take(&mut self.limits));
            }
        }
        Ok(self.header_len + self.arrived)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_progress_counts_the_incomplete_message_only() {
        let frame = |len: u8| [&[0, 0, 0, 0, len][..], &vec![7; len.into()]].concat();
        let body = [frame(3), frame(0), frame(20)].concat();
        for step in 1..=body.len() {
            let mut progress = FrameProgress::new(FieldLimits { of: None, own_max: 100, all_max: 100 });
            let counts: Vec<_> = body.chunks(step).map(|chunk| progress.add(chunk).unwrap()).collect();
            assert_eq!(counts.last(), Some(&0), "{step}");
            assert!(counts.iter().all(|count| *count < 25), "{step}: {counts:?}");
        }
        let mut progress = FrameProgress::new(FieldLimits { of: None, own_max: 100, all_max: 100 });
        assert_eq!(progress.add(&[&frame(3)[..], &frame(20)[..9]].concat()).unwrap(), 9);
    }
}
