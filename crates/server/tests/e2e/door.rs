//! The HTTP door: the API by the Connect protocol, token introspection and revocation, decisions for proxies, and what is refused.

mod connect;
mod connections;
mod forward_auth;
mod input;
mod introspect;
mod openapi;
mod outages;
mod revoke;

use bytes::Bytes;
use serde_json::Value;
use url::form_urlencoded;

use crate::support::Authority;
use crate::support::http::{Answer, request, send};

const JSON: (&str, &str) = ("content-type", "application/json");

/// The path of a method of the API.
fn path(method: &str) -> String {
    format!("/keyauthority.v1.KeyAuthority/{method}")
}

/// Calls a method with a JSON text and a token.
async fn call(authority: &Authority, method: &str, token: &str, body: impl Into<Bytes>) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [JSON, ("authorization", bearer.as_str())];
    send(authority.api(), request("POST", &path(method), &headers, body)).await
}

/// Asks for the state of a token, with this `Authorization` and form.
async fn introspect(authority: &Authority, authorization: &str, form: &[(&str, &str)]) -> Answer {
    post_form(authority, "/introspect", authorization, form).await
}

/// Revokes the key of a token, with this `Authorization` and form.
async fn revoke(authority: &Authority, authorization: &str, form: &[(&str, &str)]) -> Answer {
    post_form(authority, "/revoke", authorization, form).await
}

async fn post_form(authority: &Authority, path: &str, authorization: &str, form: &[(&str, &str)]) -> Answer {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let form = ("content-type", "application/x-www-form-urlencoded");
    send(authority.api(), request("POST", path, &[form, ("authorization", authorization)], body)).await
}

/// Asks whether a visitor's request may pass, as a proxy with this token and query does.
async fn visit(authority: &Authority, caller: &str, query: &str, headers: &[(&str, &str)]) -> Answer {
    let caller = format!("Bearer {caller}");
    let headers = [&[("x-key-authority-caller", caller.as_str())], headers].concat();
    send(authority.api(), request("GET", &format!("/forward-auth{query}"), &headers, "")).await
}

/// Calls a method with the root token, which must succeed.
pub(crate) async fn root_call(authority: &Authority, method: &str, body: &Value) -> Value {
    let answer = call(authority, method, &authority.root_token(), body.to_string()).await;
    assert_eq!(answer.status, 200, "{method}: {answer:?}");
    answer.json()
}

/// Fails unless the answer is an error with this status, code and reason; returns its body.
#[track_caller]
fn failed(answer: &Answer, status: u16, code: &str, reason: &str) -> Value {
    let body = answer.json();
    assert_eq!((answer.status, body["code"].as_str()), (status, Some(code)), "{body}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let info = body["details"]
        .as_array()
        .and_then(|details| details.iter().find(|detail| detail["type"] == "google.rpc.ErrorInfo"));
    let info = info.unwrap_or_else(|| panic!("no ErrorInfo in {body}"));
    assert_eq!(info["debug"]["reason"], reason, "{body}");
    assert_eq!(info["debug"]["domain"], "keyauthority", "{body}");
    body
}
