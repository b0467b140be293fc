//! The bytes that a connection makes the server hold: requests that are not complete yet, and responses that the peer
//! has not read.
//!
//! hyper takes a chunk of a response before the peer has room for it, and keeps it outside of h2's limits. So the
//! server counts what it hands to hyper: a chunk is charged when it is made, in pieces, and the charge of a piece ends
//! when hyper drops it. A connection over its budget gets no more responses until its peer reads. The connection is cut
//! if the peer reads nothing for half a minute, or if it holds the most while the process is over its budget.
//!
//! Small chunks are not charged: the number of calls on a connection bounds them.

mod account;
mod charged_body;

pub use account::ProcessBudget;
pub(crate) use account::{ConnectionBudget, OverBudget, RequestCharge, headers_bytes};
pub(crate) use charged_body::ChargedBody;
