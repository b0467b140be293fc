//! The invariants. The checks see true time and both sides of every call, which no simulated process does.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use key_authority_domain::id::Revision;
use key_authority_replica::clock::Boottime;
use key_authority_replica::protocol::wait::{GRACE, LAST_LOOK};

use crate::process::{Host, Process};
use crate::scheduler::{MILLISECOND, Time};
use crate::statement::{Change, Key, KeySet, RequestId, only};
use crate::variant::Variant;

/// A kind of violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A Verify that started after the revocation of its key returned accepted the key.
    AcceptedRevoked,
    /// A replica answered although its last acknowledged heartbeat was older than the trust period.
    AnsweredAlone,
    /// A change waited longer than the lease.
    WaitedTooLong,
    /// An acknowledged change is missing in the log, or in the index of a replica that is up to date.
    LostChange,
    /// A request had more than one effect, or returned two different revisions.
    RepeatedEffect,
    /// A replica reported a divergence of an intact log.
    FalseAlarm,
    /// After the faults ended, a replica did not recover, or a revocation was not confirmed.
    NotRecovered,
}

/// A violation of a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Its kind.
    pub kind: Kind,
    /// Its true time in nanoseconds.
    pub time: u64,
    /// A description.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}.{:09} s: {}", self.kind, self.time / 1_000_000_000, self.time % 1_000_000_000, self.what)
    }
}

/// The promises so far, and the first violation.
pub(crate) struct Check {
    /// The only kind of violation to report; None reports all.
    expected: Option<Kind>,
    now: Cell<Time>,
    /// Keys whose revocation a client has requested.
    requested: Cell<KeySet>,
    /// Keys whose revocation has returned: no Verify that starts now may accept them.
    returned: Cell<KeySet>,
    /// The revision that each request returned.
    acknowledged: RefCell<BTreeMap<RequestId, Revision>>,
    violation: RefCell<Option<Violation>>,
}

/// The pauses between the last reads of the registry.
const PAUSES: Duration = Duration::from_millis(20);

impl Check {
    pub(crate) fn new(variant: Option<Variant>) -> Self {
        Self {
            expected: variant.map(Variant::breaks),
            now: Cell::new(0),
            requested: Cell::new(0),
            returned: Cell::new(0),
            acknowledged: RefCell::default(),
            violation: RefCell::default(),
        }
    }

    /// Sets the time of violations.
    pub(crate) fn set_now(&self, now: Time) {
        self.now.set(now);
    }

    pub(crate) fn violation(&self) -> Option<Violation> {
        self.violation.borrow().clone()
    }

    pub(crate) fn is_violated(&self) -> bool {
        self.violation.borrow().is_some()
    }

    pub(crate) fn fail(&self, kind: Kind, what: impl FnOnce() -> String) {
        if self.expected.is_none_or(|expected| expected == kind) && !self.is_violated() {
            *self.violation.borrow_mut() = Some(Violation { kind, time: self.now.get(), what: what() });
        }
    }

    /// A client requests a change.
    pub(crate) fn requested(&self, change: Change) {
        self.requested.set(self.requested.get() | change.key.map_or(0, only));
    }

    /// Whether a revocation of the key is in flight.
    pub(crate) fn is_racing(&self, key: Key) -> bool {
        self.requested.get() & !self.returned.get() & only(key) != 0
    }

    /// The keys whose revocation has returned.
    pub(crate) fn returned(&self) -> KeySet {
        self.returned.get()
    }

    /// The revocations of these keys have returned.
    pub(crate) fn add_returned(&self, keys: KeySet) {
        self.returned.set(self.returned.get() | keys);
    }

    /// A server learned that its change is committed.
    pub(crate) fn committed(&self, revision: Revision, change: Change) {
        let known = *self.acknowledged.borrow_mut().entry(change.request).or_insert(revision);
        if known != revision {
            self.fail(Kind::RepeatedEffect, || {
                format!("request {} made revision {known} and revision {revision}", change.request)
            });
        }
    }

    /// A Verify accepted `keys`. When it started, the revocations of `returned` had returned.
    pub(crate) fn accepted(&self, host: &Host, keys: KeySet, returned: KeySet) {
        let wrong = keys & returned;
        if wrong != 0 {
            let key = wrong.trailing_zeros();
            self.fail(Kind::AcceptedRevoked, || {
                format!("{host} accepted key {key} in a Verify that started after its revocation returned")
            });
        }
    }

    /// A replica is about to answer.
    pub(crate) fn answers(&self, process: &Process, trust: Duration, now: Boottime) {
        let is_fresh = process.confirmed.get().is_some_and(|confirmed| now < confirmed.after(trust));
        if !is_fresh {
            self.fail(Kind::AnsweredAlone, || {
                format!("{} answers, but its last heartbeat is older than the trust period", process.host)
            });
        }
    }

    /// A wait ended `late` after its limit, in a process that was paused for `paused`.
    pub(crate) fn waited(&self, host: &Host, late: Duration, paused: Time) {
        // After the limit the registry is read and written once more, so that the next change need not wait.
        let allowed = GRACE + LAST_LOOK * 3 + PAUSES + Duration::from_nanos(MILLISECOND + paused * 6 / 5);
        if late > allowed {
            self.fail(Kind::WaitedTooLong, || format!("a wait at {host} ended {late:?} after the length of the lease"));
        }
    }

    /// Compares the log at the end with the acknowledged changes.
    pub(crate) fn log(&self, requests: impl Iterator<Item = (RequestId, Revision)>) {
        let mut seen = BTreeSet::new();
        let mut missing = self.acknowledged.borrow().clone();
        for (request, revision) in requests {
            if !seen.insert(request) {
                self.fail(Kind::RepeatedEffect, || format!("request {request} is in the log twice"));
            }
            if missing.get(&request) == Some(&revision) {
                missing.remove(&request);
            }
        }
        if let Some((request, revision)) = missing.first_key_value() {
            self.fail(Kind::LostChange, || format!("request {request}, revision {revision}, is not in the log"));
        }
    }
}
