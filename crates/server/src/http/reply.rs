//! Responses with a JSON body.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tonic::Code;

/// The time after which a client should repeat a request that an outage has failed, in seconds: a lost lease or
/// database connection is often back within a second.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Returns the HTTP status for a gRPC status code, as the Connect protocol defines it.
pub(crate) fn status_of(code: Code) -> StatusCode {
    let status = match code {
        Code::Cancelled => 499,
        Code::InvalidArgument | Code::FailedPrecondition => 400,
        Code::DeadlineExceeded => 504,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::PermissionDenied => 403,
        Code::ResourceExhausted => 429,
        // Connect has 400. Here it has one cause only: a message that is too large.
        Code::OutOfRange => 413,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::Unauthenticated => 401,
        // A call without an error is answered elsewhere.
        Code::Internal | Code::DataLoss | Code::Unknown | Code::Ok => 500,
    };
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Returns a response with a JSON body.
pub(super) fn reply(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}

/// Returns the response to a request that is rejected before it is a call. `code` is the name of a gRPC status code, as
/// in the errors of calls.
pub(super) fn rejected(status: StatusCode, code: &str, message: &str) -> Response {
    reply(status, &json!({ "code": code, "message": message }))
}

/// Returns the response to a path that the door does not have.
pub(super) async fn not_found() -> Response {
    rejected(StatusCode::NOT_FOUND, "not_found", "there is no such path; GET /openapi.json lists the API")
}

/// Returns the response to a method that the path does not have; the router adds `Allow`.
pub(super) async fn method_not_allowed() -> Response {
    let message = "the path does not support this method; see the header Allow";
    rejected(StatusCode::METHOD_NOT_ALLOWED, "unimplemented", message)
}
