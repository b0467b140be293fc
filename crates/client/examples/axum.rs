//! An axum service that requires an API key.
//!
//! ```sh
//! cargo run --package key-authority-client --example axum -- http://127.0.0.1:50051 service.token 127.0.0.1:8080
//! curl -H "authorization: Bearer $TOKEN" http://127.0.0.1:8080/projects/web/deploy
//! ```

use axum::extract::{Extension, Path};
use axum::routing::{Router, get, post};
use key_authority_client::{KeyIdentity, RequireKey, Verifier};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program prints its address")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [authority, token_file, listen] = <[String; 3]>::try_from(std::env::args().skip(1).collect::<Vec<_>>())
        .map_err(|_| "AUTHORITY TOKEN_FILE LISTEN")?;
    // The file holds the token of this service. Its key belongs to account `system` and has the scope `verify`.
    let verifier = Verifier::builder().endpoint(authority).token_file(token_file).connect().await?;

    // Every request needs the scope `deploy`. The project comes from the path.
    let guard = RequireKey::new(verifier)
        .scopes(["deploy"])
        .with_request(|request, question| question.project(request.uri.path().split('/').nth(2).unwrap_or_default()));
    let service = Router::new()
        .route("/projects/{project}/deploy", post(deploy))
        .route_layer(guard)
        // A route that is added after the layer is outside of it, and needs no key.
        .route("/health", get(async || "ok"));

    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, service).await?;
    Ok(())
}

async fn deploy(Path(project): Path<String>, Extension(key): Extension<KeyIdentity>) -> String {
    format!("{} of {} deploys {project}\n", key.key_id, key.account)
}
