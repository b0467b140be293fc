//! Thousands of connections that send nothing, or one byte after the other.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::attack::Attack;
use crate::frames::{self, frame};
use crate::peer::{ATTACKER, connect, one_of_many};
use crate::run::file_limit;
use crate::stage::Stage;

const CONNECTIONS: usize = 10_000;
/// Open files of the rig and of the server that are no connections of the attack.
const OTHER_FILES: usize = 400;
/// The pause before a connection that was closed is opened again.
const RECONNECT_DELAY: Duration = Duration::from_millis(500);
/// The pause between two bytes.
const BYTE_DELAY: Duration = Duration::from_secs(1);
/// How many connections are opened before a pause, so that the server's queue of connections is not what fails.
const BURST: usize = 100;
const BURST_DELAY: Duration = Duration::from_millis(10);

/// The bytes of a head that comes at once, a little less than the limit.
const HEAD_BYTES: usize = 15 * 1024;
const HALF_REQUEST: &[u8] = b"GET /livez HTTP/1.1\r\nhost: attacker.example\r\nx-slow: ";

pub(super) const IDLE_GRPC: Attack =
    Attack::new("idle-grpc", "10,000 idle connections to the gRPC port from one address", |stage| {
        grpc(stage, |_| ATTACKER, Behaviour::Silent)
    });

pub(super) const IDLE_GRPC_SPREAD: Attack =
    Attack::new("idle-grpc-spread", "10,000 idle connections to the gRPC port from 250 addresses", |stage| {
        grpc(stage, one_of_many, Behaviour::Silent)
    })
    .may_exclude_newcomers();

pub(super) const SLOW_GRPC: Attack =
    Attack::new("slow-grpc", "10,000 connections to the gRPC port that send the preface byte by byte", |stage| {
        grpc(stage, |_| ATTACKER, Behaviour::ByteByByte(frames::PREFACE.to_vec()))
    });

pub(super) const SLOW_FRAMES: Attack = Attack::new(
    "slow-frames",
    "10,000 connections that finish the preface and send a HEADERS frame byte by byte",
    |stage| grpc(stage, |_| ATTACKER, slow_frame()),
);

pub(super) const SLOW_FRAMES_SPREAD: Attack =
    Attack::new("slow-frames-spread", "the same from 250 addresses", |stage| grpc(stage, one_of_many, slow_frame()))
        .may_exclude_newcomers();

pub(super) const IDLE_DOOR: Attack =
    Attack::new("idle-door", "10,000 idle connections to the HTTP door from one address", |stage| {
        door(stage, |_| ATTACKER, Behaviour::Silent)
    });

pub(super) const SLOW_DOOR: Attack =
    Attack::new("slow-door", "10,000 connections to the HTTP door that send a head byte by byte", |stage| {
        door(stage, |_| ATTACKER, Behaviour::ByteByByte(HALF_REQUEST.to_vec()))
    });

pub(super) const SLOW_DOOR_SPREAD: Attack =
    Attack::new("slow-door-spread", "the same from 250 addresses, each with a head of almost 16 KiB", |stage| {
        let half = [HALF_REQUEST, &vec![b'x'; HEAD_BYTES]].concat();
        door(stage, one_of_many, Behaviour::ThenByteByByte(half, b"x".to_vec()))
    });

pub(super) const KEPT_DOOR: Attack = Attack::new(
    "kept-door",
    "10,000 connections to the HTTP door from 250 addresses that get the OpenAPI document and stay idle",
    |stage| door(stage, one_of_many, Behaviour::Once(b"GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n".to_vec())),
);

pub(super) const IDLE_OPERATIONS: Attack =
    Attack::new("idle-operations", "10,000 idle connections to the operations port from one address", |stage| {
        operations(stage, |_| ATTACKER, Behaviour::Silent)
    });

pub(super) const IDLE_OPERATIONS_SPREAD: Attack = Attack::new(
    "idle-operations-spread",
    "10,000 idle connections to the operations port from 250 addresses",
    |stage| operations(stage, one_of_many, Behaviour::Silent),
);

pub(super) const SLOW_OPERATIONS: Attack = Attack::new(
    "slow-operations",
    "10,000 connections to the operations port that send a request byte by byte",
    |stage| operations(stage, |_| ATTACKER, Behaviour::ByteByByte(HALF_REQUEST.to_vec())),
);

pub(super) const SLOW_OPERATIONS_SPREAD: Attack =
    Attack::new("slow-operations-spread", "the same from 250 addresses", |stage| {
        operations(stage, one_of_many, Behaviour::ByteByByte(HALF_REQUEST.to_vec()))
    });

fn slow_frame() -> Behaviour {
    let headers = frame(frames::HEADERS, frames::END_HEADERS, 1, &frames::call("/a", None));
    let settings = frame(frames::SETTINGS, 0, 0, &[]);
    Behaviour::ThenByteByByte([frames::PREFACE, &settings].concat(), headers)
}

fn grpc(stage: Arc<Stage>, from: fn(usize) -> IpAddr, behaviour: Behaviour) -> LocalBoxFuture<'static, Result<()>> {
    let to = stage.grpc;
    Box::pin(Swarm { stage, to, connections: CONNECTIONS, from, behaviour }.run())
}

fn door(stage: Arc<Stage>, from: fn(usize) -> IpAddr, behaviour: Behaviour) -> LocalBoxFuture<'static, Result<()>> {
    let to = stage.door;
    Box::pin(Swarm { stage, to, connections: CONNECTIONS, from, behaviour }.run())
}

fn operations(
    stage: Arc<Stage>,
    from: fn(usize) -> IpAddr,
    behaviour: Behaviour,
) -> LocalBoxFuture<'static, Result<()>> {
    let to = stage.http;
    Box::pin(Swarm { stage, to, connections: CONNECTIONS, from, behaviour }.run())
}

/// What a connection sends.
#[derive(Debug, Clone)]
pub(super) enum Behaviour {
    /// Nothing.
    Silent,
    /// These bytes, and then nothing.
    Once(Vec<u8>),
    /// These requests over and over, without reading a response.
    Unread(Vec<u8>),
    /// One byte after the other, and the last one over and over.
    ByteByByte(Vec<u8>),
    /// The first bytes at once, and the others as above.
    ThenByteByByte(Vec<u8>, Vec<u8>),
}

/// Connections that are opened again whenever the server closes them.
pub(super) struct Swarm {
    pub(super) stage: Arc<Stage>,
    pub(super) to: SocketAddr,
    pub(super) connections: usize,
    /// The address of a connection, by its number.
    pub(super) from: fn(usize) -> IpAddr,
    pub(super) behaviour: Behaviour,
}

impl Swarm {
    pub(super) async fn run(self) -> Result<()> {
        let count = self.connections.min(file_limit().saturating_sub(OTHER_FILES));
        if count < self.connections {
            self.stage.note(format!("only {count} connections: the limit of open files is lower"));
        }
        let (mut swarm, behaviour) = (JoinSet::new(), Arc::new(self.behaviour));
        for number in 0..count {
            let from = (self.from)(number);
            swarm.spawn(keep(Arc::clone(&self.stage), self.to, from, Arc::clone(&behaviour)));
            if number % BURST == BURST - 1 {
                sleep(BURST_DELAY).await;
            }
        }
        swarm.join_all().await;
        Ok(())
    }
}

/// Keeps one connection open.
async fn keep(stage: Arc<Stage>, to: SocketAddr, from: IpAddr, behaviour: Arc<Behaviour>) {
    loop {
        match connect(to, from).await {
            Ok(mut stream) => {
                let open = stage.effort.opened();
                let answer = until_closed(&mut stream, &behaviour).await;
                drop(open);
                stage.answers.count(answer);
            }
            Err(_refused) => stage.answers.count("no connection"),
        }
        sleep(RECONNECT_DELAY).await;
    }
}

/// Behaves until the server closes the connection; returns how it did.
async fn until_closed(stream: &mut TcpStream, behaviour: &Behaviour) -> &'static str {
    if let Behaviour::Unread(requests) = behaviour {
        // Once the buffers of both systems are full, this waits for ever, or until the server cuts the connection.
        while stream.write_all(requests).await.is_ok() {}
        return "closed without reading";
    }
    let (at_once, slowly): (&[u8], &[u8]) = match behaviour {
        Behaviour::Silent | Behaviour::Unread(_) => (&[], &[]),
        Behaviour::Once(bytes) => (bytes, &[]),
        Behaviour::ByteByByte(bytes) => (&[], bytes),
        Behaviour::ThenByteByByte(first, bytes) => (first, bytes),
    };
    if stream.write_all(at_once).await.is_err() {
        return "closed at once";
    }
    let (mut sent, mut buffer, mut has_answer) = (0, [0; 1024], false);
    loop {
        let pause = if slowly.is_empty() { Duration::from_mins(10) } else { BYTE_DELAY };
        match timeout(pause, stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) if has_answer => return "closed after an answer",
            Ok(Ok(0) | Err(_)) => return "closed without an answer",
            Ok(Ok(_)) => has_answer = true,
            Err(_elapsed) => {
                let byte = slowly.get(sent).or(slowly.last()).copied().unwrap_or_default();
                sent += 1;
                if stream.write_all(&[byte]).await.is_err() {
                    return "closed without an answer";
                }
            }
        }
    }
}
