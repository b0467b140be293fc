//! API credentials in HTTP headers, and the challenges of their responses.
//!
//! Every place where a token arrives uses this one reader: the callers of the authority, the requests that a proxy asks
//! about, and the services behind the client's `RequireKey`. So a header means the same everywhere. The crate is pure:
//! it knows neither keys nor verdicts.

mod authorization;
mod challenge;

pub use authorization::{Credential, Scheme, credential, split};
pub use challenge::{BearerError, Challenge};
