//! API credentials in HTTP headers, and the challenges of their responses.
//!
//! All parts of the system use this parser: the authority for its callers, the authority for requests that a proxy
//! checks, and services that use the client's `RequireKey`. A header therefore has the same meaning in all of them. The
//! crate is pure: it depends on neither keys nor verdicts.

mod authorization;
mod challenge;

pub use authorization::{Credential, Scheme, credential, split};
pub use challenge::{BearerError, Challenge};
