//! Calls by the Connect protocol: every unary RPC, with the same outcome as by gRPC.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bytes::Bytes;
use key_authority_proto::FILE_DESCRIPTOR_SET;
use key_authority_proto::v1::*;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::pb::ErrorInfo;

use super::{JSON, call, failed, path, root_call};
use crate::support::http::{Answer, request, send, send_http2};
use crate::support::{Authority, Database, Setup, on_sqlite};

/// The methods of the descriptor set, and whether they have streams.
pub(super) fn methods() -> Vec<(String, bool)> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let services = set.file.iter().filter(|file| file.package() == "keyauthority.v1").flat_map(|file| &file.service);
    let methods = services.flat_map(|service| &service.method);
    methods.map(|method| (method.name().to_owned(), method.client_streaming() || method.server_streaming())).collect()
}

/// The status of a call by gRPC with an empty message, and its response.
async fn by_grpc(authority: &Authority, method: &str, bearer: &str) -> (Status, Bytes) {
    let headers = [("content-type", "application/grpc"), ("te", "trailers"), ("authorization", bearer)];
    let request = request("POST", &path(method), &headers, vec![0; 5]);
    let answer = send_http2(authority.grpc(), request).await;
    let status = Status::from_header_map(&answer.headers).or_else(|| Status::from_header_map(&answer.trailers));
    (status.expect("a status"), answer.body.slice(answer.body.len().min(5)..))
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::InvalidArgument => "invalid_argument",
        Code::NotFound => "not_found",
        Code::FailedPrecondition => "failed_precondition",
        Code::PermissionDenied => "permission_denied",
        Code::Unauthenticated => "unauthenticated",
        code => panic!("{code:?}: give it a name here"),
    }
}

async fn every_unary_rpc_has_the_same_outcome_as_by_grpc(authority: Authority) {
    let root = format!("Bearer {}", authority.root_token());
    let mut unary = 0;
    for (method, is_streaming) in methods() {
        for bearer in [root.as_str(), "Bearer unknown"] {
            let authorization = ("authorization", bearer);
            let json = send(authority.api(), request("POST", &path(&method), &[JSON, authorization], "{}")).await;
            if is_streaming {
                assert_eq!((json.status, &json.json()["code"]), (501, &json!("unimplemented")), "{method}");
                continue;
            }
            unary += 1;
            let proto = ("content-type", "application/proto");
            let proto = request("POST", &path(&method), &[proto, authorization], "");
            let proto = send_http2(authority.api(), proto).await;
            let (status, message) = by_grpc(&authority, &method, bearer).await;
            if status.code() == Code::Ok {
                assert_eq!((json.status, json.header("content-type")), (200, Some("application/json")), "{method}");
                assert_eq!((proto.status, proto.header("content-type")), (200, Some("application/proto")), "{method}");
                assert_eq!(json.header("cache-control"), Some("no-store"), "{method}");
                assert!(json.json().is_object(), "{method}");
                // Times and revisions go on between the calls.
                assert_eq!(proto.body.is_empty(), message.is_empty(), "{method}");
            } else {
                for answer in [&json, &proto] {
                    assert_eq!(answer.json()["code"], code_name(status.code()), "{method}: {answer:?}");
                    assert_eq!(answer.json()["message"], status.message(), "{method}");
                    assert_eq!(details(answer), status.details(), "{method}");
                }
            }
        }
    }
    assert!(unary > 40, "{unary}");
}

/// The details of an answer as gRPC has them.
fn details(answer: &Answer) -> Vec<u8> {
    let body = answer.json();
    let code = match body["code"].as_str().unwrap() {
        "invalid_argument" => Code::InvalidArgument,
        "not_found" => Code::NotFound,
        "failed_precondition" => Code::FailedPrecondition,
        "permission_denied" => Code::PermissionDenied,
        "unauthenticated" => Code::Unauthenticated,
        code => panic!("{code}: give it a number here"),
    };
    let details = body["details"].as_array().unwrap().iter().map(|detail| prost_types::Any {
        type_url: format!("type.googleapis.com/{}", detail["type"].as_str().unwrap()),
        value: BASE64_STANDARD_NO_PAD.decode(detail["value"].as_str().unwrap()).unwrap(),
    });
    let message = body["message"].as_str().unwrap().to_owned();
    tonic_types::pb::Status { code: code as i32, message, details: details.collect() }.encode_to_vec()
}

async fn a_key_is_created_verified_and_revoked(authority: Authority) {
    let policy = json!({"account": {"id": "acme", "policy": {"maxKeys": 5}}});
    root_call(&authority, "CreateAccount", &policy).await;
    let scopes = json!({"account": "acme", "scopes": ["read"], "labels": {"team": "blue"}, "lifetime": "3600s"});
    let created = root_call(&authority, "CreateKey", &scopes).await;
    let (id, token) = (created["key"]["id"].as_str().unwrap(), created["token"].as_str().unwrap());
    assert_eq!(created["propagation"]["state"], "PROPAGATION_STATE_CONFIRMED");

    let question = json!({"token": token, "scopes": ["read", "write"]});
    let denied = root_call(&authority, "Verify", &question).await;
    assert_eq!((&denied["verdict"], &denied["missingScopes"]), (&json!("VERDICT_SCOPE_DENIED"), &json!(["write"])));
    let batch = json!({"requests": [{"token": token}, {"token": "nothing"}]});
    let batch = root_call(&authority, "BatchVerify", &batch).await;
    let verdicts = ["VERDICT_VALID", "VERDICT_MALFORMED"].map(|verdict| json!(verdict));
    assert_eq!(
        batch["responses"].as_array().unwrap().iter().map(|one| one["verdict"].clone()).collect::<Vec<_>>(),
        verdicts
    );

    // A change by HTTP is over when its call returns, for gRPC too.
    root_call(&authority, "RevokeKey", &json!({"keyId": id, "reason": "left"})).await;
    assert_eq!(authority.client().verdict(token).await, Verdict::Revoked);
    let filter = ListAuditEventsRequest { key_id: id.into(), ..ListAuditEventsRequest::default() };
    let actions: Vec<_> = authority.client().events(filter).await.iter().map(AuditEvent::action).collect();
    assert_eq!(actions, [Action::CreateKey, Action::RevokeKey]);
}

async fn errors_carry_the_same_details_for_machines_and_people(authority: Authority) {
    let (limited, _) = authority.new_caller(&["verify"], None).await;
    let answer = call(&authority, "GetKey", &limited.token, r#"{"keyId": "x"}"#).await;
    let body = failed(&answer, 403, "permission_denied", "PERMISSION_MISSING");
    let value = BASE64_STANDARD_NO_PAD.decode(body["details"][0]["value"].as_str().unwrap()).unwrap();
    let info = ErrorInfo::decode(value.as_slice()).unwrap();
    assert_eq!((info.reason.as_str(), info.metadata["permission"].as_str()), ("PERMISSION_MISSING", "keys.read"));

    let answer = call(&authority, "GetKey", &authority.root_token(), r#"{"keyId": "x"}"#).await;
    failed(&answer, 404, "not_found", "KEY_NOT_FOUND");
    let answer = call(&authority, "GetKey", "unknown", r#"{"keyId": "x"}"#).await;
    failed(&answer, 401, "unauthenticated", "CALLER_UNKNOWN");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"keyauthority\""));
    let answer = send(authority.api(), request("POST", &path("GetKey"), &[JSON], "{}")).await;
    failed(&answer, 401, "unauthenticated", "CALLER_UNKNOWN");
}

async fn both_versions_of_http_keep_their_connections(authority: Authority) {
    let bearer = format!("Bearer {}", authority.root_token());
    let headers = [JSON, ("authorization", bearer.as_str()), ("connect-protocol-version", "1")];
    for answer in [
        send(authority.api(), request("POST", &path("GetAuthorityStatus"), &headers, "{}")).await,
        send_http2(authority.api(), request("POST", &path("GetAuthorityStatus"), &headers, "{}")).await,
    ] {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.header("date").is_some() && answer.header("connection").is_none(), "{answer:?}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
}

async fn calls_are_counted_as_those_of_grpc_and_by_route(authority: Authority) {
    let counted = async |name: &str, labels: &[(&str, &str)]| {
        crate::support::http::series(&authority.metrics().await, name, labels).unwrap_or_default()
    };
    let valid = async || counted("keyauthority_verify_total", &[("verdict", "MALFORMED")]).await;
    let before = valid().await;
    root_call(&authority, "Verify", &json!({"token": "nothing"})).await;
    send(authority.api(), request("GET", "/nowhere", &[], "")).await;
    assert!(valid().await > before, "a decision by HTTP counts as a verdict");
    let labels = [("grpc_method", "Verify"), ("grpc_code", "OK")];
    assert!(counted("grpc_server_handled_total", &labels).await >= 1.0);
    let name = "http_server_request_duration_seconds_count";
    let route = path("{method}");
    let labels =
        [("http_route", route.as_str()), ("http_request_method", "POST"), ("http_response_status_code", "200")];
    assert!(counted(name, &labels).await >= 1.0);
    let labels = [("http_route", "unknown"), ("http_request_method", "GET"), ("http_response_status_code", "404")];
    assert!(counted(name, &labels).await >= 1.0);
}

async fn without_an_address_there_is_no_door(database: Database) {
    let prepared = Setup::on(database).prepare().await;
    let mut command = crate::support::process::program();
    command.args(prepared.storage_flags()).args(["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
    command.env("KEY_AUTHORITY_API_LISTEN", "");
    let server = crate::support::process::Server::start(command, prepared.folder()).await;
    assert_eq!(server.api, "");
}

async fn a_body_of_many_empty_values_is_decoded_within_its_limits(authority: Authority) {
    // The text itself has a limit, and the message has a smaller one.
    for (count, message) in [(300_000, "at most 100000 fields"), (50_000, "requests must be at most 1000")] {
        let many = format!(r#"{{"requests": [{}{{}}]}}"#, "{},".repeat(count));
        let answer = call(&authority, "BatchVerify", &authority.root_token(), many).await;
        let body = failed(&answer, 400, "invalid_argument", "FIELD_INVALID");
        assert!(body["message"].as_str().unwrap().contains(message), "{body}");
    }
    let whole: Value = root_call(&authority, "GetAuthorityStatus", &json!({})).await;
    assert!(whole["replicas"].is_array(), "{whole}");
}

on_sqlite! {
    a_key_is_created_verified_and_revoked,
    every_unary_rpc_has_the_same_outcome_as_by_grpc,
    errors_carry_the_same_details_for_machines_and_people,
    both_versions_of_http_keep_their_connections,
    calls_are_counted_as_those_of_grpc_and_by_route,
    without_an_address_there_is_no_door,
    a_body_of_many_empty_values_is_decoded_within_its_limits,
}
