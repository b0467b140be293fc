//! The history of a race, checked online against one clock.
//!
//! Two violations are possible. A *stale acceptance*: VALID for a Verify that started after the revocation of its key
//! had returned. A *false denial*: another verdict that arrives before the revocation of the key starts, or a verdict
//! that no key of the race can have.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use key_authority_proto::v1::{Verdict, VerifyResponse};
use key_authority_testkit::clock::{Clock, seconds};
use key_authority_testkit::say;
use serde::Serialize;
use tonic::{Code, Status};

use super::phases::Phases;
use crate::client;

/// How many violations are reported in full; all are counted.
const REPORTED_MAX: usize = 20;

/// A key and its history.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) token: String,
    /// The `request_id` of its revocation.
    pub(crate) request_id: String,
    /// The number of VALID verdicts.
    valid: AtomicU64,
    /// When its revocation first started; 0: not yet.
    invoked: AtomicU64,
    /// When its revocation returned OK; 0: not yet.
    returned: AtomicU64,
}

impl Key {
    pub(crate) fn new(id: String, token: String, request_id: String) -> Self {
        let zero = AtomicU64::default;
        Self { id, token, request_id, valid: zero(), invoked: zero(), returned: zero() }
    }

    /// Records that its revocation is about to start.
    pub(crate) fn note_invoked(&self, now: u64) {
        self.invoked.store(now, Ordering::SeqCst);
    }

    /// Records that its revocation returned. Read `now` after the answer has arrived.
    pub(crate) fn note_returned(&self, now: u64) {
        self.returned.store(now, Ordering::SeqCst);
    }

    /// Whether a Verify found it valid.
    pub(crate) fn was_valid(&self) -> bool {
        self.valid.load(Ordering::Relaxed) > 0
    }

    /// When its revocation returned; None if it has not.
    pub(crate) fn returned(&self) -> Option<u64> {
        Some(self.returned.load(Ordering::SeqCst)).filter(|at| *at > 0)
    }

    fn invoked(&self) -> Option<u64> {
        Some(self.invoked.load(Ordering::SeqCst)).filter(|at| *at > 0)
    }
}

/// A broken promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Violation {
    StaleAcceptance,
    FalseDenial,
}

/// The counters of all answers.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) verifies: AtomicU64,
    pub(crate) racing: AtomicU64,
    pub(crate) after_return: AtomicU64,
    pub(crate) stale_acceptances: AtomicU64,
    pub(crate) false_denials: AtomicU64,
    pub(crate) unavailable: AtomicU64,
}

/// The history.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) clock: Clock,
    pub(crate) counts: Counts,
    pub(crate) phases: Phases,
    /// How long after the return of a revocation a Verify still counts as racing with it.
    margin: Duration,
    reasons: Mutex<BTreeMap<String, u64>>,
    violations: Mutex<Vec<String>>,
}

/// The part of the report that comes from the history.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    pub(crate) unanswered: BTreeMap<String, u64>,
    pub(crate) violations: Vec<String>,
}

impl History {
    pub(crate) fn new(clock: Clock, margin: Duration) -> Self {
        Self {
            clock,
            counts: Counts::default(),
            phases: Phases::new(clock),
            margin,
            reasons: Mutex::default(),
            violations: Mutex::default(),
        }
    }

    /// Records the answer to a Verify that started at `invoked` at a replica.
    pub(crate) fn note(&self, key: &Key, replica: &str, invoked: u64, answer: &Result<VerifyResponse, Status>) {
        let replied = self.clock.now();
        match answer {
            Ok(answer) => self.note_verdict(key, replica, (invoked, replied), answer),
            Err(status) => self.note_status(replica, status),
        }
    }

    fn note_verdict(&self, key: &Key, replica: &str, (invoked, replied): (u64, u64), answer: &VerifyResponse) {
        // Read after the answer arrived, so that a revocation that could affect the answer is seen. A revocation that
        // returned before the Verify started was recorded before that, so it is seen too.
        let (revocation, returned) = (key.invoked(), key.returned());
        let counts = &self.counts;
        counts.verifies.fetch_add(1, Ordering::Relaxed);
        let margin = u64::try_from(self.margin.as_nanos()).unwrap_or(u64::MAX);
        if revocation.is_some() && returned.is_none_or(|at| invoked <= at + margin) {
            counts.racing.fetch_add(1, Ordering::Relaxed);
        }
        if returned.is_some_and(|at| at < invoked) {
            counts.after_return.fetch_add(1, Ordering::Relaxed);
        }
        let violation = match answer.verdict() {
            Verdict::Valid => {
                key.valid.fetch_add(1, Ordering::Relaxed);
                returned.filter(|at| *at < invoked).map(|_| Violation::StaleAcceptance)
            }
            Verdict::Revoked if revocation.is_some_and(|at| at <= replied) => None,
            _ => Some(Violation::FalseDenial),
        };
        if let Some(violation) = violation {
            let at = |at: Option<u64>| at.map_or("never".to_owned(), |at| format!("{:.6} s", seconds(at)));
            self.report(
                violation,
                &format!(
                    "{:?} at revision {} for key {}: Verify at {replica} started at {:.6} s and returned at {:.6} s; \
                     its revocation started: {}, returned: {}; phase {}",
                    answer.verdict(),
                    answer.revision,
                    key.id,
                    seconds(invoked),
                    seconds(replied),
                    at(revocation),
                    at(returned),
                    self.phases.during(invoked, replied).name(),
                ),
            );
        }
    }

    fn note_status(&self, replica: &str, status: &Status) {
        let reason = client::reason(status);
        // The credential and the requests are valid all the time, so these codes are false denials, too.
        if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument) {
            self.report(Violation::FalseDenial, &format!("{replica} rejected a valid caller: {reason}"));
        }
        self.counts.unavailable.fetch_add(1, Ordering::Relaxed);
        *self.reasons.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    fn report(&self, violation: Violation, text: &str) {
        let (count, name) = match violation {
            Violation::StaleAcceptance => (&self.counts.stale_acceptances, "STALE ACCEPTANCE"),
            Violation::FalseDenial => (&self.counts.false_denials, "FALSE DENIAL"),
        };
        count.fetch_add(1, Ordering::Relaxed);
        let text = format!("{name}: {text}");
        let mut violations = self.violations.lock().unwrap_or_else(PoisonError::into_inner);
        if violations.len() < REPORTED_MAX {
            say!("{text}");
            violations.push(text);
        }
    }

    /// The summary at the end of the race.
    pub(crate) fn summary(&self) -> Summary {
        let unanswered = self.reasons.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let violations = self.violations.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Summary { unanswered, violations }
    }
}
