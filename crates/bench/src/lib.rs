//! What Verify costs, measured beside the bare framework and beside Redis.
//!
//! The main figure is the CPU time of the server's process per call, as the kernel counts it. Generator and server
//! share a machine, so wall-clock time depends on both. For the same reason each measured program is a process of its
//! own: the real server, `bench bare`, Redis.
//!
//! - [`key_set`]: sets of keys whose tokens follow from a seed and a number.
//! - [`fill`]: writes such a set to a database, through storage.
//! - `load`: the load generator; it checks every answer.
//! - `bare`: the same messages on the same listener, with a constant answer.
//! - [`resident`]: a set of keys in this process, for measurements without a network.
//! - `run`: the measurements and the report.

mod bare;
mod clock;
pub mod command;
pub mod fill;
mod h2load;
pub mod key_set;
mod load;
mod redis;
mod report;
pub mod resident;
mod run;
mod scrape;
mod usage;
