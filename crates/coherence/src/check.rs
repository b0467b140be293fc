//! What must hold, whatever happens. The checks see true time and both sides of every call, as nobody in the simulation does.

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

/// Which promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A Verify that was invoked after the revocation of its key had returned let it pass.
    AcceptedRevoked,
    /// A replica answered although it had not heard from the database for the time that a heartbeat is trusted.
    AnsweredAlone,
    /// A wait went on for longer than the lease.
    WaitedTooLong,
    /// A change that was acknowledged is not in the log, or not in the index of a replica that is up to date.
    LostChange,
    /// A request had more than one effect, or two revisions were told for it.
    RepeatedEffect,
    /// A replica took an intact log for one that went back.
    FalseAlarm,
    /// With the faults lifted, a replica did not come back, or a revocation was not confirmed.
    NotRecovered,
}

/// A promise that was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub kind: Kind,
    /// When, in nanoseconds of true time.
    pub time: u64,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}.{:09} s: {}", self.kind, self.time / 1_000_000_000, self.time % 1_000_000_000, self.what)
    }
}

/// What was promised so far, and whether it was kept.
pub(crate) struct Check {
    /// The one promise that is checked; all when none is named.
    breaks: Option<Kind>,
    now: Cell<Time>,
    /// Keys whose revocation a client has asked for.
    asked: Cell<KeySet>,
    /// Keys whose revocation is over: no Verify that is invoked now may let them pass.
    over: Cell<KeySet>,
    /// The revision that was told for each request.
    told: RefCell<BTreeMap<RequestId, Revision>>,
    violation: RefCell<Option<Violation>>,
}

/// The pauses between those.
const PAUSES: Duration = Duration::from_millis(20);

impl Check {
    pub(crate) fn new(variant: Option<Variant>) -> Self {
        Self {
            breaks: variant.map(Variant::breaks),
            now: Cell::new(0),
            asked: Cell::new(0),
            over: Cell::new(0),
            told: RefCell::default(),
            violation: RefCell::default(),
        }
    }

    /// Notes what time it is, for the record.
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
        if self.breaks.is_none_or(|breaks| breaks == kind) && !self.is_violated() {
            *self.violation.borrow_mut() = Some(Violation { kind, time: self.now.get(), what: what() });
        }
    }

    /// A client asks for a change.
    pub(crate) fn ask(&self, change: Change) {
        self.asked.set(self.asked.get() | change.key.map_or(0, only));
    }

    /// Whether the key is being revoked: it was asked for, and is not over.
    pub(crate) fn is_racing(&self, key: Key) -> bool {
        self.asked.get() & !self.over.get() & only(key) != 0
    }

    /// The keys whose revocation is over.
    pub(crate) fn over(&self) -> KeySet {
        self.over.get()
    }

    /// These keys are revoked, for everybody, from now on.
    pub(crate) fn end(&self, keys: KeySet) {
        self.over.set(self.over.get() | keys);
    }

    /// A server was told that its commit stands.
    pub(crate) fn committed(&self, revision: Revision, change: Change) {
        let told = *self.told.borrow_mut().entry(change.request).or_insert(revision);
        if told != revision {
            self.fail(Kind::RepeatedEffect, || {
                format!("request {} made revision {told} and revision {revision}", change.request)
            });
        }
    }

    /// A Verify was invoked when these keys were over, and let one pass.
    pub(crate) fn accepted(&self, host: &Host, keys: KeySet, over: KeySet) {
        let wrong = keys & over;
        if wrong != 0 {
            let key = wrong.trailing_zeros();
            self.fail(Kind::AcceptedRevoked, || {
                format!("{host} let key {key} pass to a Verify that was invoked after its revocation had returned")
            });
        }
    }

    /// A replica is about to answer.
    pub(crate) fn answers(&self, process: &Process, trust: Duration, now: Boottime) {
        let is_fresh = process.heard.get().is_some_and(|heard| now < heard.after(trust));
        if !is_fresh {
            self.fail(Kind::AnsweredAlone, || format!("{} answers without a heartbeat it may trust", process.host));
        }
    }

    /// A wait ended so much later than it should, in a process that was paused for so long.
    pub(crate) fn waited(&self, host: &Host, late: Duration, paused: Time) {
        // The registry is read, and written, a little longer, for the sake of the next change.
        let allowed = GRACE + LAST_LOOK * 3 + PAUSES + Duration::from_nanos(MILLISECOND + paused * 6 / 5);
        if late > allowed {
            self.fail(Kind::WaitedTooLong, || format!("a wait at {host} ended {late:?} after the length of the lease"));
        }
    }

    /// What the log holds at the end.
    pub(crate) fn log(&self, requests: impl Iterator<Item = (RequestId, Revision)>) {
        let mut seen = BTreeSet::new();
        let mut missing = self.told.borrow().clone();
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
