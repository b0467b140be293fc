//! The replicator: joins, follows the log, applies it to the index, and confirms.

mod driver;
mod poll;
mod settings;
mod thread;

pub use settings::{EndError, ReplicaConfig, Settings};
pub use thread::{Replicator, StartError};
