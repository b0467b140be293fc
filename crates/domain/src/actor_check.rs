//! Checks that the log contains no event by an actor after the event that revoked, disabled, deleted or expired that
//! actor's key.
//!
//! A caller is authorized inside the transaction of its change, under the lock that orders the log, so the log shows
//! whether that happened. [`ActorCheck`] walks the log in order and reports each violation. What a caller may do is
//! defined in [`crate::permission`].

use std::collections::HashMap;

use crate::audit::{Action, ChainError, LoggedEvent};
use crate::id::Revision;
use crate::snapshot;
use crate::time::Timestamp;

/// Walks the log and checks that no actor makes a change after its key has ended.
#[derive(Debug, Default)]
pub struct ActorCheck {
    /// Keys of account `system`, by ID. An actor without a key in the log, such as `bootstrap`, never ends.
    callers: HashMap<String, Caller>,
}

/// The state of a caller's key as of the last event.
#[derive(Debug, Clone, Copy)]
struct Caller {
    /// The event that last changed the state.
    revision: Revision,
    /// Whether the key is revoked, disabled or deleted.
    has_ended: bool,
    expire_time: Option<Timestamp>,
}

/// The relevant fields of a snapshot; see [`crate::snapshot`].
#[derive(Default)]
struct Snapshot {
    state: String,
    expire_time: Option<Timestamp>,
}

impl Snapshot {
    /// Parses the JSON of a snapshot. Invalid JSON was altered, which the chain check reports.
    fn parse(text: &str) -> Self {
        let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        let field = |name| value.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
        let expire_time = field("expire_time").parse::<jiff::Timestamp>().ok();
        Self {
            state: field("state").to_owned(),
            expire_time: expire_time.map(|time| Timestamp::from_micros(time.as_microsecond())),
        }
    }
}

impl ActorCheck {
    /// Checks the next event, in order of revision, and updates the state of callers.
    pub fn event(&mut self, logged: &LoggedEvent) -> Option<ChainError> {
        let ended_by = self.ended_by(logged);
        self.record(logged);
        ended_by.map(|ended_by| ChainError::ActorEnded { revision: logged.revision, ended_by })
    }

    /// The event that ended the key of the actor of `logged`, if there is one. A caller may end its own key as its last
    /// change.
    fn ended_by(&self, logged: &LoggedEvent) -> Option<Revision> {
        let caller = self.callers.get(logged.event.actor.as_str())?;
        let is_over = caller.has_ended || logged.time.is_past(caller.expire_time);
        is_over.then_some(caller.revision)
    }

    fn record(&mut self, logged: &LoggedEvent) {
        let LoggedEvent { revision, ref event, .. } = *logged;
        if !event.account.is_system() {
            return;
        }
        let ended = Caller { revision, has_ended: true, expire_time: None };
        let after = event.after.as_deref();
        // The account `system` itself can be neither suspended nor deleted.
        let Some(key_id) = &event.key_id else {
            let revoked = after.filter(|_| event.action == Action::RevokeKeys).map(snapshot::revoked_ids);
            revoked.into_iter().flatten().for_each(|key_id| self.record_caller(&key_id, ended));
            return;
        };
        let caller = match after.map(Snapshot::parse) {
            None => ended,
            Some(key) => Caller {
                revision,
                has_ended: matches!(key.state.as_str(), "KEY_STATE_REVOKED" | "KEY_STATE_DISABLED"),
                expire_time: key.expire_time,
            },
        };
        self.record_caller(key_id.as_str(), caller);
    }

    fn record_caller(&mut self, key_id: &str, caller: Caller) {
        match self.callers.get_mut(key_id) {
            // Violations name the first event that ended the key.
            Some(known) if known.has_ended && caller.has_ended => {}
            Some(known) => *known = caller,
            None => {
                self.callers.insert(key_id.to_owned(), caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{AuditEvent, ChainHash};
    use crate::id::{AccountId, Actor, KeyId};

    fn event(revision: i64, actor: &str, action: Action, key_id: Option<&str>, after: Option<&str>) -> LoggedEvent {
        LoggedEvent {
            revision: Revision(revision),
            time: Timestamp::from_micros(revision * 1_000_000),
            event: AuditEvent {
                actor: Actor::new(actor).unwrap(),
                subject: None,
                action,
                account: if key_id.is_some() { AccountId::system() } else { AccountId::new("acme").unwrap() },
                key_id: key_id.map(|id| KeyId::new(id).unwrap()),
                request: None,
                before: None,
                after: after.map(Into::into),
            },
            secret_version: 1,
            hash: ChainHash::default(),
        }
    }

    const ACTIVE: Option<&str> = Some(r#"{"state":"KEY_STATE_ACTIVE"}"#);

    /// The violations in a log in which `end` follows the creation of caller `ci`, with an event by `ci` before and
    /// after it.
    fn violations(end: LoggedEvent) -> Vec<ChainError> {
        let mut check = ActorCheck::default();
        let log = [
            event(1, "bootstrap", Action::CreateKey, Some("ci"), ACTIVE),
            event(2, "ci", Action::CreateAccount, None, None),
            end,
            event(9, "ci", Action::CreateAccount, None, None),
            event(10, "bootstrap", Action::CreateAccount, None, None),
        ];
        log.iter().filter_map(|logged| check.event(logged)).collect()
    }

    #[test]
    fn an_event_after_the_end_of_its_actor_is_reported_with_the_event_that_ended_it() {
        let ended = [ChainError::ActorEnded { revision: Revision(9), ended_by: Revision(3) }];
        let after = |state: &str| format!(r#"{{"state":"{state}"}}"#);
        let revoked = after("KEY_STATE_REVOKED");
        assert_eq!(violations(event(3, "root", Action::RevokeKey, Some("ci"), Some(&revoked))), ended);
        let disabled = after("KEY_STATE_DISABLED");
        assert_eq!(violations(event(3, "root", Action::DisableKey, Some("ci"), Some(&disabled))), ended);
        assert_eq!(violations(event(3, "ci", Action::DeleteKey, Some("ci"), None)), ended, "even by itself");
        let short = r#"{"state":"KEY_STATE_ACTIVE","expire_time":"1970-01-01T00:00:09.000000Z"}"#;
        assert_eq!(violations(event(3, "root", Action::UpdateKey, Some("ci"), Some(short))), ended);
        let ids = [KeyId::new("ci").unwrap()];
        let together = snapshot::of_revocation(&AccountId::system(), &ids, "left", false);
        let mut many = event(3, "root", Action::RevokeKeys, None, Some(&together));
        assert_eq!(violations(many.clone()), [], "keys of another account are not callers");
        many.event.account = AccountId::system();
        assert_eq!(violations(many), ended);
    }

    #[test]
    fn an_active_caller_may_make_changes() {
        let long = r#"{"state":"KEY_STATE_ACTIVE","expire_time":"1970-01-01T00:00:09.000001Z"}"#;
        assert_eq!(violations(event(3, "root", Action::UpdateKey, Some("ci"), Some(long))), []);
        assert_eq!(violations(event(3, "root", Action::EnableKey, Some("ci"), ACTIVE)), []);
        assert_eq!(
            violations(event(3, "root", Action::RevokeKey, Some("other"), Some(r#"{"state":"KEY_STATE_REVOKED"}"#))),
            []
        );
    }
}
