//! The baselines: the listener and the limits of the real server, with a constant answer behind them.

pub(crate) mod grpc;
pub(crate) mod http;

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use key_authority_server::testing::{
    Cli, Config, ConfigMode, DESCRIPTOR_SETS, Listener, MethodTable, Metrics, ProcessBudget, SharedMetrics,
};

/// Binds a port that the kernel chooses, and announces it as the real server does. Returns also the time for calls in
/// flight.
fn bind() -> Result<(Listener, Duration)> {
    // The defaults of the real server.
    let settings =
        Cli::parse_from(["key-authority", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]).settings;
    let config = Config::from_args(&settings, ConfigMode::Serve, []).context("invalid server settings")?;
    let methods = MethodTable::from_descriptor_sets(DESCRIPTOR_SETS.iter().copied())?;
    let metrics = SharedMetrics::new(Metrics::new("bare", &methods, &[]));
    let budget = ProcessBudget::new(config.held_bytes_max, config.anonymous_verify);
    let listener = Listener::bind(config.listen, None, config.limits, budget, metrics).context("cannot listen")?;
    writeln!(std::io::stdout(), "  gRPC        {}\n  HTTP        none", listener.address())?;
    Ok((listener, config.drain_timeout))
}
