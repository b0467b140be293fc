//! The errors of calls as Connect has them: the code and the message of the gRPC status, with the same details.

use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use http::{HeaderValue, header};
use key_authority_http_credential::Challenge;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::http::reply::{reply, status_of};
use crate::rpc::errors::ERROR_DOMAIN;

/// Returns the name of a code in Connect.
fn name_of(code: Code) -> &'static str {
    match code {
        Code::Cancelled => "canceled",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
        // A call without an error is answered elsewhere.
        Code::Unknown | Code::Ok => "unknown",
    }
}

/// Returns the response for a failed call. `pool` has the types of details.
pub(super) fn failed(status: &Status, pool: &DescriptorPool) -> Response {
    let mut body = json!({ "code": name_of(status.code()), "message": status.message() });
    let details = details(status, pool);
    if let (false, Some(fields)) = (details.is_empty(), body.as_object_mut()) {
        fields.insert("details".to_owned(), details.into());
    }
    let mut response = reply(status_of(status.code()), &body);
    if status.code() == Code::Unauthenticated {
        let challenge = Challenge { realm: Some(ERROR_DOMAIN), ..Challenge::default() }.to_string();
        if let Ok(challenge) = HeaderValue::try_from(challenge) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
    }
    response
}

fn details(status: &Status, pool: &DescriptorPool) -> Vec<Value> {
    let status = tonic_types::pb::Status::decode(status.details()).unwrap_or_default();
    let detail = |detail: &prost_types::Any| {
        let name = detail.type_url.rsplit('/').next().unwrap_or_default();
        let mut shown = json!({ "type": name, "value": BASE64_STANDARD_NO_PAD.encode(&detail.value) });
        // For people, who cannot read the encoded value.
        let debug = pool
            .get_message_by_name(name)
            .and_then(|message| DynamicMessage::decode(message, detail.value.as_slice()).ok())
            .and_then(|message| serde_json::to_value(&message).ok());
        if let (Some(debug), Some(fields)) = (debug, shown.as_object_mut()) {
            fields.insert("debug".to_owned(), debug);
        }
        shown
    };
    status.details.iter().map(detail).collect()
}
