//! The bare framework: the baseline for the cost of the real server. It has the same listener, limits and messages, but
//! uses tonic's general codec and returns a constant answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Result;
use futures_util::StreamExt as _;
use hyper_util::service::TowerToHyperService;
use key_authority_proto::v1;
use key_authority_server::testing::{ConnectionContext, WithPeer};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

use super::bind;

/// Serves until the process is killed.
pub(crate) async fn serve() -> Result<()> {
    let (listener, drain) = bind()?;
    let routes = Routes::new(Bare { answer: Arc::new(answer()) }).prepare();
    let connect =
        move |connection: ConnectionContext| TowerToHyperService::new(WithPeer::new(routes.clone(), connection.peer));
    listener.serve(connect, CancellationToken::new(), drain).await;
    Ok(())
}

/// An answer of the same length as a real one.
fn answer() -> v1::VerifyResponse {
    v1::VerifyResponse {
        verdict: v1::Verdict::Valid.into(),
        key_id: "bench_00000000".into(),
        account: "account-000".into(),
        scopes: crate::key_set::SCOPES.map(str::to_owned).to_vec(),
        revision: 1_000,
        expire_time: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 123_456_000 }),
        labels: [("plan".to_owned(), "basic".to_owned()), ("team".to_owned(), "team-00".to_owned())].into(),
        missing_scopes: Vec::new(),
    }
}

#[derive(Debug, Clone)]
struct Bare {
    answer: Arc<v1::VerifyResponse>,
}

impl NamedService for Bare {
    const NAME: &'static str = "keyauthority.v1.KeyAuthority";
}

type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl Service<http::Request<Body>> for Bare {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    /// Dispatches as the generated code of a service does.
    fn call(&mut self, request: http::Request<Body>) -> Answer {
        let answer = Arc::clone(&self.answer);
        match request.uri().path() {
            "/keyauthority.v1.KeyAuthority/Verify" => Box::pin(async move {
                let verify = service_fn(move |_: Request<v1::VerifyRequest>| {
                    let answer = v1::VerifyResponse::clone(&answer);
                    async { Ok::<_, Status>(Response::new(answer)) }
                });
                Ok(Grpc::new(ProstCodec::default()).unary(verify, request).await)
            }),
            "/keyauthority.v1.KeyAuthority/BatchVerify" => Box::pin(async move {
                let verify = service_fn(move |request: Request<v1::BatchVerifyRequest>| {
                    let responses = vec![v1::VerifyResponse::clone(&answer); request.get_ref().requests.len()];
                    async { Ok::<_, Status>(Response::new(v1::BatchVerifyResponse { responses })) }
                });
                Ok(Grpc::new(ProstCodec::default()).unary(verify, request).await)
            }),
            _ => Box::pin(async move {
                let verify = service_fn(move |request: Request<Streaming<v1::VerifyStreamRequest>>| {
                    let answers = request.into_inner().map({
                        let answer = Arc::clone(&answer);
                        move |request| {
                            let outcome =
                                v1::verify_stream_response::Outcome::Response(v1::VerifyResponse::clone(&answer));
                            Ok::<_, Status>(v1::VerifyStreamResponse { id: request?.id, outcome: Some(outcome) })
                        }
                    });
                    async { Ok::<_, Status>(Response::new(answers)) }
                });
                Ok(Grpc::new(ProstCodec::default()).streaming(verify, request).await)
            }),
        }
    }
}
