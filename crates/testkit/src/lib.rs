//! What the benchmark, the fault harness, the simulation and the tests share. No crate that is shipped depends on it.
//!
//! - [`rng`]: random numbers from a seed.
//! - [`clock`]: the monotonic clock of a run.
//! - [`process`]: child processes that never outlive their parent.
//! - [`database`]: a database of a run's own, on a PostgreSQL or MariaDB server.
//! - [`server`]: starting a server and reading the addresses that it announces.
//! - [`port`]: free TCP ports.
//! - [`plot`]: plots as SVG.
//! - [`progress`]: progress on standard error, results on standard output.
//! - [`interrupt`]: ending a run on SIGINT or SIGTERM.
//!
//! Errors are [`anyhow`]'s: print them with `{error:#}`, which shows the whole chain.

pub mod clock;
pub mod database;
pub mod interrupt;
pub mod plot;
pub mod port;
pub mod process;
pub mod progress;
pub mod rng;
pub mod server;
