//! The facts: accounts, keys and the log of their changes, kept in SQLite, PostgreSQL, MySQL or MariaDB.
//!
//! - A change is a [`write_tx::WriteTx`]: it takes the next revision from the one `authority` row, whose lock it holds
//!   to the end, and [`commit`](write_tx::WriteTx::commit) with its audit event is the only way out. So revision order
//!   is commit order, without gaps, and nothing changes unrecorded.
//! - A read answers `Result<Option<_>, StorageError>`: that something is not there and that nobody could look are never
//!   the same.
//! - A row that cannot be right is [`StorageError::Corrupt`], never a default.
//! - The entities of `sea-orm` stay in here.
//!
//! To add a table: a migration in `migrations/`, an entity in `entity/`, the translation in `rows/`, and reads and
//! writes in files of their own.

#[expect(unreachable_pub, reason = "sea-orm derives for pub types; the module is private")]
mod entity;
mod rows;
mod session;
mod writer_queue;

pub mod account_read;
pub mod alone;
pub mod audit_read;
pub mod caller_read;
pub mod database_checks;
pub mod error;
pub mod feed;
pub mod key_read;
pub mod migrate;
pub mod page;
pub mod read_tx;
pub mod registry;
pub mod settings;
pub mod store;
pub mod usage;
pub mod wake;
pub mod write_tx;

pub use error::{DriverError, StorageError};
pub use store::{StorageKind, Store};
pub use writer_queue::Urgency;
