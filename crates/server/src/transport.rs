//! Connections: sockets, TLS, the HTTP/2 preface and limits, and what a peer can make the server hold. Nothing here reads a
//! request.

mod connection;
mod http2;
mod inline_executor;
pub mod listener;
pub mod peer;
mod preface;
pub mod tls;
