//! One file for each reader: its rule, its seeds and its dictionary.

pub mod authorization;
pub mod check;
pub mod database_url;
pub mod frames;
pub mod import_file;
pub mod import_keys;
pub mod page_token;
pub mod question;
mod resident;
pub mod token;
pub mod verify;
