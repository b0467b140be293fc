//! Traces: the standard variables say whether, where to and how they are exported.

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Uri};
use key_authority_proto::v1::*;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::support::process::{program, run};
use crate::support::{Authority, Database, Setup, eventually, in_time, on_sqlite};

const SPAN: &[u8] = b"keyauthority.v1.KeyAuthority/ListAccounts";

/// What a collector received in one request.
struct Export {
    path: String,
    content_type: String,
    body: Bytes,
}

/// A collector that takes everything which is sent to it over HTTP.
struct Collector {
    endpoint: String,
    exports: mpsc::UnboundedReceiver<Export>,
    _server: AbortOnDropHandle<()>,
}

impl Collector {
    async fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", socket.local_addr().unwrap());
        let (sender, exports) = mpsc::unbounded_channel();
        let take = move |uri: Uri, headers: HeaderMap, body: Bytes| {
            let content_type = headers["content-type"].to_str().unwrap().to_owned();
            let _ = sender.send(Export { path: uri.path().to_owned(), content_type, body });
            std::future::ready(())
        };
        let router = Router::new().fallback(take);
        let server = AbortOnDropHandle::new(tokio::spawn(async { axum::serve(socket, router).await.unwrap() }));
        Self { endpoint, exports, _server: server }
    }
}

/// A server with these variables, which exports soon.
async fn traced(database: Database, variables: &[String]) -> Authority {
    let mut words = vec!["env", "OTEL_BSP_SCHEDULE_DELAY=100"];
    words.extend(variables.iter().map(String::as_str));
    Setup::on(database).under(&words).start().await
}

async fn call(authority: &Authority) {
    authority.client().list_accounts(ListAccountsRequest::default()).await.unwrap();
}

async fn traces_are_exported_over_http_if_the_variables_say_so(database: Database) {
    for (variable, suffix, path) in
        [("OTEL_EXPORTER_OTLP_ENDPOINT", "/", "/v1/traces"), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "/mine", "/mine")]
    {
        let mut collector = Collector::start().await;
        let endpoint = format!("{variable}={}{suffix}", collector.endpoint);
        let protocol = "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf".to_owned();
        let authority = traced(database, &[endpoint, protocol]).await;
        call(&authority).await;
        let has_span = |export: &Export| export.body.windows(SPAN.len()).any(|window| window == SPAN);
        loop {
            let export = in_time("an export", collector.exports.recv()).await.unwrap();
            assert_eq!((&*export.path, &*export.content_type), (path, "application/x-protobuf"));
            if has_span(&export) {
                break;
            }
        }
    }
}

async fn no_traces_are_exported_if_the_variables_say_so(database: Database) {
    for switch in ["OTEL_SDK_DISABLED=true", "OTEL_TRACES_EXPORTER=none", "OTEL_TRACES_SAMPLER=always_off"] {
        let mut collector = Collector::start().await;
        let endpoint = format!("OTEL_EXPORTER_OTLP_ENDPOINT={}", collector.endpoint);
        let protocol = "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf".to_owned();
        let mut authority = traced(database, &[endpoint, protocol, switch.to_owned()]).await;
        call(&authority).await;
        // The end exports what is left.
        assert!(authority.stop().await.success());
        assert!(collector.exports.try_recv().is_err(), "{switch}");
    }
}

async fn a_collector_that_is_away_is_logged(database: Database) {
    for protocol in ["grpc", "http/protobuf"] {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let variables = [
            format!("OTEL_EXPORTER_OTLP_ENDPOINT=http://{free}"),
            format!("OTEL_EXPORTER_OTLP_PROTOCOL={protocol}"),
            "OTEL_EXPORTER_OTLP_TIMEOUT=500".to_owned(),
        ];
        let authority = traced(database, &variables).await;
        call(&authority).await;
        let logged = async || {
            authority
                .output()
                .lines()
                .find(|line| line.contains("cannot export spans; they are lost"))
                .map(str::to_owned)
        };
        let line = eventually("the failure is logged", logged).await;
        assert!(line.contains("WARN") && line.contains(r#""lost":"#), "{line}");
    }
}

async fn what_is_not_supported_is_refused_by_name(_database: Database) {
    let collector = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");
    for (name, value) in [
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
    ] {
        for subcommand in ["serve", "check-config"] {
            let mut command = program();
            command.args([subcommand, "--listen", "nowhere"]).envs([collector, (name, value)]);
            let text = run(command).await.badly().text();
            assert!(text.contains(name) && text.contains(value) && text.contains("--listen"), "{text}");
        }
    }
}

on_sqlite! {
    traces_are_exported_over_http_if_the_variables_say_so,
    no_traces_are_exported_if_the_variables_say_so,
    a_collector_that_is_away_is_logged,
    what_is_not_supported_is_refused_by_name,
}
