//! Envoy's external authorization: a proxy asks for a decision about each request before it forwards it.
//!
//! `proxied` makes the decision. The answer lists the headers that the proxy adds, which describe the key, and the
//! headers that it removes: the token, and the client's own headers under the authority's names.
//!
//! A proxy can be configured to forward a request when the call fails (`failure_mode_allow`). So the call fails only
//! for an outage and for a caller that may not verify: every other problem, of the request or of the route, is a
//! denial.

mod check;
mod response;
pub(crate) mod service;

pub(crate) use check::check;
