//! The tables, as `sea-orm` sees them. Private to storage: everybody else speaks of accounts, keys and events.

pub(crate) mod account;
pub(crate) mod api_key;
pub(crate) mod api_key_secret;
pub(crate) mod audit_event;
pub(crate) mod authority;
pub(crate) mod durability;
pub(crate) mod replica;
