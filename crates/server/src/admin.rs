//! The admin RPCs. [`service`] maps each RPC to its permissions and its handler. The domain decides whether a change is
//! allowed; storage makes it one commit; propagation waits until every replica enforces it.

mod accounts;
mod audit;
mod audited;
mod connect;
mod context;
pub(crate) mod cursor;
mod delete;
mod import;
mod import_queue;
mod import_stream;
mod keys;
mod listing;
mod mutate;
mod operations;
mod parts;
pub(crate) mod portal;
mod presented;
mod replay;
mod revoke_keys;
mod secrets;
pub(crate) mod service;

pub(crate) use context::{Admin, Stores};
