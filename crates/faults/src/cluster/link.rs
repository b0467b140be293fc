//! A TCP proxy between a replica and its database, which injects network faults.

use std::io::{ErrorKind, Result};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use key_authority_testkit::rng::SeededRng;
use rand::{Rng as _, RngExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// The delay of each chunk on a slow link.
pub(crate) const DELAY: Duration = Duration::from_millis(200);
/// The probability, in percent, that a lossy link resets the connection at a chunk.
pub(crate) const RESETS_PERCENT: u32 = 5;
/// How long a link stays cut after [`CommitCut::AfterForLong`].
pub(crate) const STAYS_CUT: Duration = Duration::from_secs(2);

/// The state of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It forwards.
    Open,
    /// It forwards nothing, and closes no connection. Delayed data arrives later, as TCP retransmits it.
    Silent,
    /// It resets all connections, new ones at once.
    Cut,
    /// It delays each chunk by [`DELAY`].
    Slow,
    /// It resets the connection at [`RESETS_PERCENT`] of the chunks.
    Lossy,
}

/// When to reset the connection of the next COMMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitCut {
    /// Before the database receives it.
    Before,
    /// After the database receives it; the answer is lost.
    After,
    /// The same, and the link stays cut for [`STAYS_CUT`], so that the replica cannot query the outcome.
    AfterForLong,
}

/// The state that all connections of a link share.
#[derive(Debug)]
struct Shared {
    target: String,
    state: watch::Sender<State>,
    /// The number of times that the state was set.
    epoch: AtomicU64,
    /// The seed of the next connection.
    seed: AtomicU64,
    /// The fault for the next COMMIT.
    commit_cut: Mutex<Option<CommitCut>>,
    commits_cut: AtomicU64,
}

impl Shared {
    fn new(target: String, seed: u64) -> Self {
        Self {
            target,
            state: watch::Sender::new(State::Open),
            epoch: AtomicU64::new(0),
            seed: AtomicU64::new(seed),
            commit_cut: Mutex::default(),
            commits_cut: AtomicU64::new(0),
        }
    }

    /// Sets the state, and returns the epoch that begins.
    fn set(&self, state: State) -> u64 {
        let mut epoch = 0;
        self.state.send_modify(|present| {
            *present = state;
            epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        });
        epoch
    }

    /// Opens the link, unless its state was set after `epoch` began.
    fn reopen(&self, epoch: u64) {
        self.state.send_if_modified(|present| {
            let is_unchanged = self.epoch.load(Ordering::Relaxed) == epoch;
            if is_unchanged {
                *present = State::Open;
            }
            is_unchanged
        });
    }

    /// Takes the fault for the next COMMIT if `is_for` accepts it, and counts it.
    fn take_commit_cut(&self, is_for: impl Fn(CommitCut) -> bool) -> Option<CommitCut> {
        let mut commit_cut = self.commit_cut.lock().unwrap_or_else(PoisonError::into_inner);
        let cut = commit_cut.take_if(|cut| is_for(*cut))?;
        self.commits_cut.fetch_add(1, Ordering::Relaxed);
        Some(cut)
    }
}

/// A link to one address. Dropping it cuts it.
#[derive(Debug)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    accepting: AbortHandle,
    /// The address at which replicas connect.
    pub(crate) address: String,
}

impl Link {
    /// Opens a link to `target`.
    pub(crate) async fn to(target: String, rng: &mut SeededRng) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared::new(target, rng.next_u64()));
        let accepted = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            loop {
                // An error such as too many open files may be temporary.
                if let Ok((near, _)) = listener.accept().await {
                    tokio::spawn(forward(near, Arc::clone(&accepted)));
                }
            }
        });
        Ok(Self { shared, accepting: accepting.abort_handle(), address })
    }

    /// Sets its state.
    pub(crate) fn set(&self, state: State) {
        self.shared.set(state);
    }

    /// Resets the connection of the next COMMIT.
    pub(crate) fn cut_next_commit(&self, cut: CommitCut) {
        *self.shared.commit_cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(cut);
    }

    /// The number of COMMITs whose connection was reset.
    pub(crate) fn commits_cut(&self) -> u64 {
        self.shared.commits_cut.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
        self.set(State::Cut);
    }
}

/// Forwards one connection until one side closes it or the link is cut.
async fn forward(near: TcpStream, shared: Arc<Shared>) {
    // With zero linger, closing sends a reset.
    let _ = (near.set_nodelay(true), near.set_zero_linger());
    let mut state = shared.state.subscribe();
    tokio::select! {
        biased;
        _ = state.wait_for(|state| *state == State::Cut) => {}
        _ = forward_both_ways(near, shared) => {}
    }
}

async fn forward_both_ways(near: TcpStream, shared: Arc<Shared>) -> Result<()> {
    let mut state = shared.state.subscribe();
    wait_until_forwarding(&mut state).await?;
    let far = TcpStream::connect(&shared.target).await?;
    far.set_nodelay(true)?;
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    let is_mute = AtomicBool::new(false);
    tokio::try_join!(
        forward_bytes(near_read, far_write, &shared, &is_mute, true),
        forward_bytes(far_read, near_write, &shared, &is_mute, false)
    )?;
    Ok(())
}

async fn forward_bytes(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Arc<Shared>,
    is_mute: &AtomicBool,
    is_up: bool,
) -> Result<()> {
    let mut state = shared.state.subscribe();
    let mut rng = SeededRng::new(shared.seed.fetch_add(1, Ordering::Relaxed));
    let mut buffer = vec![0; 16 << 10];
    loop {
        let length = from.read(&mut buffer).await?;
        let chunk = buffer.get(..length).unwrap_or_default();
        let present = *state.borrow();
        match present {
            State::Slow => tokio::time::sleep(DELAY).await,
            State::Lossy if rng.random_ratio(RESETS_PERCENT, 100) => return Err(ErrorKind::ConnectionReset.into()),
            _ => {}
        }
        wait_until_forwarding(&mut state).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        if !is_up && is_mute.load(Ordering::Relaxed) {
            continue;
        }
        let is_commit = is_up && holds_commit(chunk);
        if is_commit && shared.take_commit_cut(|cut| cut == CommitCut::Before).is_some() {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let last = if is_commit { shared.take_commit_cut(|cut| cut != CommitCut::Before) } else { None };
        is_mute.fetch_or(last.is_some(), Ordering::Relaxed);
        to.write_all(chunk).await?;
        if let Some(cut) = last {
            // Wait until the database has received the COMMIT: an immediate reset could overtake it.
            tokio::time::sleep(Duration::from_millis(20)).await;
            if cut == CommitCut::AfterForLong {
                let epoch = shared.set(State::Cut);
                tokio::spawn(reopen(Arc::clone(shared), epoch));
            }
            return Err(ErrorKind::ConnectionReset.into());
        }
    }
}

async fn reopen(shared: Arc<Shared>, epoch: u64) {
    tokio::time::sleep(STAYS_CUT).await;
    shared.reopen(epoch);
}

/// The drivers of both databases send COMMIT as plain text.
fn holds_commit(chunk: &[u8]) -> bool {
    chunk.windows(6).any(|window| window == b"COMMIT")
}

/// Waits while the link is silent. Data is delayed, not lost, as on a TCP connection.
async fn wait_until_forwarding(state: &mut watch::Receiver<State>) -> Result<()> {
    state.wait_for(|state| *state != State::Silent).await.map(drop).map_err(|_| ErrorKind::ConnectionAborted.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_reopened_unless_its_state_was_set_since() {
        let shared = Shared::new(String::new(), 7);
        let present = || *shared.state.borrow();
        let epoch = shared.set(State::Cut);
        shared.reopen(epoch);
        assert_eq!(present(), State::Open);
        for later in [State::Slow, State::Cut] {
            let epoch = shared.set(State::Cut);
            shared.set(later);
            shared.reopen(epoch);
            assert_eq!(present(), later);
        }
    }
}
