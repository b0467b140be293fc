//! The history of a race, checked while it is made, by one clock.
//!
//! Two things must never happen. A *stale acceptance*: VALID to a Verify that was invoked after the revocation of its key had
//! returned. A *false denial*: any other verdict about a key whose revocation had not even been invoked when the answer was
//! there, or a verdict that no key of ours can have.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use key_authority_proto::v1::{Verdict, VerifyResponse};
use serde::Serialize;
use tonic::{Code, Status};

use super::phases::Phases;
use crate::client;
use crate::clock::{Clock, seconds};
use crate::progress::say;

/// How many violations are told in full; all are counted.
const TOLD: usize = 20;

/// A key and what became of it.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) token: String,
    /// The `request_id` of its revocation.
    pub(crate) request_id: String,
    /// How often it was found valid.
    valid: AtomicU64,
    /// When its revocation was first invoked; 0: not yet.
    invoked: AtomicU64,
    /// When its revocation had returned OK; 0: not yet.
    returned: AtomicU64,
}

impl Key {
    pub(crate) fn new(id: String, token: String, request_id: String) -> Self {
        let zero = AtomicU64::default;
        Self { id, token, request_id, valid: zero(), invoked: zero(), returned: zero() }
    }

    /// Notes that its revocation is about to be asked for.
    pub(crate) fn note_invoked(&self, now: u64) {
        self.invoked.store(now, Ordering::SeqCst);
    }

    /// Notes that the revocation has returned. `now` was read after the answer had come.
    pub(crate) fn note_returned(&self, now: u64) {
        self.returned.store(now, Ordering::SeqCst);
    }

    /// Whether somebody has found it valid.
    pub(crate) fn was_valid(&self) -> bool {
        self.valid.load(Ordering::Relaxed) > 0
    }

    /// When its revocation had returned, if it has.
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

/// All answers, counted.
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
    /// How long after the return of a revocation a Verify still counts as racing with it. It counts from the invocation on.
    margin: Duration,
    reasons: Mutex<BTreeMap<String, u64>>,
    told: Mutex<Vec<String>>,
}

/// What is told of a history at its end.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Told {
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
            told: Mutex::default(),
        }
    }

    /// Notes the answer to a Verify that was invoked at `invoked` at a replica.
    pub(crate) fn note(&self, key: &Key, replica: &str, invoked: u64, answer: &Result<VerifyResponse, Status>) {
        let replied = self.clock.now();
        match answer {
            Ok(answer) => self.note_verdict(key, replica, (invoked, replied), answer),
            Err(status) => self.note_status(replica, status),
        }
    }

    fn note_verdict(&self, key: &Key, replica: &str, (invoked, replied): (u64, u64), answer: &VerifyResponse) {
        // Read after the answer came: a revocation that was invoked by then may show in it. One that returned before the
        // Verify was invoked was noted before that, so it is seen here.
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
            self.tell(
                violation,
                &format!(
                    "{:?} at revision {} about key {}: {replica} was asked at {:.6} s and answered at {:.6} s; the \
                     revocation was invoked: {}, had returned: {}; phase {}",
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
        // Our credential is valid all the time, and our questions are: to deny either is a false denial too.
        if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument) {
            self.tell(Violation::FalseDenial, &format!("{replica} refused a good caller: {reason}"));
        }
        self.counts.unavailable.fetch_add(1, Ordering::Relaxed);
        *self.reasons.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    fn tell(&self, violation: Violation, text: &str) {
        let (count, name) = match violation {
            Violation::StaleAcceptance => (&self.counts.stale_acceptances, "STALE ACCEPTANCE"),
            Violation::FalseDenial => (&self.counts.false_denials, "FALSE DENIAL"),
        };
        count.fetch_add(1, Ordering::Relaxed);
        let text = format!("{name}: {text}");
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD {
            say!("{text}");
            told.push(text);
        }
    }

    /// What is to be told at the end.
    pub(crate) fn told(&self) -> Told {
        let unanswered = self.reasons.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let violations = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Told { unanswered, violations }
    }
}
