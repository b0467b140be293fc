//! One call: the request for the service in this process, and the response of the door.

use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Router};
use bytes::{Buf as _, Bytes};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use tokio::task::block_in_place;
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body as RpcBody;

use super::api::{Api, ApiMethod};
use super::body::{Codec, LARGE_BYTES, PREFIX_BYTES, Reading, RequestBody};
use super::errors::failed;
use super::json;
use crate::http::held::Held;
use crate::http::reply::rejected;
use crate::http::session::Session;
use crate::rpc::errors::RpcError;
use crate::transport::budget::{ChargedBody, RequestCharge};
use crate::transport::places::Counted;
use crate::wire::methods::path;

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("connect-protocol-version");
const TIMEOUT: HeaderName = HeaderName::from_static("connect-timeout-ms");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROTO: HeaderValue = HeaderValue::from_static("application/proto");
/// The content types of a request.
const ACCEPTED: HeaderValue = HeaderValue::from_static("application/json, application/proto");

/// Returns the routes of the API.
pub(in crate::http) fn routes(api: Arc<Api>) -> Router {
    Router::new().route(&path("{method}"), post(call)).with_state(api)
}

async fn call(State(api): State<Arc<Api>>, Extension(session): Extension<Session>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let name = parts.uri.path().rsplit('/').next().unwrap_or_default();
    let Some(method) = api.get(name) else {
        return rejected(StatusCode::NOT_FOUND, "unimplemented", "the API has no method of this name");
    };
    if method.is_streaming {
        let message = "the method has streams of messages; call it by gRPC";
        return rejected(StatusCode::NOT_IMPLEMENTED, "unimplemented", message);
    }
    let codec = match codec(&parts.headers) {
        Ok(codec) => codec,
        Err(response) => return response,
    };
    let headers = match headers(&parts) {
        Ok(headers) => headers,
        Err(error) => return failed(&error.into(), &api.details),
    };
    let bytes_max = (session.rpc.bytes_max)(parts.uri.path()).unwrap_or(usize::MAX).min(codec.bytes_max());
    let charge = session.connection.budget.request();
    let reading = Reading::new(body, (codec, bytes_max), method.input.clone(), charge, &api.large_requests);
    let mut request = http::Request::new(RequestBody::read(reading));
    (*request.uri_mut(), *request.method_mut(), *request.headers_mut()) = (parts.uri, parts.method, headers);
    let answer = match (session.rpc.call)(request).await {
        Ok(response) => answer(&api, method, codec, response, &session).await,
        Err(error) => Err(Status::from_error(error)),
    };
    answer.unwrap_or_else(|status| failed(&status, &api.details))
}

/// Returns the codec that the content type names, or the rejection.
#[expect(clippy::result_large_err, reason = "the rejection is sent at once")]
fn codec(headers: &HeaderMap) -> Result<Codec, Response> {
    let unsupported = |name, value: HeaderValue, message| {
        let mut response = rejected(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unimplemented", message);
        response.headers_mut().insert(name, value);
        response
    };
    if headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let message = "compressed bodies are not supported";
        return Err(unsupported(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"), message));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => Ok(Codec::Json),
        "application/proto" => Ok(Codec::Proto),
        _ => {
            let name = HeaderName::from_static("accept-post");
            Err(unsupported(name, ACCEPTED, "the content type must be application/json or application/proto"))
        }
    }
}

/// Returns the headers of the gRPC request: those of the request, except for the ones that describe its body or belong
/// to gRPC.
fn headers(parts: &Parts) -> Result<HeaderMap, RpcError> {
    if parts.headers.get(&PROTOCOL_VERSION).is_some_and(|version| version != "1") {
        return Err(RpcError::invalid("Connect-Protocol-Version", "must be 1"));
    }
    let of_body = [
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::EXPECT,
        header::TE,
    ];
    let is_kept = |name: &HeaderName| !of_body.contains(name) && !name.as_str().starts_with("grpc-");
    let kept = parts.headers.iter().filter(|(name, _)| is_kept(name));
    let mut headers: HeaderMap = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    if let Some(timeout) = parts.headers.get(&TIMEOUT) {
        headers.insert(GRPC_TIMEOUT, grpc_timeout(timeout)?);
    }
    Ok(headers)
}

/// Converts a timeout: Connect has milliseconds of up to ten digits, gRPC up to eight digits and a unit.
fn grpc_timeout(timeout: &HeaderValue) -> Result<HeaderValue, RpcError> {
    let invalid = || RpcError::invalid("Connect-Timeout-Ms", "must be a whole number of at most ten digits");
    let digits = timeout.to_str().map_err(|_| invalid())?;
    if digits.is_empty() || digits.len() > 10 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid());
    }
    let millis: u64 = digits.parse().map_err(|_| invalid())?;
    let text = if millis < 100_000_000 { format!("{millis}m") } else { format!("{}S", millis / 1000) };
    HeaderValue::try_from(text).map_err(|_| invalid())
}

/// Returns the response of the door for the response of the service.
async fn answer(
    api: &Api,
    method: &ApiMethod,
    codec: Codec,
    response: http::Response<RpcBody>,
    session: &Session,
) -> Result<Response, Status> {
    let (parts, mut body) = response.into_parts();
    let mut charge = session.connection.budget.request();
    let (framed, trailers) = read(&mut body, &mut charge).await?;
    match trailers.or_else(|| Status::from_header_map(&parts.headers)) {
        Some(status) if status.code() != tonic::Code::Ok => return Err(status),
        Some(_) if framed.len() >= PREFIX_BYTES => {}
        _ => return Err(Status::internal("the call ended without a response")),
    }
    let mut message = Bytes::from(framed);
    message.advance(PREFIX_BYTES);
    let (content_type, bytes) = match codec {
        Codec::Proto => (PROTO, message),
        Codec::Json if message.len() > LARGE_BYTES => {
            let turn = timeout(api.request_timeout, api.large_responses.acquire()).await;
            let _turn = turn.map_err(|_elapsed| RpcError::DeadlineExceeded)?;
            (JSON, block_in_place(|| json_of(method, &message))?)
        }
        Codec::Json => (JSON, json_of(method, &message)?),
    };
    // The body of the service holds the turn of a page until the peer has read the response.
    let body = Held::new(Full::new(bytes), body);
    let body = ChargedBody::new(body, session.connection.budget.clone(), Counted::default()).charge_first();
    drop(charge);
    let mut response = Response::new(HttpBody::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    Ok(response)
}

/// Reads the body of a response of the service, and the status in its trailers.
///
/// The bytes are charged like those of a request: the peer cannot read them before the response of the door is made of
/// them, so they do not show that it reads nothing. They are never refused: the call may have changed something.
async fn read(body: &mut RpcBody, charge: &mut RequestCharge) -> Result<(Vec<u8>, Option<Status>), Status> {
    let mut framed = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data)? {
            Ok(piece) => {
                charge.hold(piece.len());
                framed.extend_from_slice(&piece);
            }
            // A raw method repeats its trailers for as long as it is polled.
            Err(frame) => return Ok((framed, frame.trailers_ref().and_then(Status::from_header_map))),
        }
    }
    Ok((framed, None))
}

fn json_of(method: &ApiMethod, message: &[u8]) -> Result<Bytes, Status> {
    let text = json::text_of(method.output.clone(), message);
    text.map(Bytes::from).map_err(|_| Status::internal("the response cannot be converted to JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::budget::ProcessBudget;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_response_that_waits_for_its_conversion_is_held_and_not_unread() {
        let process = ProcessBudget::new(1 << 30, false);
        let budget = process.connection(None);
        let made = Full::new(Bytes::from(vec![0; 100_000])).map_err(|never| match never {});
        let made = ChargedBody::new(made, budget.clone(), Counted::default()).charge_first();
        let (mut body, mut charge) = (RpcBody::new(made), budget.request());
        let (framed, _) = read(&mut body, &mut charge).await.unwrap();
        assert_eq!((framed.len(), process.held()), (100_000, 100_000));
        let waits = tokio::time::timeout(Duration::from_mins(5), budget.stalled());
        waits.await.expect_err("the peer is not cut");
        drop(charge);
        assert_eq!(process.held(), 0);
    }

    #[test]
    fn a_timeout_of_connect_becomes_one_of_grpc() {
        let converted = |text: &'static str| {
            grpc_timeout(&HeaderValue::from_static(text)).ok().map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(converted("0").as_deref(), Some("0m"));
        assert_eq!(converted("99999999").as_deref(), Some("99999999m"));
        assert_eq!(converted("9999999999").as_deref(), Some("9999999S"));
        for wrong in ["", "-1", "1.5", "+1", "1s", "10000000000"] {
            assert_eq!(converted(wrong), None, "{wrong}");
        }
    }
}
