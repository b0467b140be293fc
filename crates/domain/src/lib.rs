//! The rules of Key Authority: the format of tokens, what a key may do, how `Verify` decides, what a caller may do, and
//! how the audit log is chained.
//!
//! All functions are pure. There is no I/O, no async, no clock and no random source: `now` and random bytes are
//! parameters, so each rule can be tested at the exact instant at which its result changes. `cargo deny` rejects
//! `sea-orm` and `tonic` as dependencies.

pub mod access;
pub mod account;
pub mod actor_check;
pub mod audit;
pub mod foreign;
pub mod id;
pub mod key;
pub mod permission;
pub mod policy_error;
pub mod portal;
pub mod seal;
pub mod secret;
pub mod snapshot;
pub mod text;
pub mod time;
pub mod token;
pub mod verdict;
