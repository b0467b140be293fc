//! The readers of bytes that a peer chooses, one function each, for the fuzz targets. What a reader borrows is copied
//! into the message that prost would decode, so that the two can be compared.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame};
use key_authority_domain::id::Revision;
use key_authority_domain::secret::Keyring;
#[cfg(feature = "ext-authz")]
use key_authority_proto::ext_authz::{CheckRequest, CheckResponse};
use key_authority_proto::v1;
use key_authority_storage::key_order::{KeyCursor, RankValue};
use key_authority_storage::page::Newest;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::admin::cursor::{self, Cursor as _};
use crate::auth::permit::Permit;
use crate::rpc::errors::RpcError;
use crate::rpc::raw::{MessageStream, StreamMethod, UnaryCall, UnaryMethod, frame};
use crate::transport::budget::ProcessBudget;
use crate::verify::Verifier;
use crate::verify::decode::{self, VerifyRequestRef};
use crate::wire::import::ImportSpec;
use crate::wire::page::{self, Listing as _};

pub use crate::verify::decode::BATCH_MAX;

/// Decodes a `VerifyRequest`; `None` if it does not decode.
#[must_use]
pub fn verify_request(message: &[u8]) -> Option<v1::VerifyRequest> {
    let request = VerifyRequestRef::read(message).ok()?;
    let _ = request.question();
    Some(owned(&request))
}

/// Decodes a `BatchVerifyRequest`; `None` if it does not decode. Of too many questions, it returns [`BATCH_MAX`] + 1.
#[must_use]
pub fn batch_verify_request(message: &[u8]) -> Option<v1::BatchVerifyRequest> {
    let batch = decode::batch(message).ok()?;
    let _ = decode::questions(&batch);
    Some(v1::BatchVerifyRequest { requests: batch.iter().map(owned).collect() })
}

/// Decodes a `VerifyStreamRequest`; `None` if it does not decode.
#[must_use]
pub fn verify_stream_request(message: &[u8]) -> Option<v1::VerifyStreamRequest> {
    let request = decode::stream_request(message).ok()?;
    let body = request.body().ok()?;
    Some(v1::VerifyStreamRequest { id: request.id, request: body.as_ref().map(owned) })
}

fn owned(request: &VerifyRequestRef<'_>) -> v1::VerifyRequest {
    v1::VerifyRequest {
        token: request.token.to_owned(),
        project: request.project.to_owned(),
        scopes: request.scopes.iter().copied().map(str::to_owned).collect(),
        client_ip: request.client_ip.to_owned(),
        account: request.account.to_owned(),
        key_id: request.key_id.to_owned(),
    }
}

/// Answers the messages of a stream as `VerifyStream` does, with framed responses.
///
/// # Errors
/// The code that ends the stream.
pub fn verify_on_stream(verifier: &Verifier, permit: Permit, messages: &[&[u8]]) -> Result<Vec<u8>, i32> {
    let mut out = Vec::new();
    verifier.verify_on_stream(&Ok(permit), messages, &mut out).map_err(|error| i32::from(error.code().0))?;
    Ok(out)
}

/// Decides about a proxied request; `None` if this replica lacks a version of the authority secret.
#[cfg(feature = "ext-authz")]
#[must_use]
pub fn check(verifier: &Verifier, permit: &Permit, request: &CheckRequest) -> Option<CheckResponse> {
    crate::ext_authz::check(verifier, permit, &crate::proxied::Misroutes::default(), request).ok()
}

/// Reads a message of keys to import. Returns the violations of each key, as the caller gets them, or those of the
/// message as a whole; and what `Debug` shows of a message that was read.
///
/// # Errors
/// The violations of the message as a whole.
pub fn import_keys(request: v1::ImportKeysRequest) -> Result<(Vec<Result<String, String>>, String), String> {
    let spec: ImportSpec = crate::wire::import::import_keys(request).map_err(|violations| violations.to_string())?;
    let debug = format!("{spec:?}");
    let texts = |key: Result<crate::wire::import::ImportedKey, _>| {
        key.map(|key| key.hint).map_err(|violations: crate::wire::violations::Violations| {
            violations
                .iter()
                .map(|violation| format!("{} {}", violation.field, violation.rule))
                .collect::<Vec<_>>()
                .join("; ")
        })
    };
    Ok((spec.keys.into_iter().map(texts).collect(), debug))
}

/// Seals the page token of a position in a list of keys.
#[must_use]
pub fn seal_page_token(
    keyring: &Keyring,
    caller: &str,
    request: &v1::ListKeysRequest,
    (revision, id): (i64, &str),
    nonce: [u8; 24],
) -> String {
    let cursor = KeyCursor { value: RankValue::Number(revision), id: id.to_owned() };
    page::seal_page(keyring, &request.query_digest(caller), &cursor.to_bytes(), nonce)
}

/// Opens the page token of a list of keys, as the position; `None` for the first page.
///
/// # Errors
/// The code, when the token is rejected.
pub fn open_page_token(
    keyring: &Keyring,
    caller: &str,
    request: &v1::ListKeysRequest,
) -> Result<Option<(i64, String)>, i32> {
    let cursor = cursor::open::<KeyCursor>(keyring, caller, request).map_err(|error| i32::from(error.code().0))?;
    Ok(cursor.map(|cursor| match cursor.value {
        RankValue::Number(revision) => (revision, cursor.id),
        RankValue::Text(_) => (0, cursor.id),
    }))
}

/// Whether these bytes are a cursor, of a list of keys, of accounts and of the audit log, that is encoded to the same
/// bytes.
#[must_use]
pub fn is_canonical_cursor(bytes: &[u8]) -> [Option<bool>; 3] {
    [
        KeyCursor::from_bytes(bytes).map(|cursor| cursor.to_bytes() == bytes),
        Newest::from_bytes(bytes).map(|cursor| cursor.to_bytes() == bytes),
        Revision::from_bytes(bytes).map(|cursor| cursor.to_bytes() == bytes),
    ]
}

/// A body whose chunks arrive one after another. An empty chunk is a moment in which nothing arrives.
struct Chunks(VecDeque<Bytes>);

impl Chunks {
    fn of(chunks: Vec<Vec<u8>>) -> Self {
        Self(chunks.into_iter().map(Bytes::from).collect())
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut().0.pop_front() {
            Some(chunk) if chunk.is_empty() => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            chunk => Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk)))),
        }
    }
}

/// A method that returns each message.
struct Echo {
    request_bytes_max: usize,
}

impl UnaryMethod<()> for Echo {
    fn request_bytes_max(&self) -> usize {
        self.request_bytes_max
    }

    fn call(&self, (): &(), message: &[u8], out: &mut Vec<u8>) -> Result<(), RpcError> {
        out.extend_from_slice(message);
        Ok(())
    }
}

impl StreamMethod<()> for Echo {
    fn request_bytes_max(&self) -> usize {
        self.request_bytes_max
    }

    fn admit(&self, (): &()) -> Result<(), RpcError> {
        Ok(())
    }

    fn answer(&self, (): &(), messages: &[&[u8]], out: &mut Vec<u8>) -> Result<(), RpcError> {
        for message in messages {
            frame::append_infallible(out, |out| out.extend_from_slice(message));
        }
        Ok(())
    }
}

/// Reads the body of a unary call that arrives in `chunks`, and returns its message, framed again.
///
/// # Errors
/// The code of the response.
pub fn unary_body(chunks: Vec<Vec<u8>>, request_bytes_max: usize) -> Result<Vec<u8>, i32> {
    let budget = ProcessBudget::new(usize::MAX, true).connection(None);
    let mut call = UnaryCall::new(Chunks::of(chunks), Arc::new(Echo { request_bytes_max }), (), &budget);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(answer) = Pin::new(&mut call).poll(&mut context) {
            return answer.map_err(|status: Status| status.code().into());
        }
    }
}

/// Reads the body of a streaming call that arrives in `chunks`, and returns its messages, each framed again, and the
/// code of the trailers.
#[must_use]
pub fn stream_body(chunks: Vec<Vec<u8>>, request_bytes_max: usize) -> (Vec<u8>, i32) {
    let closing = CancellationToken::new().cancelled_owned();
    let budget = ProcessBudget::new(usize::MAX, true).connection(None);
    let mut stream =
        MessageStream::new(Chunks::of(chunks), Arc::new(Echo { request_bytes_max }), (), closing, budget.request());
    let mut context = Context::from_waker(Waker::noop());
    let mut messages = Vec::new();
    loop {
        let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut stream).poll_frame(&mut context) else { continue };
        match frame.into_data() {
            Ok(chunk) => messages.extend_from_slice(&chunk),
            Err(frame) => {
                let status = frame.trailers_ref().and_then(Status::from_header_map);
                return (messages, status.map_or(Code::Unknown, |status| status.code()).into());
            }
        }
    }
}
