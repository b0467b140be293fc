//! Connections: sockets, TLS, the HTTP/2 preface, and limits on what a peer can make the server hold. This module never
//! reads a request.

mod connection;
mod http2;
mod inline_executor;
pub(crate) mod limits;
pub(crate) mod listener;
pub(crate) mod peer;
mod preface;
pub(crate) mod tls;
