//! Each RPC's ordinary way and its errors, as far as the products' scenarios have not shown them.

mod accounts;
mod audit;
mod digests;
mod import;
mod keys;
mod lists;
mod presented;
pub(crate) mod questions;
mod reads;
mod renewal;
mod repeats;
mod revoke_keys;
