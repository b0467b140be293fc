//! Storage of accounts, keys and the log of their changes in SQLite, PostgreSQL, MySQL or MariaDB.
//!
//! - A change is a [`write_tx::WriteTx`]. It takes the next revision from the single `authority` row and holds the lock
//!   of that row to the end. [`commit`](write_tx::WriteTx::commit) with an audit event is the only way to commit its
//!   writes. So revision order is commit order, without gaps, and every change is in the log.
//! - A read returns `Result<Option<_>, StorageError>`: a missing row and a failed read are distinct.
//! - An invalid row is [`StorageError::Corrupt`], never a default.
//! - The entities of `sea-orm` are private to this crate.
//!
//! To add a table: add a migration in `migrations/`, an entity in `entity/`, the conversion in `mapping/`, and files
//! for reads and writes.

#[expect(unreachable_pub, reason = "sea-orm derives for pub types; the module is private")]
mod entity;
mod mapping;
mod one_of;
mod row_size;
mod schema_checks;
mod server_options;
mod session;
mod timeout;
mod writer_queue;

pub mod account_read;
pub mod audit_read;
pub mod caller_read;
pub mod database_checks;
pub mod error;
pub mod exclusive_lock;
pub mod feed;
pub mod holders;
mod key_list;
pub mod key_order;
pub mod key_query;
mod key_reach;
pub mod key_read;
pub mod migrate;
pub mod notify;
pub mod page;
pub mod paths;
pub mod probe;
pub mod read_tx;
pub mod registry;
pub mod settings;
pub mod sqlite_file;
pub mod store;
pub mod usage;
pub mod write_tx;

pub use error::{DriverError, StorageError};
pub use store::{StorageKind, Store};
pub use writer_queue::Urgency;
