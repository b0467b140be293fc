//! The budgets of the process and of its connections, and what is charged to them.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::transport::places::Place;

/// The size up to which a chunk is not charged.
pub(super) const FREE_BYTES: usize = 2 * 1024;
/// The maximum size of a piece of a chunk: a DATA frame. A peer that reads one within [`STALL_LIMIT`] is not cut.
const PIECE_BYTES: usize = 16 * 1024;
/// The share of the process's budget that the requests of one connection may use: a message of an import fits.
const REQUEST_SHARE: usize = 8;
/// The share of the process's budget that the responses of one connection may use.
const RESPONSE_SHARE: usize = 64;
/// The maximum number of bytes of requests that a stranger's connection may hold: the console's sign-in fits, with a
/// form that is kept.
const STRANGER_REQUEST_BYTES: usize = 64 * 1024;
/// The share of the process's budget that the requests of all strangers may use together. Beyond it, the largest
/// stranger is cut: to refuse requests instead would keep honest newcomers out during a flood.
const STRANGERS_REQUEST_SHARE: usize = 32;
/// The size of the unread responses from which a stranger's connection gets no more of them.
const STRANGER_RESPONSE_BYTES: usize = 256 * 1024;
/// The maximum number of pages that a connection has at a time, read from the database or not read by the peer.
const PAGES_MAX: usize = 2;
/// How long a peer may read nothing while responses wait for it.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// What a header field costs beside its name and value, in bytes.
const HEADER_FIELD_BYTES: usize = 128;

/// Returns the memory that headers hold. Many small fields hold several times their length.
pub(crate) fn headers_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| HEADER_FIELD_BYTES + name.as_str().len() + value.len()).sum()
}

/// The budget of the process. Clones share it.
#[derive(Debug, Clone)]
pub struct ProcessBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes_max: usize,
    /// Whether strangers may only make calls that are small.
    are_strangers_small: bool,
    held: AtomicUsize,
    /// The bytes of requests of strangers, with those of callers who were not known yet.
    stranger_requests: AtomicUsize,
    next_number: AtomicU64,
    /// The open connections that hold something, or have held something, by their numbers.
    charged: Mutex<HashMap<u64, Weak<Account>>>,
}

/// The budget of one connection. Clones share it.
#[derive(Debug, Clone)]
pub struct ConnectionBudget(Arc<Account>);

#[derive(Debug)]
struct Account {
    process: ProcessBudget,
    number: u64,
    /// The place of the connection; `None` stands for a known caller.
    place: Option<Arc<Place>>,
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
    /// Makes a budget of `bytes_max`. If strangers may verify tokens, their connections have the share of known
    /// callers.
    #[must_use]
    pub fn new(bytes_max: usize, strangers_may_verify: bool) -> Self {
        Self(Arc::new(Shared {
            bytes_max,
            are_strangers_small: !strangers_may_verify,
            held: AtomicUsize::new(0),
            stranger_requests: AtomicUsize::new(0),
            next_number: AtomicU64::new(0),
            charged: Mutex::default(),
        }))
    }

    /// Returns the budget of a new connection at `place`; without a place, of a known caller's.
    #[must_use]
    pub fn connection(&self, place: Option<Arc<Place>>) -> ConnectionBudget {
        ConnectionBudget(Arc::new(Account {
            process: self.clone(),
            number: self.0.next_number.fetch_add(1, Ordering::Relaxed),
            place,
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

    fn charged(&self) -> MutexGuard<'_, HashMap<u64, Weak<Account>>> {
        self.0.charged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// If the connections hold more than `bytes_max` together, without those that are being cut, cuts the largest
    /// holder of the address whose connections hold the most. So many small holders at one address cost no connection
    /// of another. `held` is what a connection holds.
    fn cut_largest(&self, bytes_max: usize, held: impl Fn(&Account) -> usize) {
        // Dropped after the lock is released: the last reference to an account takes it.
        let accounts: Vec<Arc<Account>>;
        let charged = self.charged();
        accounts = charged.values().filter_map(Weak::upgrade).collect();
        let open = accounts.iter().filter(|account| !account.cut.is_cancelled());
        let open: Vec<_> = open.map(|account| (account, held(account))).filter(|(_, held)| *held > 0).collect();
        if open.iter().map(|(_, held)| held).sum::<usize>() <= bytes_max {
            return;
        }
        let mut by_address: HashMap<Option<IpAddr>, usize> = HashMap::new();
        for (account, held) in &open {
            *by_address.entry(account.address()).or_default() += held;
        }
        let largest = open.iter().max_by_key(|(account, held)| (by_address.get(&account.address()), *held));
        if let Some((largest, _)) = largest {
            largest.cut.cancel();
        }
    }
}

impl Account {
    /// Where the peer is.
    fn address(&self) -> Option<IpAddr> {
        self.place.as_ref().map(|place| place.address())
    }

    fn is_small(&self) -> bool {
        self.process.0.are_strangers_small && self.place.as_ref().is_some_and(|place| !place.is_known())
    }

    /// Returns the maximum number of bytes of requests.
    fn requests_max(&self) -> usize {
        let share = self.process.0.bytes_max / REQUEST_SHARE;
        if self.is_small() { STRANGER_REQUEST_BYTES.min(share) } else { share }
    }

    /// Returns the size of the unread responses from which there are no more.
    fn responses_max(&self) -> usize {
        let share = self.process.0.bytes_max / RESPONSE_SHARE;
        if self.is_small() { STRANGER_RESPONSE_BYTES.min(share) } else { share }
    }

    fn held(&self) -> usize {
        self.requests.load(Ordering::Relaxed) + self.responses.load(Ordering::Relaxed)
    }

    /// Counts bytes of the process, which the connection holds already, and lists this connection among those that may
    /// be cut for them.
    fn add_to_process(self: &Arc<Self>, bytes: usize) {
        if !self.is_listed.swap(true, Ordering::Relaxed) {
            self.process.charged().insert(self.number, Arc::downgrade(self));
        }
        let shared = &self.process.0;
        let held = shared.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > shared.bytes_max {
            self.process.cut_largest(shared.bytes_max, Self::held);
        }
    }

    /// Counts bytes of requests of strangers, which this connection holds already.
    fn add_to_strangers(&self, bytes: usize) {
        let shared = &self.process.0;
        let bytes_max = shared.bytes_max / STRANGERS_REQUEST_SHARE;
        let held = shared.stranger_requests.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > bytes_max {
            // Of a connection whose caller is known, nothing: it has the share of a known caller.
            let of_stranger =
                |account: &Self| if account.is_small() { account.requests.load(Ordering::Relaxed) } else { 0 };
            self.process.cut_largest(bytes_max, of_stranger);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if *self.is_listed.get_mut() {
            self.process.charged().remove(&self.number);
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
        let held = self.0.responses.load(Ordering::Relaxed);
        // The usual connection holds nothing, and needs no comparison.
        held == 0 || held < self.0.responses_max()
    }

    /// Whether the connection holds no more than its calls themselves.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.0.held() == 0
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

    /// Waits until the response to a request may be made.
    ///
    /// # Errors
    /// [`OverBudget`] if a stranger would wait whose request has a body: meanwhile, HTTP/2 keeps as much of the body as
    /// its windows allow, which is not counted.
    pub(crate) async fn room_for(&self, has_body: bool) -> Result<(), OverBudget> {
        if has_body && self.0.is_small() && !self.has_room() {
            return Err(OverBudget { bytes_max: self.0.responses_max() });
        }
        self.room().await;
        Ok(())
    }

    /// Waits for the turn of a call whose response is a page. The turn lasts until the peer has read the page.
    pub async fn page(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.0.pages).acquire_owned().await.ok()
    }

    /// Charges a chunk of a response. Returns its pieces, each of which is charged until it is dropped.
    pub(super) fn charge_response(&self, mut chunk: Bytes) -> VecDeque<Bytes> {
        if self.0.responses.fetch_add(chunk.len(), Ordering::Relaxed) == 0 {
            self.0.changed.notify_waiters();
        }
        self.0.add_to_process(chunk.len());
        let mut pieces = VecDeque::with_capacity(chunk.len().div_ceil(PIECE_BYTES));
        while !chunk.is_empty() {
            let piece = chunk.split_to(chunk.len().min(PIECE_BYTES));
            pieces.push_back(Bytes::from_owner(ChargedPiece { account: Arc::clone(&self.0), piece }));
        }
        pieces
    }

    /// Returns a charge for a request, of nothing yet.
    #[must_use]
    pub fn request(&self) -> RequestCharge {
        RequestCharge { budget: self.clone(), charged: 0, of_stranger: 0 }
    }

    /// Completes when the peer has read nothing for too long.
    pub(crate) async fn stalled(&self) {
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
    pub(crate) async fn cut(&self) {
        self.0.cut.cancelled().await;
    }
}

/// A piece of a response that the peer has not read.
struct ChargedPiece {
    account: Arc<Account>,
    piece: Bytes,
}

impl AsRef<[u8]> for ChargedPiece {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

impl Drop for ChargedPiece {
    fn drop(&mut self) {
        let Account { process, responses, ended, changed, .. } = &*self.account;
        process.0.held.fetch_sub(self.piece.len(), Ordering::Relaxed);
        responses.fetch_sub(self.piece.len(), Ordering::Relaxed);
        ended.fetch_add(1, Ordering::Relaxed);
        changed.notify_waiters();
    }
}

/// The charge of one request, until it is dropped.
#[derive(Debug)]
pub struct RequestCharge {
    budget: ConnectionBudget,
    charged: usize,
    /// The bytes that were charged before the caller was known.
    of_stranger: usize,
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
        let bytes_max = account.requests_max();
        let held = self.hold(bytes - self.charged);
        if held > bytes_max { Err(OverBudget { bytes_max }) } else { Ok(()) }
    }

    /// Counts further bytes, without a limit of the connection. Returns what its requests hold now.
    pub(crate) fn hold(&mut self, bytes: usize) -> usize {
        let account = &self.budget.0;
        let held = account.requests.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.charged += bytes;
        account.add_to_process(bytes);
        if account.is_small() {
            self.of_stranger += bytes;
            account.add_to_strangers(bytes);
        }
        held
    }

    fn release(&mut self, bytes: usize) {
        if bytes > 0 {
            self.charged -= bytes;
            let of_stranger = bytes.min(self.of_stranger);
            self.of_stranger -= of_stranger;
            self.budget.0.process.0.stranger_requests.fetch_sub(of_stranger, Ordering::Relaxed);
            self.budget.0.process.0.held.fetch_sub(bytes, Ordering::Relaxed);
            self.budget.0.requests.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for RequestCharge {
    fn drop(&mut self) {
        self.release(self.charged);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::places::{PlaceLimits, Places};
    use futures_util::FutureExt as _;

    const CHUNK: usize = 16 * 1024;

    fn chunk() -> Bytes {
        vec![7; CHUNK].into()
    }

    #[test]
    fn a_chunk_is_charged_until_it_is_dropped() {
        let process = ProcessBudget::new(CHUNK * RESPONSE_SHARE, false);
        let connection = process.connection(None);
        let mut charged = connection.charge_response(chunk());
        assert_eq!(charged, [chunk()]);
        let part = charged.pop_front().unwrap().slice(..10);
        assert!(!connection.has_room() && connection.room().now_or_never().is_none());
        assert_eq!(process.held(), CHUNK);
        drop(part);
        assert!(connection.has_room() && connection.room().now_or_never().is_some());
        assert_eq!(process.held(), 0);
    }

    #[tokio::test]
    async fn the_connection_that_holds_the_most_is_cut() {
        let process = ProcessBudget::new(3 * CHUNK, false);
        let (small, large) = (process.connection(None), process.connection(None));
        let _one = small.charge_response(chunk());
        let _two: Vec<_> = (0..2).map(|_| large.charge_response(chunk())).collect();
        assert!(large.cut().now_or_never().is_none());
        let _over = small.charge_response(Bytes::from(vec![0; FREE_BYTES + 1]));
        assert!(large.cut().now_or_never().is_some() && small.cut().now_or_never().is_none());
        // The cut connection still holds its bytes, but not for long.
        let _more = small.charge_response(Bytes::from(vec![0; FREE_BYTES + 1]));
        assert!(small.cut().now_or_never().is_none());
    }

    #[tokio::test]
    async fn strangers_hold_few_bytes_of_requests_together_and_small_ones_do_not_count() {
        let limits =
            PlaceLimits { total: 100, per_address: 100, per_caller: 100, strangers: 100, strangers_per_address: 100 };
        let (process, places) = (ProcessBudget::new(4 * CHUNK * STRANGERS_REQUEST_SHARE, false), Places::new(limits));
        let connection = || process.connection(places.enter(IpAddr::from([10, 0, 0, 1])).map(Arc::new));
        let other = process.connection(places.enter(IpAddr::from([10, 0, 0, 2])).map(Arc::new));
        let mut charges: Vec<_> = (0..4).map(|_| connection().request()).collect();
        assert!(charges.iter_mut().all(|charge| charge.set(CHUNK).is_ok()), "the share of all strangers");
        assert!(!charges[0].budget.holds_nothing());
        let is_cut = |budget: &ConnectionBudget| budget.0.cut.is_cancelled();
        assert!(!charges.iter().any(|charge| is_cut(&charge.budget)));
        // One more byte is too much, and not the fault of the newcomer.
        let mut newcomer = other.request();
        assert!(newcomer.set(FREE_BYTES + 1).is_ok());
        assert_eq!(charges.iter().filter(|charge| is_cut(&charge.budget)).count(), 1);
        assert!(!is_cut(&other));
        let mut small = connection().request();
        assert!(small.set(FREE_BYTES).is_ok() && small.budget.holds_nothing());
        let known = connection();
        known.0.place.as_ref().unwrap().promote(None, || false);
        assert_eq!(known.request().set(CHUNK * 2), Ok(()));
        // A connection whose caller authenticates meanwhile gives back what it took.
        charges[0].budget.0.place.as_ref().unwrap().promote(None, || false);
        drop((charges, newcomer));
        assert_eq!((process.held(), process.0.stranger_requests.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn what_known_callers_held_as_strangers_costs_no_stranger() {
        let limits =
            PlaceLimits { total: 100, per_address: 100, per_caller: 100, strangers: 100, strangers_per_address: 100 };
        let (process, places) = (ProcessBudget::new(4 * CHUNK * STRANGERS_REQUEST_SHARE, false), Places::new(limits));
        let connection = |last| process.connection(places.enter(IpAddr::from([10, 0, 0, last])).map(Arc::new));
        let mut charges: Vec<_> = (0..4).map(|_| connection(1).request()).collect();
        assert!(charges.iter_mut().all(|charge| charge.set(CHUNK).is_ok()));
        for charge in &charges {
            charge.budget.0.place.as_ref().unwrap().promote(None, || false);
        }
        let newcomer = connection(2);
        let mut form = newcomer.request();
        assert!(form.set(FREE_BYTES + 1).is_ok());
        assert!(!newcomer.0.cut.is_cancelled() && !charges.iter().any(|charge| charge.budget.0.cut.is_cancelled()));
    }

    #[test]
    fn a_connection_that_has_ended_is_not_listed() {
        let process = ProcessBudget::new(1 << 20, false);
        let connection = process.connection(None);
        drop(connection.charge_response(chunk()));
        assert_eq!(process.charged().len(), 1);
        drop(connection);
        assert!(process.charged().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_slowly_is_not_cut() {
        let connection = ProcessBudget::new(1 << 30, false).connection(None);
        let pieces = connection.charge_response(vec![0; 10 * PIECE_BYTES].into());
        let reads = async {
            for piece in pieces {
                tokio::time::sleep(STALL_LIMIT / 2).await;
                drop(piece);
            }
        };
        tokio::select! {
            () = connection.stalled() => panic!("the peer reads"),
            () = reads => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_nothing_is_detected() {
        let connection = ProcessBudget::new(1 << 20, false).connection(None);
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
