//! A tonic service that requires an API key.
//!
//! The service is `grpc.health.v1.Health`, so that the example needs no `.proto` file. Replace it with your own
//! service.
//!
//! ```sh
//! cargo run --package key-authority-client --example tonic -- http://127.0.0.1:50051 service.token 127.0.0.1:8081
//! ```

use key_authority_client::{KeyIdentity, RequireKey, Verifier};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::Layer as _;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program prints its address")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [authority, token_file, listen] = <[String; 3]>::try_from(std::env::args().skip(1).collect::<Vec<_>>())
        .map_err(|_| "AUTHORITY TOKEN_FILE LISTEN")?;
    let verifier = Verifier::builder().endpoint(authority).token_file(token_file).connect().await?;

    // The layer protects this service only. `Server::builder().layer(guard)` protects all services.
    let guard = RequireKey::new(verifier).scopes(["health.read"]);
    let service = guard.layer(HealthServer::new(HealthOfAccounts));

    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("listening on {}", listener.local_addr()?);
    Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)).await?;
    Ok(())
}

/// Reports to each account its own health only.
struct HealthOfAccounts;

#[tonic::async_trait]
impl Health for HealthOfAccounts {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let key = request
            .extensions()
            .get::<KeyIdentity>()
            .ok_or_else(|| Status::internal("the layer RequireKey is missing"))?;
        if request.get_ref().service != key.account {
            return Err(Status::not_found("no such account"));
        }
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    type WatchStream = tokio_stream::Pending<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("use Check"))
    }
}
