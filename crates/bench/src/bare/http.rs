//! A bare axum handler: the baseline for the cost of the HTTP door. It has the same listener and limits, reads the
//! body, and returns a constant answer of the length of a real one.

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::routing::{any, post};
use hyper_util::service::TowerToHyperService;
use key_authority_server::testing::ConnectionContext;
use tokio_util::sync::CancellationToken;

use super::bind;

/// The answer of introspection.
const ACTIVE: &str = r#"{"active":true,"client_id":"bench_00000000","exp":1800000000,"scope":"orders.read orders.write","sub":"account-000","token_type":"Bearer"}"#;

/// Serves until the process is killed.
pub(crate) async fn serve() -> Result<()> {
    let (listener, drain) = bind()?;
    let headers = [("x-key-id", "bench_00000000"), ("x-key-account", "account-000"), ("x-key-scopes", "orders.read")];
    let router = Router::new()
        .route("/introspect", post(async |_form: Bytes| ([("content-type", "application/json")], ACTIVE)))
        .route("/forward-auth", any(async move || (headers, "")));
    let connect = move |_: ConnectionContext| TowerToHyperService::new(router.clone());
    listener.with_http1().serve(connect, CancellationToken::new(), drain).await;
    Ok(())
}
