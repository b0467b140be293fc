//! Line breaks, escape sequences and bidi characters in everything that a peer chooses and a log may show.

use std::time::Duration;

use anyhow::{Context as _, Result};
use key_authority_proto::v1;

use crate::answers::of_status;
use crate::attack::Attack;
use crate::client::{Client, OPERATOR, client};
use crate::frames::{self, frame, literal};
use crate::grpc::{self, WATCH};
use crate::peer::Peer;
use crate::raw::RawPeer;
use crate::stage::{Stage, TENANT_ACCOUNT};

/// The beginning of a line that only an attacker writes.
const FORGED: &str = "2026-01-01T00:00:00.000000Z ERROR forged";
/// How long the log may take to be written.
const LOG_DELAY: Duration = Duration::from_secs(1);

pub(super) const TEXT: Attack = Attack::new(
    "log-injection",
    "control and bidi characters in headers, IDs, names and request IDs; the log must keep one line per event",
    |stage| Box::pin(async move { run(&stage, false).await }),
)
.finite()
.server_arguments(&["--log", "info,key_authority_server=debug"]);

pub(super) const JSON: Attack =
    Attack::new("log-injection-json", "the same with --log-format json; each line must be one JSON object", |stage| {
        Box::pin(async move { run(&stage, true).await })
    })
    .finite()
    .server_arguments(&["--log", "info,key_authority_server=debug", "--log-format", "json"]);

/// What an attacker writes wherever it can.
fn payloads() -> Vec<String> {
    vec![
        format!("a\n{FORGED}"),
        format!("a\r\n{FORGED}"),
        "a\u{1b}[2J\u{1b}[31mred".to_owned(),
        "a\u{202e}desrever\u{2066}\u{2069}\u{200f}".to_owned(),
        format!("a\u{85}{FORGED}\u{2028}{FORGED}"),
        "a\0b\u{7}\u{8}\u{7f}\u{9b}31m".to_owned(),
        "a\" level=\"ERROR\" message=\"forged\" {\"level\":\"ERROR\"}".to_owned(),
    ]
}

async fn run(stage: &Stage, is_json: bool) -> Result<()> {
    for payload in payloads() {
        headers(stage, payload.as_bytes()).await?;
        let root = client(stage, &stage.root, OPERATOR)?;
        messages(stage, &root, &payload).await;
        let mut peer = Peer::open(stage, 65_535, None).await?;
        peer.send(WATCH, grpc::frame_bytes(&grpc::field(1, payload.as_bytes())), true).await?;
    }
    tokio::time::sleep(LOG_DELAY).await;
    let log = std::fs::read(&stage.log).context("cannot read the log")?;
    check(stage, &log, is_json);
    Ok(())
}

/// Sends header values that no library would send.
async fn headers(stage: &Stage, payload: &[u8]) -> Result<()> {
    for name in ["user-agent", "authorization", "grpc-timeout", "traceparent", "x-request-id", "content-type"] {
        let path =
            format!("/keyauthority.v1.KeyAuthority/{}", if name == "user-agent" { "ListKeys" } else { "Verify" });
        let mut block = frames::call(&path, None);
        block.extend(literal(name.as_bytes(), payload));
        exchange(stage, &block).await?;
    }
    let mut path = b"/keyauthority.v1.KeyAuthority/".to_vec();
    path.extend_from_slice(payload);
    // `:method POST`, `:scheme http`
    let block = [vec![0x83, 0x86], literal(b":path", &path), literal(b":authority", payload)].concat();
    exchange(stage, &block).await
}

/// Sends one call over a connection of its own, since the server may close it.
async fn exchange(stage: &Stage, block: &[u8]) -> Result<()> {
    let mut peer = RawPeer::open(stage, true).await?;
    let flags = frames::END_HEADERS;
    let _ = peer.send(&frame(frames::HEADERS, flags, 1, block)).await;
    let _ = peer.send(&frame(frames::DATA, frames::END_STREAM, 1, &grpc::frame_bytes(&[]))).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok(())
}

/// Sends the payload in the fields of messages.
async fn messages(stage: &Stage, root: &Client, payload: &str) {
    let text = || payload.to_owned();
    let key = v1::CreateKeyRequest { account: TENANT_ACCOUNT.into(), ..Default::default() };
    let requests = [
        v1::CreateKeyRequest { request_id: text(), ..key.clone() },
        v1::CreateKeyRequest { display_name: text(), ..key.clone() },
        v1::CreateKeyRequest { description: text(), ..key.clone() },
        v1::CreateKeyRequest { key_id: text(), ..key.clone() },
        v1::CreateKeyRequest { account: text(), ..key.clone() },
        v1::CreateKeyRequest { scopes: vec![text()], ..key.clone() },
        v1::CreateKeyRequest { labels: [("name".to_owned(), text())].into(), ..key.clone() },
        v1::CreateKeyRequest { allowed_networks: vec![text()], ..key },
    ];
    for request in requests {
        count(stage, root.clone().create_key(request).await);
    }
    let key_id = stage.victims.last().map(|victim| victim.id.clone()).unwrap_or_default();
    let disable = v1::DisableKeyRequest { key_id: key_id.clone(), request_id: text() };
    count(stage, root.clone().disable_key(disable).await);
    let revoke = v1::RevokeKeyRequest { key_id, reason: text(), request_id: String::new() };
    count(stage, root.clone().revoke_key(revoke).await);
    count(stage, root.clone().get_key(v1::GetKeyRequest { key_id: text() }).await);
    let question = v1::VerifyRequest {
        client_ip: text(),
        project: text(),
        account: text(),
        key_id: text(),
        scopes: vec![text()],
        ..grpc::verify(payload)
    };
    count(stage, root.clone().verify(question).await);
}

fn count<T>(stage: &Stage, outcome: Result<T, tonic::Status>) {
    stage.answers.count(outcome.map_or_else(|status| of_status(&status), |_| "OK".to_owned()));
}

/// Checks that every line is one event, and has no character that a terminal or a reader takes for something else.
fn check(stage: &Stage, log: &[u8], is_json: bool) {
    let text = String::from_utf8_lossy(log);
    let lines = text.split_terminator('\n');
    stage.note(format!("{} lines of log", lines.clone().count()));
    for line in lines {
        let problem = if line.starts_with(FORGED) {
            "is forged"
        } else if line.chars().any(is_deceptive) {
            "has a control or bidi character"
        } else if is_json && serde_json::from_str::<serde_json::Map<_, _>>(line).is_err() {
            "is no JSON object"
        } else if !is_json && !line.starts_with(|first: char| first.is_ascii_digit()) {
            "has no time"
        } else {
            continue;
        };
        stage.broken(format!("a line of the log {problem}: {}", line.escape_debug()));
        return;
    }
}

fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
