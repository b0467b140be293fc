//! The trailers of a call whose response has begun.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use tonic::Status;

/// The trailers of a call that succeeded.
pub(crate) fn ok() -> Frame<Bytes> {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    Frame::trailers(trailers)
}

/// The trailers of a call that failed after its response had begun.
pub(crate) fn error<D>(status: &Status) -> Frame<D> {
    let mut trailers = HeaderMap::new();
    // It cannot fail: tonic percent-encodes the message.
    let _ = status.add_header(&mut trailers);
    Frame::trailers(trailers)
}
