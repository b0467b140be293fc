//! A TCP connection that sends frames of the attacker's choice.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::sleep;

use crate::answers::{Answers, code_of};
use crate::frames::{self, frame};
use crate::peer::{ATTACKER, connect};
use crate::stage::Stage;

/// The pause before a flood opens its next connection.
const RECONNECT_DELAY: Duration = Duration::from_millis(50);

/// A connection whose preface and settings are sent.
pub(crate) struct RawPeer {
    write: OwnedWriteHalf,
    /// Kept open and never read, if the attacker does not read.
    _unread: Option<OwnedReadHalf>,
}

impl RawPeer {
    pub(crate) async fn open(stage: &Stage, is_reading: bool) -> Result<Self> {
        Self::open_from(stage, ATTACKER, is_reading).await
    }

    async fn open_from(stage: &Stage, from: IpAddr, is_reading: bool) -> Result<Self> {
        let (read, mut write) = connect(stage.grpc, from).await?.into_split();
        let settings = frame(frames::SETTINGS, 0, 0, &[]);
        write.write_all(&[frames::PREFACE, &settings].concat()).await?;
        let answers = stage.answers.clone();
        let unread = if is_reading {
            tokio::spawn(count_answers(read, answers));
            None
        } else {
            Some(read)
        };
        Ok(Self { write, _unread: unread })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.write.write_all(bytes).await
    }
}

/// Reads frames until the connection ends. Counts those that say how the server takes the attack.
async fn count_answers(read: OwnedReadHalf, answers: Answers) {
    let mut read = BufReader::new(read);
    let mut payload = Vec::new();
    let ended = loop {
        let mut header = [0; frames::HEADER];
        if let Err(error) = read.read_exact(&mut header).await {
            break error;
        }
        let [a, b, c, kind, flags, ..] = header;
        payload.resize(usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or_default(), 0);
        if let Err(error) = read.read_exact(&mut payload).await {
            break error;
        }
        let code = |from: usize| {
            let bytes = payload.get(from..from + 4).and_then(|bytes| bytes.try_into().ok());
            code_of(bytes.map_or(u32::MAX, u32::from_be_bytes))
        };
        match kind {
            frames::GOAWAY => answers.count(format!("GOAWAY {}", code(4))),
            frames::RST_STREAM => answers.count(format!("RST_STREAM {}", code(0))),
            frames::HEADERS if flags & frames::END_STREAM != 0 => answers.count("a status (HEADERS with END_STREAM)"),
            _ => {}
        }
    };
    let is_reset = ended.kind() == std::io::ErrorKind::ConnectionReset;
    answers.count(if is_reset { "connection reset" } else { "connection closed" });
}

/// Sends batches of frames on one connection after the other, as fast as the server reads them. `begin` makes the first
/// bytes of a connection, `batch` those that follow, by their number.
pub(crate) async fn flood(stage: &Stage, is_reading: bool, begin: &[u8], batch: impl Fn(u32) -> Vec<u8>) -> Result<()> {
    loop {
        match RawPeer::open(stage, is_reading).await {
            Ok(mut peer) => {
                if peer.send(begin).await.is_ok() {
                    for number in 0.. {
                        let bytes = batch(number);
                        if peer.send(&bytes).await.is_err() {
                            break;
                        }
                        stage.effort.sent(bytes.len());
                    }
                }
                if !is_reading {
                    stage.answers.count("connection closed");
                }
            }
            Err(_refused) => stage.answers.count("no connection"),
        }
        sleep(RECONNECT_DELAY).await;
    }
}

/// Floods with several connections at once, of which every second one does not read.
pub(crate) async fn flood_all(
    stage: &Stage,
    connections: usize,
    begin: &[u8],
    batch: impl Fn(u32) -> Vec<u8>,
) -> Result<()> {
    let floods = (0..connections).map(|number| flood(stage, number.is_multiple_of(2), begin, &batch));
    futures_util::future::try_join_all(floods).await.map(drop)
}
