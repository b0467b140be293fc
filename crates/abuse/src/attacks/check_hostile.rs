//! Questions of a proxy (`ext_authz`) whose headers a hostile client chose. No byte may turn the call into an error.

use anyhow::Result;
use key_authority_proto::ext_authz::attribute_context::{HttpRequest, Request};
use key_authority_proto::ext_authz::{
    AttributeContext, CheckRequest, CheckResponse, HeaderMap, HeaderValue, check_response,
};
use prost::Message as _;

use crate::attack::Attack;
use crate::grpc::{self, CHECK};
use crate::peer::{Peer, send_all};
use crate::stage::Stage;

const ROUNDS: usize = 10;

pub(super) const ATTACK: Attack = Attack::new(
    "check-hostile-headers",
    "Envoy's Check with huge headers, control characters, 10,000 headers, many credentials",
    |stage| Box::pin(async move { run(&stage).await }),
)
.finite();

async fn run(stage: &Stage) -> Result<()> {
    let mut peer = Peer::open(stage, 1 << 20, Some(&stage.verifier)).await?;
    for _ in 0..ROUNDS {
        for (name, headers) in hostile(stage) {
            let request = question(&headers);
            let (mut sender, answer) = peer.call(CHECK).await?;
            send_all(&mut sender, grpc::frame(&request)).await?;
            sender.send_data(bytes::Bytes::new(), true)?;
            let (status, body) = answer.read().await;
            if status != "OK" {
                stage.broken(format!("Check with {name} was answered with {status}"));
                continue;
            }
            let response = CheckResponse::decode(body.get(5..).unwrap_or_default())?;
            if let Some(check_response::HttpResponse::OkResponse(_)) = response.http_response {
                stage.broken(format!("Check with {name} was let pass"));
            }
        }
    }
    Ok(())
}

type Headers = Vec<(String, Vec<u8>)>;

/// Headers, each kind with its name. None has a valid credential alone.
fn hostile(stage: &Stage) -> Vec<(&'static str, Headers)> {
    let one = |name: &str, value: &[u8]| vec![(name.to_owned(), value.to_vec())];
    let bearer = format!("Bearer {}", stage.good);
    let other = stage.victims.last().map(|victim| format!("Bearer {}", victim.token)).unwrap_or_default();
    let every_byte: Vec<u8> = (0..=255).collect();
    let log_line = "Bearer x\n2026-01-01T00:00:00Z ERROR forged\u{202e}";
    vec![
        ("one header of 3 MiB", one("x-huge", &vec![b'x'; 3 * 1024 * 1024])),
        ("a credential of 3 MiB", one("authorization", &vec![b'x'; 3 * 1024 * 1024])),
        ("10,000 headers", (0..10_000).map(|number| (format!("x-{number}"), b"value".to_vec())).collect()),
        ("10,000 credentials", vec![("authorization".to_owned(), b"Bearer x".to_vec()); 10_000]),
        ("two valid tokens", [&bearer, &other].map(|value| ("authorization".to_owned(), value.clone().into())).into()),
        ("every byte", one("authorization", &every_byte)),
        ("a line break", one("authorization", log_line.as_bytes())),
        ("an empty name", one("", b"value")),
        ("names with control characters", one("auth\0orization\r\n", bearer.as_bytes())),
        ("a name of 1 MiB", one(&"n".repeat(1024 * 1024), b"value")),
        ("headers of the authority", one("x-key-id", b"root")),
        ("an empty credential", one("authorization", b"")),
        ("spaces", one("authorization", &vec![b' '; 100_000])),
    ]
}

fn question(headers: &Headers) -> CheckRequest {
    let listed = headers.iter().map(|(name, value)| HeaderValue {
        key: name.clone(),
        raw_value: value.clone(),
        ..HeaderValue::default()
    });
    let http = HttpRequest {
        path: b"/\0\n?authorization=x".to_vec(),
        header_map: Some(HeaderMap { headers: listed.collect() }),
        ..HttpRequest::default()
    };
    let request = Some(Request { http: Some(http) });
    CheckRequest { attributes: Some(AttributeContext { request, ..AttributeContext::default() }) }
}
