//! Proof of the coherence protocol, over the transition functions that production runs.
//!
//! What is here is the simulation: replicas, their clients and one database in one thread, in virtual time, with faults
//! drawn from a seed. What the replicas decide, production's own code decides: [`Lease::on`], [`may_answer`], [`Observed`]
//! and [`Wait`]. What surrounds it, the network, the database, the clocks and the processes, is made up, and so are the
//! naive [`Variant`]s: each breaks the surroundings, never the code.
//!
//! - `scheduler`, `chance`, `clock`: virtual time, tasks, one source of chance, clocks that run at rates of their own.
//! - `statement`, `database`, `network`: the registry and the log, and how a statement gets there and its answer back.
//! - `process`, `replicator`, `propagation`, `mutation`: a replica, written as its production counterpart is.
//! - `client`, `nemesis`, `profile`: who calls, what breaks, how much of each.
//! - `check`, `statistics`: what must hold, and whether anything happened at all.
//!
//! To add a fault: a field in `profile`, a task in `nemesis` or a question in `network`. To add a naive variant: a case in
//! `variant` and the one place that asks for it; the tests find it by themselves.
//!
//! [`Lease::on`]: key_authority_replica::protocol::lease::Lease::on
//! [`may_answer`]: key_authority_replica::protocol::lease::may_answer
//! [`Observed`]: key_authority_replica::protocol::observed::Observed
//! [`Wait`]: key_authority_replica::protocol::wait::Wait

mod chance;
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
mod scheduler;
mod statement;
mod statistics;
mod variant;
mod world;

pub use check::{Kind, Violation};
pub use statistics::Statistics;
pub use variant::Variant;
pub use world::{Outcome, run};
