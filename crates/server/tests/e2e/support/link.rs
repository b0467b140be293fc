//! A TCP link that can be cut and paused: between a server and its database.

use std::io::{ErrorKind, Result};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the link does at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It carries.
    Open,
    /// It carries nothing, and says nothing of it: packets are lost.
    Paused,
    /// Its connections end, and new ones do at once.
    Cut,
}

/// A link to one address.
pub(crate) struct Link {
    state: watch::Sender<State>,
    target: Arc<Mutex<String>>,
    /// Where its near end is.
    pub(crate) address: String,
}

impl Link {
    /// A link to `target` that carries.
    pub(crate) async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (state, seen) = watch::channel(State::Open);
        let target = Arc::new(Mutex::new(target));
        let targets = Arc::clone(&target);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let target = targets.lock().unwrap().clone();
                tokio::spawn(carry(near, target, seen.clone()));
            }
        });
        Self { state, target, address }
    }

    /// Ends all connections, and leads new ones to another address.
    pub(crate) fn lead_to(&self, target: String) {
        *self.target.lock().unwrap() = target;
        self.cut();
        self.open();
    }

    /// Ends all connections, and every new one at once.
    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Carries nothing any more; nobody is told.
    pub(crate) fn pause(&self) {
        self.state.send_replace(State::Paused);
    }

    /// Carries again.
    pub(crate) fn open(&self) {
        self.state.send_replace(State::Open);
    }
}

/// Carries one connection until an end of it hangs up, or the link is cut.
async fn carry(near: TcpStream, target: String, state: watch::Receiver<State>) {
    let mut watching = state.clone();
    tokio::select! {
        biased;
        _ = watching.wait_for(|state| *state == State::Cut) => {}
        _ = carry_both_ways(near, target, state) => {}
    }
}

async fn carry_both_ways(near: TcpStream, target: String, mut state: watch::Receiver<State>) -> Result<()> {
    until_carrying(&mut state).await?;
    let far = TcpStream::connect(target).await?;
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    tokio::try_join!(carry_bytes(near_read, far_write, state.clone()), carry_bytes(far_read, near_write, state))?;
    Ok(())
}

async fn carry_bytes(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) -> Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let length = from.read(&mut buffer).await?;
        until_carrying(&mut state).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
    }
}

/// Holds up what comes while the link is paused; nothing is lost on the way, as TCP has it.
async fn until_carrying(state: &mut watch::Receiver<State>) -> Result<()> {
    state.wait_for(|state| *state != State::Paused).await.map(drop).map_err(|_| ErrorKind::ConnectionAborted.into())
}
