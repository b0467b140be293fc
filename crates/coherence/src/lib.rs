//! Proof of the coherence protocol, on the transition functions of production.
//!
//! This crate is the simulation: replicas, clients and one database in one thread, in virtual time, with faults from a
//! seed. Production code makes the decisions of the replicas: [`Lease::on`], [`may_answer`], [`Observed`] and [`Wait`].
//! Network, database, clocks and processes are simulated. So are the unsafe [`Variant`]s: each changes the
//! surroundings, never the production code.
//!
//! - `scheduler`, `rng`, `clock`: virtual time, tasks, random numbers, clocks with rates of their own.
//! - `statement`, `database`, `network`: the registry and the log, and the transport of statements and answers.
//! - `process`, `replicator`, `propagation`, `mutation`: a replica, written like its production counterpart.
//! - `client`, `nemesis`, `profile`: the load, the faults, and the rates of both.
//! - `check`, `statistics`: the invariants, and counts that show that a run exercised them.
//!
//! To add a fault, add a field in `profile`, and a task in `nemesis` or a condition in `network`. To add an unsafe
//! variant, add a case in `variant` and the one place that checks it; the tests cover every case.
//!
//! [`Lease::on`]: key_authority_replica::protocol::lease::Lease::on
//! [`may_answer`]: key_authority_replica::protocol::lease::may_answer
//! [`Observed`]: key_authority_replica::protocol::observed::Observed
//! [`Wait`]: key_authority_replica::protocol::wait::Wait

mod check;
mod client;
mod clock;
mod database;
mod epilogue;
mod mutation;
mod nemesis;
mod network;
mod process;
mod profile;
mod propagation;
mod replicator;
mod rng;
mod scheduler;
mod statement;
mod statistics;
mod variant;
mod world;

pub use check::{Kind, Violation};
pub use statistics::Statistics;
pub use variant::Variant;
pub use world::{Outcome, run};
