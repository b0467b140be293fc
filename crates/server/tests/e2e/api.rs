//! Each RPC's ordinary way and its errors, as far as the products' scenarios have not shown them.

mod accounts;
mod audit;
mod import;
mod keys;
mod lists;
pub(crate) mod questions;
mod renewal;
mod repeats;
