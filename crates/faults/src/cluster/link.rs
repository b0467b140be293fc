//! A TCP link between a replica and its database, with every fault that a network has.

use std::io::{ErrorKind, Result};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::chance::Chance;

/// How long a slow link holds each chunk up.
pub(crate) const DELAY: Duration = Duration::from_millis(200);
/// Of how many chunks in a hundred a lossy link resets the connection.
pub(crate) const RESETS_PERCENT: usize = 5;
/// How long a link stays cut after a COMMIT.
pub(crate) const STAYS_CUT: Duration = Duration::from_secs(2);

/// What the link does at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It carries.
    Open,
    /// It carries nothing, and says nothing of it; what was sent arrives when it carries again, as TCP has it.
    Silent,
    /// Its connections are reset, and new ones are at once.
    Cut,
    /// It holds each chunk up for [`DELAY`].
    Slow,
    /// It resets a connection at [`RESETS_PERCENT`] of the chunks.
    Lossy,
}

/// Where the next COMMIT that comes by is to be cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitCut {
    /// Before the database gets it.
    Before,
    /// When the database has it; its answer is lost.
    After,
    /// The same, and the link stays cut for [`STAYS_CUT`], so that nobody can ask what became of it.
    AfterForLong,
}

/// What all connections of a link share.
#[derive(Debug)]
struct Shared {
    target: String,
    state: watch::Sender<State>,
    chance: AtomicU64,
    /// The trap that waits for a COMMIT.
    trap: Mutex<Option<CommitCut>>,
    sprung: AtomicU64,
}

impl Shared {
    /// Whether the trap is for what this does; it is sprung then.
    fn springs(&self, is_for: impl Fn(CommitCut) -> bool) -> Option<CommitCut> {
        let mut trap = self.trap.lock().unwrap_or_else(PoisonError::into_inner);
        let cut = trap.take_if(|cut| is_for(*cut))?;
        self.sprung.fetch_add(1, Ordering::Relaxed);
        Some(cut)
    }
}

/// A link to one address. Dropping it cuts it.
#[derive(Debug)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    accepting: AbortHandle,
    /// Where its near end is.
    pub(crate) address: String,
}

impl Link {
    /// A link to `target` that carries.
    pub(crate) async fn to(target: String, chance: &mut Chance) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            target,
            state: watch::Sender::new(State::Open),
            chance: AtomicU64::new(chance.next()),
            trap: Mutex::default(),
            sprung: AtomicU64::new(0),
        });
        let ours = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            loop {
                // Out of file descriptors, say: the next one may do better.
                if let Ok((near, _)) = listener.accept().await {
                    tokio::spawn(carry(near, Arc::clone(&ours)));
                }
            }
        });
        Ok(Self { shared, accepting: accepting.abort_handle(), address })
    }

    /// Does so from now on.
    pub(crate) fn set(&self, state: State) {
        self.shared.state.send_replace(state);
    }

    /// Resets the connection that the next COMMIT comes by on.
    pub(crate) fn cut_next_commit(&self, cut: CommitCut) {
        *self.shared.trap.lock().unwrap_or_else(PoisonError::into_inner) = Some(cut);
    }

    /// How many COMMITs were cut off.
    pub(crate) fn commits_cut(&self) -> u64 {
        self.shared.sprung.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
        self.set(State::Cut);
    }
}

/// Carries one connection until an end of it hangs up, or the link is cut.
async fn carry(near: TcpStream, shared: Arc<Shared>) {
    // What ends here ends by a reset, as on a network that lost its memory of the connection.
    let _ = (near.set_nodelay(true), near.set_zero_linger());
    let mut state = shared.state.subscribe();
    tokio::select! {
        biased;
        _ = state.wait_for(|state| *state == State::Cut) => {}
        _ = carry_both_ways(near, shared) => {}
    }
}

async fn carry_both_ways(near: TcpStream, shared: Arc<Shared>) -> Result<()> {
    let mut state = shared.state.subscribe();
    until_carrying(&mut state).await?;
    let far = TcpStream::connect(&shared.target).await?;
    far.set_nodelay(true)?;
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    let is_mute = AtomicBool::new(false);
    tokio::try_join!(
        carry_bytes(near_read, far_write, &shared, &is_mute, true),
        carry_bytes(far_read, near_write, &shared, &is_mute, false)
    )?;
    Ok(())
}

async fn carry_bytes(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Arc<Shared>,
    is_mute: &AtomicBool,
    is_up: bool,
) -> Result<()> {
    let mut state = shared.state.subscribe();
    let mut chance = Chance::new(shared.chance.fetch_add(1, Ordering::Relaxed));
    let mut buffer = vec![0; 16 << 10];
    loop {
        let length = from.read(&mut buffer).await?;
        let chunk = buffer.get(..length).unwrap_or_default();
        let present = *state.borrow();
        match present {
            State::Slow => tokio::time::sleep(DELAY).await,
            State::Lossy if chance.percent(RESETS_PERCENT) => return Err(ErrorKind::ConnectionReset.into()),
            _ => {}
        }
        until_carrying(&mut state).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        if !is_up && is_mute.load(Ordering::Relaxed) {
            continue;
        }
        let is_commit = is_up && holds_commit(chunk);
        if is_commit && shared.springs(|cut| cut == CommitCut::Before).is_some() {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let last = if is_commit { shared.springs(|cut| cut != CommitCut::Before) } else { None };
        is_mute.fetch_or(last.is_some(), Ordering::Relaxed);
        to.write_all(chunk).await?;
        if let Some(cut) = last {
            // The database gets the COMMIT and answers into the void. A reset at once could overtake it.
            tokio::time::sleep(Duration::from_millis(20)).await;
            if cut == CommitCut::AfterForLong {
                tokio::spawn(mend(Arc::clone(shared)));
                shared.state.send_replace(State::Cut);
            }
            return Err(ErrorKind::ConnectionReset.into());
        }
    }
}

async fn mend(shared: Arc<Shared>) {
    tokio::time::sleep(STAYS_CUT).await;
    shared.state.send_replace(State::Open);
}

/// Both databases' drivers send it as plain text, in a chunk that begins with it.
fn holds_commit(chunk: &[u8]) -> bool {
    chunk.windows(6).any(|window| window == b"COMMIT")
}

/// Holds up what comes while the link is silent; nothing is lost on the way, as TCP has it.
async fn until_carrying(state: &mut watch::Receiver<State>) -> Result<()> {
    state.wait_for(|state| *state != State::Silent).await.map(drop).map_err(|_| ErrorKind::ConnectionAborted.into())
}
