//! A bare axum handler: the baseline for the cost of the HTTP door. It has the same listener and limits, reads the body,
//! and returns a constant answer of the length of a real one.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::routing::{any, post};
use clap::Parser as _;
use hyper_util::service::TowerToHyperService;
use key_authority_server::testing::{
    Cli, Config, ConfigMode, ConnectionContext, DESCRIPTOR_SETS, Listener, MethodTable, Metrics, ProcessBudget,
    SharedMetrics,
};
use tokio_util::sync::CancellationToken;

/// The answer of introspection.
const ACTIVE: &str = r#"{"active":true,"client_id":"bench_00000000","exp":1800000000,"scope":"orders.read orders.write","sub":"account-000","token_type":"Bearer"}"#;

/// Serves on a port that the kernel chooses, and announces it as the real server does. It runs until it is killed.
pub(crate) async fn serve() -> Result<()> {
    // The defaults of the real server.
    let settings =
        Cli::parse_from(["key-authority", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]).settings;
    let config = Config::from_args(&settings, ConfigMode::Serve, []).context("invalid server settings")?;
    let methods = MethodTable::from_descriptor_sets(DESCRIPTOR_SETS.iter().copied())?;
    let metrics = SharedMetrics::new(Metrics::new("bare", &methods, &[]));
    let listener = Listener::bind(
        config.listen,
        None,
        config.limits,
        ProcessBudget::new(config.held_bytes_max, config.anonymous_verify),
        metrics,
    );
    let listener = listener.await.context("cannot listen")?.with_http1();
    writeln!(std::io::stdout(), "  gRPC        {}\n  HTTP        none", listener.address())?;
    let headers = [("x-key-id", "bench_00000000"), ("x-key-account", "account-000"), ("x-key-scopes", "orders.read")];
    let router = Router::new()
        .route("/introspect", post(async |_form: Bytes| ([("content-type", "application/json")], ACTIVE)))
        .route("/forward-auth", any(async move || (headers, "")));
    let connect = move |_: ConnectionContext| TowerToHyperService::new(router.clone());
    listener.serve(connect, CancellationToken::new(), config.drain_timeout).await;
    Ok(())
}
