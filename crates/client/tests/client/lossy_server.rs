//! A server that loses a response while the connection lives. The authority does not do this, but a proxy can.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use axum::routing::post;
use key_authority_client::{Error, Question, Verdict, Verifier};
use key_authority_proto::v1::verify_stream_response::Outcome;
use key_authority_proto::v1::{self, VerifyStreamRequest, VerifyStreamResponse};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::service::Routes;
use tonic::transport::Server;

/// The token whose response on the first stream is lost.
const LOST: &str = "lost";

/// Serves streams. It does not answer the first question about [`LOST`], and answers later ones. It answers each other
/// question with an error that makes the client close the stream.
async fn serve() -> SocketAddr {
    let has_lost = Arc::new(AtomicBool::new(false));
    let respond = async move |request: Request| {
        let parts = request.into_body().into_data_stream();
        let responses = parts.map(move |part| {
            let questions = unframed(&part.unwrap());
            let answered =
                questions.iter().filter(|(_, token)| token != LOST || has_lost.swap(true, Ordering::Relaxed));
            Ok::<_, Infallible>(Bytes::from(
                answered.flat_map(|(id, token)| response(*id, token == LOST)).collect::<Vec<u8>>(),
            ))
        });
        let response = Response::builder().header("content-type", "application/grpc");
        response.body(Body::from_stream(responses)).unwrap()
    };
    let router = Router::new().route("/keyauthority.v1.KeyAuthority/VerifyStream", post(respond));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_routes(Routes::from(router));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

/// The IDs and tokens of the questions in a part. Each question is so short that it arrives in one part.
fn unframed(mut part: &[u8]) -> Vec<(u64, String)> {
    let mut questions = Vec::new();
    while let Some((head, rest)) = part.split_first_chunk::<5>() {
        let len = usize::from(head[4]);
        let question = VerifyStreamRequest::decode(&rest[..len]).unwrap();
        questions.push((question.id, question.request.unwrap().token));
        part = &rest[len..];
    }
    questions
}

/// A framed response.
fn response(id: u64, is_valid: bool) -> Vec<u8> {
    let valid = v1::VerifyResponse { verdict: v1::Verdict::Valid.into(), ..v1::VerifyResponse::default() };
    let unknown = v1::StreamError { code: Code::Unauthenticated.into(), ..v1::StreamError::default() };
    let outcome = if is_valid { Outcome::Response(valid) } else { Outcome::Error(unknown) };
    let message = VerifyStreamResponse { id, outcome: Some(outcome) }.encode_to_vec();
    [&[0, 0, 0, 0, u8::try_from(message.len()).unwrap()], &message[..]].concat()
}

#[tokio::test]
async fn a_closing_stream_does_not_wait_for_a_lost_response() {
    let endpoint = format!("http://{}", serve().await);
    let verifier = Verifier::builder().endpoint(endpoint).deadline(Duration::from_secs(20)).connect().await.unwrap();
    let (lost, other) = (Question::new(LOST), Question::new("other"));
    let mut answered_late = Box::pin(verifier.verify(&lost));
    let error = tokio::select! {
        biased;
        early = &mut answered_late => panic!("{early:?}"),
        other = verifier.verify(&other) => other.unwrap_err(),
    };
    assert!(matches!(error, Error::CallerRejected { .. }), "{error:?}");
    assert!(matches!(answered_late.await, Ok(Verdict::Allowed(_))), "repeated on another stream");
}
