//! The rules of Key Authority, and nothing else: what a token looks like, what a key may do, how `Verify` is decided,
//! who may ask for what, and how the audit log is chained.
//!
//! Everything here is a function of its arguments. There is no I/O, no async, no clock and no random source: `now` and
//! random bytes are parameters, so that each rule can be tested at the exact instant at which it changes its mind.
//! `sea-orm` and `tonic` never appear here; `cargo deny` keeps it so.

pub mod access;
pub mod account;
pub mod actor_check;
pub mod audit;
pub mod foreign;
pub mod id;
pub mod key;
pub mod permission;
pub mod policy_error;
pub mod seal;
pub mod secret;
pub mod snapshot;
pub mod text;
pub mod time;
pub mod token;
pub mod verdict;
