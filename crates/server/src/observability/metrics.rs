//! What this process counts, and the text in which it tells.
//!
//! Owns the registry, every series of the server, and the one stopwatch. Names follow go-grpc-middleware, so that existing
//! dashboards work. It must never take a label from a caller: each label's values are a closed list known at construction
//! (a key ID, a token or a made-up method name can never become a series), and it must never lock on the path of a call:
//! what Verify touches is resolved beforehand and is one atomic add.
//!
//! To add a metric: a field here, its registration in [`Metrics::new`], and a function that sets it.

mod calls;
mod histogram;
mod registry;
mod replica;
mod values;

pub(crate) use calls::{CallMetrics, CallSeries, ObservedBody, ObservedFuture};
pub(crate) use registry::CONTENT_TYPE;
pub use registry::{ConnectionRejected, Metrics, SharedMetrics};
