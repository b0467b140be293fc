//! The metrics of the process, and their text formats.
//!
//! This module owns the registry, every series of the server, and the one stopwatch. Names follow go-grpc-middleware,
//! so that existing dashboards work.
//!
//! A label must never come from a caller. The values of each label are a closed list that is known at construction, so
//! a key ID, a token or an invented method name can never become a series. Nothing may lock on the path of a call: what
//! Verify touches is resolved beforehand and is one atomic add.
//!
//! To add a metric, add a field, its registration in [`Metrics::new`] or in the part that it belongs to, and a function
//! that sets it.

mod calls;
mod connections;
mod exposition;
mod histogram;
mod registry;
mod replica;
mod requests;
mod values;

pub(crate) use calls::{CallMetrics, CallSeries, ObservedBody, ObservedFuture};
pub use connections::{ConnectionCut, ConnectionRejected};
pub use exposition::Format;
pub use registry::{Metrics, SharedMetrics};
pub(crate) use requests::{RequestMetrics, known_method};
