//! The decision about a request that a proxy asks about, for each protocol of proxies.
//!
//! The question consists of the route's configuration in the proxy, the token in the request, and the address that the
//! request came from. The functions that decide a Verify decide it. `ext_authz` and `http` convert their protocols to
//! this module's types and back, so that a route, a credential and a denial mean the same for every proxy.
//!
//! To accept tokens in another place, add a word to `route`, and the lookup to `credential`.

mod credential;
mod decision;
mod denial;
mod headers;
mod identity;
mod misroutes;
mod route;

pub(crate) use credential::Presented;
pub(crate) use decision::{NotAllowed, decide};
pub(crate) use denial::{Denial, DenialResponse};
pub(crate) use headers::Headers;
pub(crate) use identity::{SCOPES, identity_headers};
pub(crate) use misroutes::Misroutes;
pub(crate) use route::{Dialect, Route};
