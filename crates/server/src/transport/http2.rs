//! The limits of HTTP/2, each set by name: what hyper or h2 would choose can change under us.

use std::time::Duration;

use hyper::server::conn::http2::Builder;
use hyper_util::rt::TokioTimer;

use super::inline_executor::Calls;
use super::limits::Limits;

/// A peer that has vanished without a FIN is noticed after interval + timeout.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// What a peer may have sent that no handler has read: a bound on memory. A quarter of a connection may be one stream, so a
/// full `BatchVerify` needs no second round trip.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What we hold for a peer that does not read its answers, per stream.
const SEND_BUFFER: usize = 256 * 1024;
const FRAME_SIZE: u32 = 16 * 1024;
/// Our largest header is a bearer token of 512 bytes.
const HEADER_LIST_SIZE: u32 = 16 * 1024;
/// Resets of ours caused by the peer's errors before it gets a GOAWAY (RUSTSEC-2024-0003).
const LOCAL_ERROR_RESETS: usize = 1024;
/// Streams opened and reset before we looked at them (rapid reset, CVE-2023-44487). h2 would allow 20, which an honest client
/// exceeds when one deadline ends a burst of its calls.
const PENDING_ACCEPT_RESETS: usize = 256;

pub(super) fn builder(limits: &Limits, calls: Calls) -> Builder<Calls> {
    let mut builder = Builder::new(calls);
    builder
        .timer(TokioTimer::new())
        // gRPC knows no use for the date, and each answer would carry it.
        .auto_date_header(false)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_frame_size(FRAME_SIZE)
        .max_header_list_size(HEADER_LIST_SIZE)
        .max_concurrent_streams(limits.max_streams_per_connection)
        .max_local_error_reset_streams(LOCAL_ERROR_RESETS)
        .max_pending_accept_reset_streams(PENDING_ACCEPT_RESETS);
    builder
}
