//! Envoy's external authorization: a proxy asks for a decision about each request before it forwards it.
//!
//! The question consists of the route's configuration in the proxy, the token in the request, and the address that the
//! request came from. The functions that decide a Verify decide it. The answer lists the headers that the proxy adds,
//! which describe the key, and the headers that it removes: the token, and the client's own headers under the
//! authority's names.
//!
//! A proxy can be configured to forward a request when the call fails (`failure_mode_allow`). So the call fails only
//! for an outage and for a caller that may not verify: every other problem, of the request or of the route, is a
//! denial.
//!
//! To accept tokens in another place, add a word to `route`, and the lookup to `credential`.

mod check;
mod credential;
mod denial;
mod headers;
mod misroutes;
mod response;
mod route;
pub(crate) mod service;

pub(crate) use check::check;
pub(crate) use misroutes::Misroutes;
