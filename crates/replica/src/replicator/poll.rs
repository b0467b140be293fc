//! When to read the log next: at once when told of a change, soon when there was one lately, else every now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use key_authority_domain::id::Revision;
use key_authority_storage::notify::CommitNotifications;
use tokio::sync::Notify;

use crate::clock::{Boottime, boottime};
use crate::state::ReplicaState;

/// How often the log is read when nothing has changed for a while.
const IDLE_INTERVAL: Duration = Duration::from_millis(50);
/// How often it is read when something has, by a replica that nobody tells: changes come in groups.
const BUSY_INTERVAL: Duration = Duration::from_millis(5);
/// How long after a change the next one is looked for as often as that.
const BUSY_PERIOD: Duration = Duration::from_secs(2);
/// How often it is read when it could not be.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// How often a session to listen on is looked for when there is none.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(1);
/// How far a change and being told of it may lie apart. A session that is silently cut never errs: changes that come untold
/// are what shows that it is.
const NOTIFY_GRACE: Duration = Duration::from_secs(1);

/// The pause between two readings of the log.
#[derive(Debug, Default)]
pub(crate) struct PollSchedule {
    applied: Option<Revision>,
    /// When it was last seen to have moved.
    changed: Option<Boottime>,
    /// When a change was found of which nobody had told.
    untold: Option<Boottime>,
    hearing: Arc<NotifyHealth>,
}

/// What there is to know of the session that listens.
#[derive(Debug, Default)]
struct NotifyHealth {
    /// Whether changes are told of.
    is_told: AtomicBool,
    /// When one was told of last, or when the session began: boottime in nanoseconds.
    last_notify: AtomicU64,
    is_deaf: Notify,
}

impl NotifyHealth {
    fn note(&self) {
        self.last_notify.store(boottime().0, Ordering::Relaxed);
    }
}

impl PollSchedule {
    /// The pause after a reading that ended at `now` with `applied`, or that could not be done.
    pub(crate) fn pause(&mut self, has_failed: bool, applied: Revision, now: Boottime) -> Duration {
        if self.applied.replace(applied).is_some_and(|before| before != applied) {
            self.changed = Some(now);
            self.untold.get_or_insert(now);
        }
        let is_busy = self.changed.is_some_and(|changed| now.since(changed) < BUSY_PERIOD);
        let is_told = self.is_told(now);
        if has_failed {
            RETRY_INTERVAL
        } else if is_busy && !is_told {
            BUSY_INTERVAL
        } else {
            IDLE_INTERVAL
        }
    }

    /// Whether changes are told of. When one came and nobody told of it, they are not any more, whatever the session says.
    fn is_told(&mut self, now: Boottime) -> bool {
        let is_told = self.hearing.is_told.load(Ordering::Relaxed);
        let heard = Boottime(self.hearing.last_notify.load(Ordering::Relaxed));
        self.untold = self.untold.filter(|found| is_told && heard.after(NOTIFY_GRACE) < *found);
        if self.untold.is_none_or(|found| now.since(found) < NOTIFY_GRACE) {
            return is_told;
        }
        self.hearing.is_told.store(false, Ordering::Relaxed);
        self.hearing.is_deaf.notify_one();
        false
    }

    /// Wakes the replicator whenever the database at `url` tells of a change, for as long as it is polled.
    pub(crate) fn listen(&self, url: String, state: Arc<ReplicaState>) -> impl Future<Output = ()> + use<> {
        let hearing = Arc::clone(&self.hearing);
        async move {
            loop {
                match CommitNotifications::connect(&url).await {
                    Ok(listener) => {
                        tracing::info!("LISTEN connection established");
                        hearing.note();
                        hearing.is_told.store(true, Ordering::Relaxed);
                        let lost = tokio::select! {
                            error = hear(listener, &state, &hearing) => error.to_string(),
                            () = hearing.is_deaf.notified() => "a change arrived without a notification".to_owned(),
                        };
                        hearing.is_told.store(false, Ordering::Relaxed);
                        tracing::warn!(error = lost, "LISTEN connection lost; polling every 5 ms until it is back");
                    }
                    Err(error) => tracing::debug!(error = %error, "cannot LISTEN; polling"),
                }
                tokio::time::sleep(RECONNECT_INTERVAL).await;
            }
        }
    }
}

async fn hear(
    mut listener: CommitNotifications,
    state: &ReplicaState,
    hearing: &NotifyHealth,
) -> key_authority_storage::StorageError {
    loop {
        // What came before this session listened is looked for as well.
        state.wake.notify_one();
        if let Err(error) = listener.recv().await {
            return error;
        }
        hearing.note();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Boottime {
        Boottime(1_000_000_000 + millis * 1_000_000)
    }

    #[test]
    fn a_change_is_followed_by_a_while_of_frequent_readings() {
        let mut pace = PollSchedule::default();
        assert_eq!(pace.pause(false, Revision(1), at(0)), IDLE_INTERVAL);
        assert_eq!(pace.pause(false, Revision(1), at(50)), IDLE_INTERVAL);
        assert_eq!(pace.pause(false, Revision(2), at(100)), BUSY_INTERVAL);
        assert_eq!(pace.pause(false, Revision(2), at(2_099)), BUSY_INTERVAL);
        assert_eq!(pace.pause(false, Revision(2), at(2_100)), IDLE_INTERVAL);
    }

    #[test]
    fn who_is_told_need_not_look_often() {
        let mut pace = PollSchedule::default();
        pace.hearing.is_told.store(true, Ordering::Relaxed);
        pace.pause(false, Revision(1), at(0));
        assert_eq!(pace.pause(false, Revision(2), at(1)), IDLE_INTERVAL);
        assert_eq!(pace.pause(true, Revision(3), at(2)), RETRY_INTERVAL);
    }

    #[test]
    fn a_session_that_does_not_tell_of_a_change_is_not_relied_on() {
        let mut pace = PollSchedule::default();
        let hearing = Arc::clone(&pace.hearing);
        let hear = |millis| hearing.last_notify.store(at(millis).0, Ordering::Relaxed);
        hearing.is_told.store(true, Ordering::Relaxed);
        hear(0);
        pace.pause(false, Revision(1), at(0));
        // One that is told of a little later than it is found.
        assert_eq!(pace.pause(false, Revision(2), at(5_000)), IDLE_INTERVAL);
        hear(5_100);
        assert_eq!(pace.pause(false, Revision(2), at(6_200)), IDLE_INTERVAL);
        // One that is not.
        assert_eq!(pace.pause(false, Revision(3), at(9_000)), IDLE_INTERVAL);
        assert_eq!(pace.pause(false, Revision(4), at(9_999)), IDLE_INTERVAL);
        assert!(hearing.is_told.load(Ordering::Relaxed));
        assert_eq!(pace.pause(false, Revision(4), at(10_000)), BUSY_INTERVAL);
        assert!(!hearing.is_told.load(Ordering::Relaxed));
    }
}
