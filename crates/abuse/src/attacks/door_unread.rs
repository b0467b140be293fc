//! Responses of the HTTP door that are never read: of documents and pages by strangers, of lists by a caller.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use tokio::time::timeout;

use crate::attack::{Attack, hold};
use crate::attacks::slow_connections::{Behaviour, Swarm};
use crate::attacks::unread_answers::large_keys;
use crate::grpc;
use crate::peer::{ATTACKER, Peer, one_of_many, send_all};
use crate::stage::{Stage, TENANT_ACCOUNT};

/// The connections of HTTP/1.1, each with requests without an end.
const HTTP1_CONNECTIONS: usize = 1_000;
/// The connections of strangers, and the streams of each.
const CONNECTIONS: usize = 32;
const STREAMS: usize = 100;
/// The connections of strangers that send bodies. The documents of each are more than it may leave unread.
const BODY_CONNECTIONS: usize = 200;
const DOCUMENTS: usize = 8;
/// Lists on the one connection of a caller.
const LISTS: usize = 300;

/// The forms of a connection that does not read, and their size. A window of HTTP/2 lets one through, that of the
/// connection four.
const FORMS: usize = 8;
const FORM_BYTES: usize = 250_000;
/// How long a form may wait for a window.
const FORM_TIME: Duration = Duration::from_millis(200);

/// What a stranger may get. The answers to the first ones have a fixed length, the others are compressed.
const PATHS: [&str; 4] =
    ["/openapi.json", "/console/assets/style.css", "/console/assets/htmx.min.js", "/console/sign-in"];

pub(super) const HTTP1: Attack = Attack::new(
    "door-unread",
    "1,000 connections from 250 addresses that ask for the OpenAPI document by HTTP/1.1 and read nothing",
    |stage| {
        let requests = b"GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(100);
        let (to, behaviour) = (stage.door, Behaviour::Unread(requests));
        Box::pin(Swarm { stage, to, connections: HTTP1_CONNECTIONS, from: one_of_many, behaviour }.run())
    },
);

pub(super) const STRANGERS: Attack = Attack::new(
    "door-unread-streams",
    "32 × 100 documents and pages, compressed, by HTTP/2 with window 0, no token",
    |stage| {
        Box::pin(async move {
            let connections = (0..CONNECTIONS).map(|_| stranger(&stage));
            futures_util::future::try_join_all(connections).await.map(drop)
        })
    },
);

pub(super) const BODIES: Attack = Attack::new(
    "door-unread-bodies",
    "200 × 8 documents by HTTP/2 with window 0, then 8 forms of 250 KB on each connection, no token",
    |stage| {
        Box::pin(async move {
            let connections = (0..BODY_CONNECTIONS).map(|_| bodies(&stage));
            futures_util::future::try_join_all(connections).await.map(drop)
        })
    },
);

pub(super) const PAGES_0: Attack = Attack::new(
    "door-list-unread-0",
    "one tenant's caller, 300 ListKeys of 120 large keys as JSON, window 0",
    |stage| lists(stage, 0),
)
.prepared_by(large_keys);

pub(super) const PAGES_1: Attack =
    Attack::new("door-list-unread-1", "the same with window 1", |stage| lists(stage, 1)).prepared_by(large_keys);

async fn stranger(stage: &Stage) -> Result<()> {
    // As a browser asks: pages are compressed for their own visitor alone.
    let headers = [("accept-encoding", "gzip"), ("sec-fetch-site", "same-origin")];
    let (mut peer, mut held) = (Peer::open_door(stage, ATTACKER, 0, &headers).await?, Vec::new());
    for path in PATHS.iter().cycle().take(STREAMS) {
        match peer.get(path).await {
            Ok(stream) => held.push(stream),
            // The answers count why.
            Err(_refused) => break,
        }
    }
    hold().await
}

/// A connection whose responses are not read, with requests that wait until they are.
async fn bodies(stage: &Stage) -> Result<()> {
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "same-origin")];
    let (mut peer, mut held) = (Peer::open_door(stage, ATTACKER, 0, &headers).await?, Vec::new());
    for _ in 0..DOCUMENTS {
        let Ok(stream) = peer.get("/openapi.json").await else { break };
        held.push(stream);
    }
    let part = Bytes::from(vec![b'a'; FORM_BYTES]);
    for _ in 0..FORMS {
        let Ok((mut sender, answer)) = peer.call("/console/sign-in").await else { break };
        tokio::spawn(answer.count());
        // As much as the windows of HTTP/2 allow; the rest waits for them.
        let _ = timeout(FORM_TIME, send_all(&mut sender, part.clone())).await;
        held.push(sender);
    }
    hold().await
}

fn lists(stage: Arc<Stage>, window: u32) -> LocalBoxFuture<'static, Result<()>> {
    Box::pin(async move {
        let bearer = format!("Bearer {}", stage.tenant);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let (mut peer, mut held) = (Peer::open_door(&stage, ATTACKER, window, &headers).await?, Vec::new());
        let request = Bytes::from(format!(r#"{{"account": "{TENANT_ACCOUNT}", "pageSize": 1000}}"#));
        for _ in 0..LISTS {
            match peer.send(&grpc::path("ListKeys"), request.clone(), true).await {
                Ok(stream) => held.push(stream),
                Err(_refused) => break,
            }
        }
        hold().await
    })
}
