//! One file for each reader: its rule, its seeds and its dictionary.

pub(crate) mod authorization;
pub(crate) mod check;
pub(crate) mod database_url;
pub(crate) mod frames;
pub(crate) mod import_file;
pub(crate) mod import_keys;
pub(crate) mod page_token;
pub(crate) mod question;
mod resident;
pub(crate) mod token;
pub(crate) mod verify;
