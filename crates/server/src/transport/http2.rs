//! The HTTP/2 limits. Each that can be set is set explicitly, since the defaults of hyper and h2 can change.

use std::time::Duration;

use hyper::server::conn::http2::Builder;
use hyper_util::rt::TokioTimer;

use super::inline_executor::Calls;
use super::limits::Limits;

/// A peer that has disappeared without a FIN is detected after interval plus timeout.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The data that a peer may have in flight that no handler has read: a bound on memory. One stream may use a quarter of
/// the connection's window, so that a full `BatchVerify` needs no second round trip.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// The data buffered per stream for a peer that does not read its responses.
const SEND_BUFFER: usize = 256 * 1024;
const FRAME_SIZE: u32 = 16 * 1024;
/// The largest header of a client is a bearer token of 512 bytes.
const HEADER_LIST_SIZE: u32 = 16 * 1024;
/// The number of resets by the server, caused by the peer's errors, before the peer gets a GOAWAY (RUSTSEC-2024-0003).
const LOCAL_ERROR_RESETS: usize = 1024;
/// The number of streams that were opened and reset before they were processed (rapid reset, CVE-2023-44487). h2 allows
/// 20 by default, which an honest client exceeds when one deadline ends a burst of its calls.
const PENDING_ACCEPT_RESETS: usize = 256;

/// Returns hyper's builder. gRPC does not use the `date` header, which each response would contain; HTTP does.
pub(super) fn builder(limits: &Limits, calls: Calls, sends_date: bool) -> Builder<Calls> {
    let mut builder = Builder::new(calls);
    builder
        .timer(TokioTimer::new())
        .auto_date_header(sends_date)
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
