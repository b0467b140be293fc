//! How gRPC frames messages: a byte that says whether it is compressed, four that say how long it is, the message.

use bytes::{Bytes, BytesMut};
use tonic::Status;

use crate::rpc::decode_errors;

const HEAD: usize = 5;

/// The largest question, in bytes: one with every field at its limit fits.
pub const QUESTION_BYTES_MAX: usize = 64 * 1024;
/// The largest batch: as large as all else, so that a batch of ordinary questions fits.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Splits the first message of `bytes` off, and says how many bytes it took; None while it is not whole.
pub(super) fn first(bytes: &[u8], max: usize) -> Result<Option<(&[u8], usize)>, Status> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else { return Ok(None) };
    let [is_compressed, len @ ..] = *head;
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if is_compressed != 0 {
        return Err(decode_errors::unframed().into());
    }
    if len > max {
        return Err(Status::out_of_range(format!("the message has {len} bytes; at most {max} are read")));
    }
    Ok(rest.get(..len).map(|message| (message, HEAD + len)))
}

/// The message of `framed`, alone.
#[must_use]
pub fn unframed(framed: &[u8]) -> &[u8] {
    framed.get(HEAD..).unwrap_or_default()
}

/// Appends a message that `write` appends, or nothing.
pub(super) fn append<E>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    let began = out.len();
    out.extend_from_slice(&[0; HEAD]);
    if let Err(error) = write(out) {
        out.truncate(began);
        return Err(error);
    }
    // An answer is bounded by a few MiB.
    let len = u32::try_from(out.len() - began - HEAD).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(place) = out.get_mut(began + 1..began + HEAD) {
        place.copy_from_slice(&len);
    }
    Ok(())
}

/// Bytes that came in parts. The usual one part is not copied.
#[derive(Debug, Default)]
pub(super) enum Gathered {
    #[default]
    Nothing,
    One(Bytes),
    More(BytesMut),
}

impl Gathered {
    pub(super) fn add(&mut self, part: Bytes) {
        *self = match std::mem::take(self) {
            Self::Nothing => Self::One(part),
            Self::One(first) => {
                let mut all = BytesMut::with_capacity(first.len() + part.len());
                all.extend_from_slice(&first);
                all.extend_from_slice(&part);
                Self::More(all)
            }
            Self::More(mut all) => {
                all.extend_from_slice(&part);
                Self::More(all)
            }
        };
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::One(bytes) => bytes,
            Self::More(bytes) => bytes,
        }
    }

    /// Forgets the first `count` bytes.
    pub(super) fn advance(&mut self, count: usize) {
        use bytes::Buf as _;
        match self {
            Self::Nothing => {}
            Self::One(bytes) => bytes.advance(count),
            Self::More(bytes) => bytes.advance(count),
        }
        if self.bytes().is_empty() {
            *self = Self::Nothing;
        }
    }
}
