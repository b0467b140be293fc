//! The tables as entities of `sea-orm`. They are private to this crate, which exposes only domain types.

pub(crate) mod account;
pub(crate) mod api_key;
pub(crate) mod api_key_secret;
pub(crate) mod audit_event;
pub(crate) mod authority;
pub(crate) mod durability;
pub(crate) mod replica;
