//! `grpc.health.v1`, reflection, and the HTTP side port.

use key_authority_proto::v1::*;
use prost::Message as _;
use prost_types::FileDescriptorProto;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_reflection::pb::{v1 as reflection_v1, v1alpha as reflection_v1alpha};

use crate::api::questions::mistyped;
use crate::support::authority::{STORAGE, VERIFY};
use crate::support::expect::methods;
use crate::support::{Authority, http, in_time, on_every_database, on_sqlite};

async fn health_is_told_for_each_name(authority: Authority) {
    for name in ["", VERIFY, STORAGE] {
        assert_eq!(authority.health_of(name).await, ServingStatus::Serving, "{name:?}");
    }
    let unknown = HealthCheckRequest { service: "no.such.Service".into() };
    let status = authority.health().check(unknown.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let mut watch = authority.health().watch(unknown).await.unwrap().into_inner();
    let state = in_time("the first state", watch.message()).await.unwrap().unwrap();
    assert_eq!(state.status(), ServingStatus::ServiceUnknown);
}

async fn a_watcher_hears_of_the_end(mut authority: Authority) {
    let request = HealthCheckRequest { service: VERIFY.into() };
    let mut watch = authority.health().watch(request).await.unwrap().into_inner();
    let first = in_time("the first state", watch.message()).await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    authority.signal(rustix::process::Signal::TERM);
    let next = in_time("the next state", watch.message()).await.unwrap().expect("it is told before the stream ends");
    assert_eq!(next.status(), ServingStatus::NotServing);
    assert!(in_time("the end", watch.message()).await.is_ok_and(|state| state.is_none()), "the stream ends in order");
    assert!(authority.wait().await.success());
}

/// What reflection says to a question, in either version of its protocol: names of services, or encoded files.
macro_rules! reflect {
    ($authority:expr, $version:ident, $question:ident($text:expr)) => {{
        use $version::server_reflection_request::MessageRequest;
        use $version::server_reflection_response::MessageResponse;
        let mut client = $version::server_reflection_client::ServerReflectionClient::new($authority.channel());
        let message_request = Some(MessageRequest::$question($text.into()));
        let request = $version::ServerReflectionRequest { host: String::new(), message_request };
        let answers = client.server_reflection_info(tokio_stream::iter([request])).await.unwrap();
        let answer = in_time("an answer", answers.into_inner().message()).await.unwrap().unwrap();
        match answer.message_response.unwrap() {
            MessageResponse::ListServicesResponse(list) => {
                list.service.into_iter().map(|service| service.name.into_bytes()).collect::<Vec<_>>()
            }
            MessageResponse::FileDescriptorResponse(files) => files.file_descriptor_proto,
            other => panic!("{other:?}"),
        }
    }};
}

async fn reflection_tells_the_service_and_the_details_of_errors(authority: Authority) {
    let listed = [
        reflect!(authority, reflection_v1, ListServices("")),
        reflect!(authority, reflection_v1alpha, ListServices("")),
    ];
    for services in listed {
        for wanted in [VERIFY, "grpc.health.v1.Health"] {
            assert!(services.contains(&wanted.as_bytes().to_vec()), "{wanted} is listed");
        }
    }
    for symbol in [VERIFY, "google.rpc.ErrorInfo", "google.rpc.BadRequest"] {
        let files = [
            reflect!(authority, reflection_v1, FileContainingSymbol(symbol)),
            reflect!(authority, reflection_v1alpha, FileContainingSymbol(symbol)),
        ];
        for file in files {
            let file = FileDescriptorProto::decode(&file[0][..]).unwrap();
            let has = |names: Vec<&str>| names.iter().any(|name| symbol == format!("{}.{name}", file.package()));
            let messages = file.message_type.iter().map(prost_types::DescriptorProto::name).collect();
            assert!(
                has(messages) || has(file.service.iter().map(prost_types::ServiceDescriptorProto::name).collect()),
                "{symbol}"
            );
        }
    }
    let ours = reflect!(authority, reflection_v1, FileContainingSymbol(VERIFY));
    let ours = FileDescriptorProto::decode(&ours[0][..]).unwrap();
    let comments = ours.source_code_info.unwrap().location.into_iter().filter_map(|place| place.leading_comments);
    assert!(comments.count() > methods().len(), "with their comments, which grpcurl shows");
}

async fn the_side_port_tells_life_readiness_and_figures(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let key = client.key_in("acme").await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(http::get(authority.http(), path).await.0, 200, "{path}");
    }
    assert_eq!(http::get(authority.http(), "/nothing").await.0, 404);
    let count = async |verdict: &str| {
        let labels = [("verdict", verdict)];
        http::series(&authority.metrics().await, "keyauthority_verify_total", &labels).unwrap_or_default()
    };
    let before = (count("VALID").await, count("MALFORMED").await);
    for _ in 0..5 {
        assert_eq!(client.verdict(&key.token).await, Verdict::Valid);
    }
    assert_eq!(client.verdict(&mistyped(&key.token)).await, Verdict::Malformed);
    assert_eq!((count("VALID").await, count("MALFORMED").await), (before.0 + 5.0, before.1 + 1.0));

    client.get_key(GetKeyRequest { key_id: "nothing".into() }).await.unwrap_err();
    let metrics = authority.metrics().await;
    let calls = |method: &str, code: &str| {
        let labels = [("grpc_service", VERIFY), ("grpc_method", method), ("grpc_code", code)];
        http::series(&metrics, "grpc_server_handled_total", &labels)
    };
    assert_eq!(calls("Verify", "OK"), Some(6.0));
    assert_eq!(calls("GetKey", "NotFound"), Some(1.0));
    assert!(http::series(&metrics, "grpc_server_started_total", &[("grpc_method", "Verify")]).is_some());
    assert!(metrics.contains("grpc_server_handling_seconds_bucket"));
    // Bounded labels, whatever callers say.
    assert!(!metrics.contains(&key.id()) && !metrics.contains("acme"), "never an ID as a label");
}

on_every_database! {
    health_is_told_for_each_name,
    a_watcher_hears_of_the_end,
    the_side_port_tells_life_readiness_and_figures,
}

mod reflection {
    use super::*;
    on_sqlite! { reflection_tells_the_service_and_the_details_of_errors }
}
