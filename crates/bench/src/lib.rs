//! What Verify costs, measured beside the bare framework and beside Redis.
//!
//! The figure that counts is the CPU time of the server's process for one call, read from the kernel around each run:
//! where generator and server share a machine, what the wall clock says is mostly about the other one. So everything that
//! is measured is a process of its own: the real server, `bench bare`, Redis.
//!
//! - [`stock`]: sets of keys whose tokens anybody can make again from a number.
//! - [`fill`]: writing such a set into a database, through storage.
//! - `load`: the generator; it checks every answer.
//! - `bare`: the same messages on the same listener, with nothing behind it.
//! - [`resident`]: such a set in this process, for what happens between the wire and the answer.
//! - `run`: the measurements, one after the other, and the report.

mod bare;
mod chance;
mod clock;
pub mod command;
pub mod fill;
mod h2load;
mod load;
mod process;
mod progress;
mod redis;
mod report;
pub mod resident;
mod run;
mod scrape;
pub mod stock;
pub mod trouble;
