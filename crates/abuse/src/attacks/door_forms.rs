//! Forms of the console whose rest never comes, by strangers.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use crate::attack::{Attack, hold};
use crate::attacks::slow_connections::{Behaviour, Swarm};
use crate::peer::{ATTACKER, Peer, one_of_many, send_all};
use crate::sign_in::SignIn;
use crate::stage::Stage;

/// The connections of HTTP/1.1.
const CONNECTIONS: usize = 2_000;
/// The connections of HTTP/2, and the streams of each.
const STREAM_CONNECTIONS: usize = 8;
const STREAM_COUNT: usize = 990;
/// What a form announces, and what comes of it: a little less than strangers may send.
const ANNOUNCED: usize = 60_000;
const SENT: usize = 59_000;
/// The forms that a stranger may begin elsewhere are smaller.
const SENT_ELSEWHERE: usize = 16_000;

pub(super) const HTTP1: Attack = Attack::new(
    "door-forms",
    "2,000 connections from one address with a sign-in form that ends after 59 of 60 KB, by HTTP/1.1",
    |stage| http1(stage, |_| ATTACKER),
);

pub(super) const HTTP1_SPREAD: Attack =
    Attack::new("door-forms-spread", "the same from 250 addresses", |stage| http1(stage, one_of_many));

pub(super) const STREAMS: Attack = Attack::new(
    "door-forms-streams",
    "8 × 990 forms of the console that do not end, by HTTP/2, with and without a session",
    |stage| {
        Box::pin(async move {
            let connections = (0..STREAM_CONNECTIONS).map(|number| streams(&stage, number));
            futures_util::future::try_join_all(connections).await.map(drop)
        })
    },
);

fn http1(stage: Arc<Stage>, from: fn(usize) -> IpAddr) -> LocalBoxFuture<'static, Result<()>> {
    Box::pin(async move {
        let head = SignIn::open(&stage, ATTACKER).await?.head();
        let mut bytes = format!("{head}\r\nhost: a\r\ncontent-length: {ANNOUNCED}\r\n\r\n").into_bytes();
        bytes.resize(bytes.len() + SENT, b'a');
        let to = stage.door;
        Swarm { stage, to, connections: CONNECTIONS, from, behaviour: Behaviour::Once(bytes) }.run().await
    })
}

async fn streams(stage: &Stage, number: usize) -> Result<()> {
    let cookie = SignIn::open(stage, ATTACKER).await?.cookie;
    let form = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("sec-fetch-site", "same-origin"),
        ("cookie", cookie.as_str()),
    ];
    // Without a session, the form would be kept until after the sign-in.
    let (path, sent) =
        if number.is_multiple_of(2) { ("/console/sign-in", SENT) } else { ("/console/create-account", SENT_ELSEWHERE) };
    let part = Bytes::from(vec![b'a'; sent]);
    let (mut peer, mut held) = (Peer::open_door(stage, ATTACKER, 65_535, &form).await?, Vec::new());
    for _ in 0..STREAM_COUNT {
        let Ok((mut sender, answer)) = peer.call(path).await else { break };
        tokio::spawn(answer.count());
        // A stream that the server has ended takes no more data.
        let _ = send_all(&mut sender, part.clone()).await;
        held.push(sender);
    }
    hold().await
}
