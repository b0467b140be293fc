//! Connections: sockets, TLS, HTTP/2 and HTTP/1.1, and limits on what a peer can make the server hold. This module never
//! reads a request.

pub(crate) mod budget;
pub(crate) mod connection;
mod frame_credit;
mod http1;
mod http2;
mod http2_stream;
mod inline_executor;
pub(crate) mod limits;
pub(crate) mod listener;
pub(crate) mod peer;
pub(crate) mod places;
mod preface;
pub(crate) mod socket;
pub(crate) mod tls;
