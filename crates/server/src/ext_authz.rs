//! Envoy's external authorization: a proxy asks about each request before it lets it through.
//!
//! The question is put together of what the proxy's configuration says of the route, the token that the request carries,
//! and the address that it came from; it is decided by the very functions that decide a Verify. The answer says which
//! headers the request gets, that tell of the key, and which it loses: the token, and whatever its client sent under the
//! names of ours.
//!
//! An error of the call lets a request pass where a proxy is told so (`failure_mode_allow`). So there is none but for an
//! outage and for a caller who may not ask: whatever else is wrong, be it with the request or with the route, is a denial.
//!
//! To take tokens from one more place: a word in `route`, and how to find it there in `credential`.

mod check;
mod credential;
mod denial;
mod headers;
mod misroutes;
mod response;
mod route;
pub(crate) mod service;
