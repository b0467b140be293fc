//! The trailers of a call whose response has begun.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use tonic::Status;

/// The trailers of a call that succeeded.
pub(super) fn ok() -> Frame<Bytes> {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    Frame::trailers(trailers)
}

/// The trailers of a call that failed after its response had begun.
pub(super) fn error(status: &Status) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    // This fails only for a message that is no valid header value; our messages are constants.
    let _ = status.add_header(&mut trailers);
    Frame::trailers(trailers)
}
