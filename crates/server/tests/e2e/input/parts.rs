//! Questions that come in parts, framed as no library would, or while calls are traced.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::poll_fn;
use http_body::{Body, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use key_authority_proto::v1::*;
use prost::Message;
use tokio::net::TcpStream;
use tonic::{Code, Status};

use crate::support::client::caller_question;
use crate::support::{Authority, Database, Setup, in_time, on_sqlite};

/// A body of which each part is a frame of its own.
struct Parts(VecDeque<Bytes>);

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|part| Ok(Frame::data(part))))
    }
}

/// A message as gRPC frames it.
fn framed(message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &len[..], &message].concat()
}

/// Sends `bytes` in parts of `size`; what is answered, and the status.
async fn ask(authority: &Authority, method: &str, bytes: &[u8], size: usize) -> (Vec<u8>, Status) {
    let address = authority.grpc().trim_start_matches("http://").to_owned();
    let io = TokioIo::new(TcpStream::connect(&address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!("http://{address}/keyauthority.v1.KeyAuthority/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {}", authority.root_token()))
        .body(Parts(bytes.chunks(size).map(Bytes::copy_from_slice).collect()))
        .unwrap();
    let response = in_time("a response", sender.send_request(request)).await.unwrap();
    let mut status = Status::from_header_map(response.headers());
    let mut body = response.into_body();
    let mut answered = Vec::new();
    while let Some(frame) = in_time("a frame", poll_fn(|context| Pin::new(&mut body).poll_frame(context))).await {
        match frame.unwrap().into_data() {
            Ok(part) => answered.extend(part),
            Err(trailers) => status = Status::from_header_map(trailers.trailers_ref().unwrap()),
        }
    }
    connection.abort();
    (answered, status.expect("a status"))
}

/// The messages that were answered.
fn messages<M: Message + Default>(mut answered: &[u8]) -> Vec<M> {
    let mut messages = Vec::new();
    while let [0, a, b, c, d, rest @ ..] = answered {
        let (message, more) = rest.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        messages.push(M::decode(message).unwrap());
        answered = more;
    }
    assert!(answered.is_empty());
    messages
}

async fn a_question_is_answered_in_however_many_parts_it_comes(authority: Authority) {
    let bytes = framed(&caller_question(&authority.root_token()));
    for size in [1, 4, 5, 6, 50, bytes.len()] {
        let (answered, status) = ask(&authority, "Verify", &bytes, size).await;
        assert_eq!(status.code(), Code::Ok, "{size}: {status:?}");
        let answers: Vec<VerifyResponse> = messages(&answered);
        assert_eq!(answers.iter().map(VerifyResponse::verdict).collect::<Vec<_>>(), [Verdict::Valid]);
    }
    let asked = |id| VerifyStreamRequest { id, request: Some(caller_question(&authority.root_token())) };
    // HTTP/2 ends a connection on which some two thousand tiny parts wait to be read.
    for (size, count) in [(1, 20), (7, 80), (64, 100), (usize::MAX, 100)] {
        let bytes = (1..=count).flat_map(|id| framed(&asked(id))).collect::<Vec<_>>();
        let (answered, status) = ask(&authority, "VerifyStream", &bytes, size).await;
        assert_eq!(status.code(), Code::Ok, "{size}: {status:?}");
        let answers: Vec<VerifyStreamResponse> = messages(&answered);
        assert_eq!(answers.iter().map(|answer| answer.id).collect::<Vec<_>>(), (1..=count).collect::<Vec<_>>());
    }
}

async fn what_is_not_one_whole_message_is_refused(authority: Authority) {
    let good = framed(&caller_question(&authority.root_token()));
    let compressed = [&[1], &good[1..]].concat();
    let cut_off = &good[..good.len() - 1];
    for method in ["Verify", "BatchVerify"] {
        for bytes in [&[good.clone(), good.clone()].concat(), &compressed, cut_off, &good[..3], &[]] {
            let (answered, status) = ask(&authority, method, bytes, usize::MAX).await;
            assert_eq!((status.code(), answered.len()), (Code::InvalidArgument, 0), "{method}: {status:?}");
        }
    }
    let asked = framed(&VerifyStreamRequest { id: 1, request: Some(caller_question(&authority.root_token())) });
    for broken in [&compressed, &asked[..asked.len() - 1], &[0, 0, 0, 0, 1, 0xff]] {
        let (answered, status) = ask(&authority, "VerifyStream", &[&asked, broken].concat(), usize::MAX).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert_eq!(messages::<VerifyStreamResponse>(&answered).len(), 1, "what came before is answered");
    }
    let (_, status) = ask(&authority, "VerifyStream", &[0, 0x7f, 0, 0, 0], usize::MAX).await;
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
}

async fn calls_that_are_traced_are_answered_alike(database: Database) {
    // Nobody listens there; spans are thrown away.
    let traced = Setup::on(database).under(&["env", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9"]);
    let authority = traced.start().await;
    let question = caller_question(&authority.root_token());
    let valid = |response: &VerifyResponse| response.verdict() == Verdict::Valid && response.key_id.starts_with("key_");

    let (answered, _) = ask(&authority, "Verify", &framed(&question), usize::MAX).await;
    assert!(messages(&answered).iter().all(valid) && !answered.is_empty());
    let batch = BatchVerifyRequest { requests: vec![question.clone(); 3] };
    let (answered, _) = ask(&authority, "BatchVerify", &framed(&batch), usize::MAX).await;
    let answers: Vec<BatchVerifyResponse> = messages(&answered);
    assert!(answers[0].responses.len() == 3 && answers[0].responses.iter().all(valid));
    let asked = VerifyStreamRequest { id: 7, request: Some(question) };
    let (answered, status) = ask(&authority, "VerifyStream", &framed(&asked), usize::MAX).await;
    let answers: Vec<VerifyStreamResponse> = messages(&answered);
    let Some(verify_stream_response::Outcome::Response(response)) = &answers[0].outcome else { panic!("{answers:?}") };
    assert!(answers[0].id == 7 && valid(response) && status.code() == Code::Ok, "{status:?}");
}

on_sqlite! {
    a_question_is_answered_in_however_many_parts_it_comes,
    what_is_not_one_whole_message_is_refused,
    calls_that_are_traced_are_answered_alike,
}
