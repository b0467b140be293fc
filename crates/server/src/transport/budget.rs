//! The bytes that a connection makes the server hold: requests that are not complete yet, and responses that the peer
//! has not read.
//!
//! hyper takes a chunk of a response before the peer has room for it, and keeps it outside of h2's limits. So the
//! server counts what it hands to hyper: a chunk is charged when it is made, and its charge ends when hyper drops it. A
//! connection over its budget gets no more responses until its peer reads. The connection is cut if the peer reads
//! nothing for [`STALL_LIMIT`], or if it holds the most while the process is over its budget.
//!
//! Small chunks are not charged: the number of calls on a connection bounds them.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::places::Counted;

/// The size up to which a chunk is not charged.
const FREE_BYTES: usize = 2 * 1024;
/// The share of the process's budget that the requests of one connection may use: a message of an import fits.
const REQUEST_SHARE: usize = 8;
/// The share of the process's budget that the responses of one connection may use.
const RESPONSE_SHARE: usize = 64;
/// The maximum number of pages that a connection has at a time, read from the database or not read by the peer.
const PAGES_MAX: usize = 2;
/// How long a peer may read nothing while responses wait for it.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// The budget of the process. Clones share it.
#[derive(Debug, Clone)]
pub struct ProcessBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes_max: usize,
    held: AtomicUsize,
    /// The connections that hold something, or have held something.
    charged: Mutex<Vec<Weak<Account>>>,
}

/// The budget of one connection. Clones share it.
#[derive(Debug, Clone)]
pub struct ConnectionBudget(Arc<Account>);

#[derive(Debug)]
struct Account {
    process: ProcessBudget,
    requests: AtomicUsize,
    responses: AtomicUsize,
    /// The number of charges of responses that have ended: it shows whether the peer reads.
    ended: AtomicU64,
    /// Turns of calls that may each hold a page.
    pages: Arc<Semaphore>,
    /// Wakes those that wait for room, and the watch for a peer that reads nothing.
    changed: Notify,
    is_listed: AtomicBool,
    cut: CancellationToken,
}

impl ProcessBudget {
    /// Makes a budget of `bytes_max`.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Shared { bytes_max, held: AtomicUsize::new(0), charged: Mutex::default() }))
    }

    /// Returns the budget of a new connection.
    #[must_use]
    pub fn connection(&self) -> ConnectionBudget {
        ConnectionBudget(Arc::new(Account {
            process: self.clone(),
            requests: AtomicUsize::new(0),
            responses: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
            pages: Arc::new(Semaphore::new(PAGES_MAX)),
            changed: Notify::new(),
            is_listed: AtomicBool::new(false),
            cut: CancellationToken::new(),
        }))
    }

    /// Returns the number of bytes that all connections hold.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Cuts the connection that holds the most, unless those that are being cut give back enough.
    fn cut_largest(&self) {
        let mut charged = self.0.charged.lock().unwrap_or_else(PoisonError::into_inner);
        charged.retain(|account| account.strong_count() > 0);
        let charged = charged.iter().filter_map(Weak::upgrade);
        let (cut, open): (Vec<_>, Vec<_>) = charged.partition(|account| account.cut.is_cancelled());
        let given_back: usize = cut.iter().map(|account| account.held()).sum();
        if self.held().saturating_sub(given_back) <= self.0.bytes_max {
            return;
        }
        if let Some(largest) = open.iter().max_by_key(|account| account.held()) {
            largest.cut.cancel();
        }
    }
}

impl Account {
    fn held(&self) -> usize {
        self.requests.load(Ordering::Relaxed) + self.responses.load(Ordering::Relaxed)
    }

    /// Counts bytes of the process, and lists this connection among those that may be cut for them.
    fn add_to_process(self: &Arc<Self>, bytes: usize) {
        if !self.is_listed.swap(true, Ordering::Relaxed) {
            let mut charged = self.process.0.charged.lock().unwrap_or_else(PoisonError::into_inner);
            charged.push(Arc::downgrade(self));
        }
        let held = self.process.0.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > self.process.0.bytes_max {
            self.process.cut_largest();
        }
    }
}

/// The connection holds too many bytes of requests that are not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverBudget {
    /// The limit, in bytes.
    pub bytes_max: usize,
}

impl ConnectionBudget {
    /// Whether a response may be made now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.0.responses.load(Ordering::Relaxed) < self.0.process.0.bytes_max / RESPONSE_SHARE
    }

    /// Waits until a response may be made.
    pub async fn room(&self) {
        loop {
            let changed = self.0.changed.notified();
            if self.has_room() {
                return;
            }
            changed.await;
        }
    }

    /// Waits for the turn of a call whose response is a page. The turn lasts until the peer has read the page.
    pub async fn page(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.0.pages).acquire_owned().await.ok()
    }

    /// Charges a chunk of a response, until it is dropped.
    #[must_use]
    pub fn charge_response(&self, chunk: Bytes) -> Bytes {
        if chunk.len() <= FREE_BYTES {
            return chunk;
        }
        self.0.add_to_process(chunk.len());
        if self.0.responses.fetch_add(chunk.len(), Ordering::Relaxed) == 0 {
            self.0.changed.notify_waiters();
        }
        Bytes::from_owner(ChargedChunk { account: Arc::clone(&self.0), chunk })
    }

    /// Returns a charge for a request, of nothing yet.
    #[must_use]
    pub fn request(&self) -> RequestCharge {
        RequestCharge { budget: self.clone(), charged: 0 }
    }

    /// Completes when the peer has read nothing for too long.
    pub(super) async fn stalled(&self) {
        loop {
            let changed = self.0.changed.notified();
            if self.0.responses.load(Ordering::Relaxed) == 0 {
                changed.await;
                continue;
            }
            let ended = self.0.ended.load(Ordering::Relaxed);
            tokio::time::sleep(STALL_LIMIT).await;
            if self.0.responses.load(Ordering::Relaxed) > 0 && self.0.ended.load(Ordering::Relaxed) == ended {
                return;
            }
        }
    }

    /// Completes when the process is over its budget, and this connection holds the most.
    pub(super) async fn cut(&self) {
        self.0.cut.cancelled().await;
    }
}

/// A chunk of a response that the peer has not read.
struct ChargedChunk {
    account: Arc<Account>,
    chunk: Bytes,
}

impl AsRef<[u8]> for ChargedChunk {
    fn as_ref(&self) -> &[u8] {
        &self.chunk
    }
}

impl Drop for ChargedChunk {
    fn drop(&mut self) {
        let Account { process, responses, ended, changed, .. } = &*self.account;
        process.0.held.fetch_sub(self.chunk.len(), Ordering::Relaxed);
        responses.fetch_sub(self.chunk.len(), Ordering::Relaxed);
        ended.fetch_add(1, Ordering::Relaxed);
        changed.notify_waiters();
    }
}

/// The charge of one request, until it is dropped.
#[derive(Debug)]
pub struct RequestCharge {
    budget: ConnectionBudget,
    charged: usize,
}

impl RequestCharge {
    /// Sets how many bytes the request holds now.
    ///
    /// # Errors
    /// [`OverBudget`]. The request must be dropped.
    pub fn set(&mut self, bytes: usize) -> Result<(), OverBudget> {
        let bytes = if bytes <= FREE_BYTES { 0 } else { bytes };
        let account = &self.budget.0;
        if bytes <= self.charged {
            self.release(self.charged - bytes);
            return Ok(());
        }
        let (new, bytes_max) = (bytes - self.charged, account.process.0.bytes_max / REQUEST_SHARE);
        let before = account.requests.fetch_add(new, Ordering::Relaxed);
        self.charged = bytes;
        account.add_to_process(new);
        if before + new > bytes_max { Err(OverBudget { bytes_max }) } else { Ok(()) }
    }

    fn release(&mut self, bytes: usize) {
        if bytes > 0 {
            self.charged -= bytes;
            self.budget.0.requests.fetch_sub(bytes, Ordering::Relaxed);
            self.budget.0.process.0.held.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for RequestCharge {
    fn drop(&mut self) {
        self.release(self.charged);
    }
}

type Room = Pin<Box<dyn Future<Output = ()> + Send>>;

pin_project! {
    /// A response body whose chunks are charged. While the connection has no room, it makes none.
    pub struct ChargedBody<B> {
        #[pin]
        inner: B,
        budget: Option<ConnectionBudget>,
        room: Option<Room>,
        // The call is in progress until its response ends.
        _call: Option<Counted>,
    }
}

impl<B> ChargedBody<B> {
    pub(crate) fn new(inner: B, budget: ConnectionBudget, call: Counted) -> Self {
        Self { inner, budget: Some(budget), room: None, _call: Some(call) }
    }
}

impl<B: Default> Default for ChargedBody<B> {
    fn default() -> Self {
        Self { inner: B::default(), budget: None, room: None, _call: None }
    }
}

impl<B: Body<Data = Bytes>> Body for ChargedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let Some(budget) = this.budget else { return this.inner.poll_frame(context) };
        if !budget.has_room() {
            let owned = budget.clone();
            let room = this.room.get_or_insert_with(|| Box::pin(async move { owned.room().await }));
            std::task::ready!(room.as_mut().poll(context));
        }
        *this.room = None;
        let charge = |frame: Frame<Bytes>| frame.map_data(|chunk| budget.charge_response(chunk));
        this.inner.poll_frame(context).map(|frame| frame.map(|frame| frame.map(charge)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    const CHUNK: usize = 16 * 1024;

    fn chunk() -> Bytes {
        vec![7; CHUNK].into()
    }

    #[test]
    fn a_chunk_is_charged_until_it_is_dropped() {
        let process = ProcessBudget::new(CHUNK * RESPONSE_SHARE);
        let connection = process.connection();
        let charged = connection.charge_response(chunk());
        assert_eq!(charged, chunk());
        let part = charged.slice(..10);
        drop(charged);
        assert!(!connection.has_room() && connection.room().now_or_never().is_none());
        assert_eq!(process.held(), CHUNK);
        drop(part);
        assert!(connection.has_room() && connection.room().now_or_never().is_some());
        assert_eq!(process.held(), 0);
    }

    #[test]
    fn small_chunks_and_requests_are_not_charged() {
        let process = ProcessBudget::new(0);
        let connection = process.connection();
        let _chunk = connection.charge_response(Bytes::from_static(&[0; FREE_BYTES]));
        let mut request = connection.request();
        assert_eq!(request.set(FREE_BYTES), Ok(()));
        assert_eq!(process.held(), 0);
        assert_eq!(request.set(FREE_BYTES + 1), Err(OverBudget { bytes_max: 0 }));
        assert_eq!(process.held(), FREE_BYTES + 1);
        assert_eq!(request.set(0), Ok(()));
        assert_eq!(process.held(), 0);
        assert_eq!(process.held(), 0);
    }

    #[tokio::test]
    async fn the_connection_that_holds_the_most_is_cut() {
        let process = ProcessBudget::new(3 * CHUNK);
        let (small, large) = (process.connection(), process.connection());
        let _one = small.charge_response(chunk());
        let _two: Vec<_> = (0..2).map(|_| large.charge_response(chunk())).collect();
        assert!(large.cut().now_or_never().is_none());
        let _over = small.charge_response(Bytes::from(vec![0; FREE_BYTES + 1]));
        assert!(large.cut().now_or_never().is_some() && small.cut().now_or_never().is_none());
        // The cut connection still holds its bytes, but not for long.
        let _more = small.charge_response(Bytes::from(vec![0; FREE_BYTES + 1]));
        assert!(small.cut().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_nothing_is_detected() {
        let connection = ProcessBudget::new(1 << 20).connection();
        let mut stalled = std::pin::pin!(connection.stalled());
        assert!(stalled.as_mut().now_or_never().is_none());
        let (one, _two) = (connection.charge_response(chunk()), connection.charge_response(chunk()));
        let reads = tokio::time::sleep(STALL_LIMIT / 2);
        tokio::select! {
            () = &mut stalled => panic!("the peer still has time"),
            () = reads => drop(one),
        }
        tokio::select! {
            () = &mut stalled => panic!("the peer has read something"),
            () = tokio::time::sleep(STALL_LIMIT) => {}
        }
        stalled.await;
    }
}
