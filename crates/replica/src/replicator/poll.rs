//! The poll schedule: the log is read at once after a notification, soon after a recent change, and otherwise at
//! intervals.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use key_authority_domain::id::Revision;
use key_authority_storage::notify::CommitNotifications;
use tokio::sync::Notify;

use crate::clock::{Boottime, boottime};
use crate::failure_log::FailureLog;
use crate::state::ReplicaState;

/// How often the log is read when nothing has changed for a while.
const IDLE_INTERVAL: Duration = Duration::from_millis(50);
/// How often the log is read after a change, by a replica without notifications: changes come in groups.
const BUSY_INTERVAL: Duration = Duration::from_millis(5);
/// How long after a change the log is read at that rate.
const BUSY_PERIOD: Duration = Duration::from_secs(2);
/// How often the log is read while reading it fails.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// How often a LISTEN session is opened while there is none.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(1);
/// How far a change and its notification may lie apart. A session that is silently cut never fails: only changes
/// without a notification show that it is cut.
const NOTIFY_GRACE: Duration = Duration::from_secs(1);

/// Computes the pause between two readings of the log.
#[derive(Debug, Default)]
pub(crate) struct PollSchedule {
    applied: Option<Revision>,
    /// When the applied revision was last seen to change.
    changed: Option<Boottime>,
    /// When a change was found that no notification had announced.
    unannounced: Option<Boottime>,
    health: Arc<NotifyHealth>,
}

/// The health of the LISTEN session.
#[derive(Debug, Default)]
struct NotifyHealth {
    /// Whether notifications of changes arrive.
    is_notified: AtomicBool,
    /// When the last notification arrived, or the session began: boottime in nanoseconds.
    last_notify: AtomicU64,
    /// Notified when a change proves that the session is cut.
    cut_detected: Notify,
}

impl NotifyHealth {
    fn note(&self) {
        self.last_notify.store(boottime().0, Ordering::Relaxed);
    }
}

impl PollSchedule {
    /// Returns the pause after a reading that ended at `now` with `applied`, or that failed.
    pub(crate) fn pause(&mut self, has_failed: bool, applied: Revision, now: Boottime) -> Duration {
        if self.applied.replace(applied).is_some_and(|before| before != applied) {
            self.changed = Some(now);
            self.unannounced.get_or_insert(now);
        }
        let is_busy = self.changed.is_some_and(|changed| now.since(changed) < BUSY_PERIOD);
        let is_notified = self.is_notified(now);
        if has_failed {
            RETRY_INTERVAL
        } else if is_busy && !is_notified {
            BUSY_INTERVAL
        } else {
            IDLE_INTERVAL
        }
    }

    /// Whether notifications of changes arrive. A change without a notification proves that they do not, even if the
    /// session looks healthy.
    fn is_notified(&mut self, now: Boottime) -> bool {
        let is_notified = self.health.is_notified.load(Ordering::Relaxed);
        let last_notify = Boottime(self.health.last_notify.load(Ordering::Relaxed));
        self.unannounced = self.unannounced.filter(|found| is_notified && last_notify.after(NOTIFY_GRACE) < *found);
        if self.unannounced.is_none_or(|found| now.since(found) < NOTIFY_GRACE) {
            return is_notified;
        }
        self.health.is_notified.store(false, Ordering::Relaxed);
        self.health.cut_detected.notify_one();
        false
    }

    /// Wakes the replicator at each notification from the database at `url`, for as long as the future is polled.
    pub(crate) fn listen(&self, url: String, state: Arc<ReplicaState>) -> impl Future<Output = ()> + use<> {
        let health = Arc::clone(&self.health);
        async move {
            let mut failures = FailureLog::default();
            loop {
                match CommitNotifications::connect(&url).await {
                    Ok(listener) => {
                        tracing::info!("LISTEN connection established");
                        health.note();
                        health.is_notified.store(true, Ordering::Relaxed);
                        let lost = tokio::select! {
                            error = wake_at_notifications(listener, &state, &health) => error.to_string(),
                            () = health.cut_detected.notified() => "a change arrived without a notification".to_owned(),
                        };
                        health.is_notified.store(false, Ordering::Relaxed);
                        tracing::warn!(error = lost, "LISTEN connection lost; polling until it is back");
                        // Failures to reconnect follow this line, so they are repetitions.
                        failures.note(boottime());
                    }
                    Err(error) => failures.log(&error, "cannot LISTEN; polling until it succeeds", boottime()),
                }
                tokio::time::sleep(RECONNECT_INTERVAL).await;
            }
        }
    }
}

async fn wake_at_notifications(
    mut listener: CommitNotifications,
    state: &ReplicaState,
    health: &NotifyHealth,
) -> key_authority_storage::StorageError {
    loop {
        // A change before this session began sends no notification, so the log is read once.
        state.wake.notify_one();
        if let Err(error) = listener.recv().await {
            return error;
        }
        health.note();
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;
    use crate::failure_log::tests::Lines;
    use crate::protocol::timings::LeaseTimings;

    fn at(millis: u64) -> Boottime {
        Boottime(1_000_000_000 + millis * 1_000_000)
    }

    #[test]
    fn a_change_is_followed_by_a_period_of_frequent_polling() {
        let mut schedule = PollSchedule::default();
        assert_eq!(schedule.pause(false, Revision(1), at(0)), IDLE_INTERVAL);
        assert_eq!(schedule.pause(false, Revision(1), at(50)), IDLE_INTERVAL);
        assert_eq!(schedule.pause(false, Revision(2), at(100)), BUSY_INTERVAL);
        assert_eq!(schedule.pause(false, Revision(2), at(2_099)), BUSY_INTERVAL);
        assert_eq!(schedule.pause(false, Revision(2), at(2_100)), IDLE_INTERVAL);
    }

    #[test]
    fn a_notified_replica_polls_at_the_idle_interval() {
        let mut schedule = PollSchedule::default();
        schedule.health.is_notified.store(true, Ordering::Relaxed);
        schedule.pause(false, Revision(1), at(0));
        assert_eq!(schedule.pause(false, Revision(2), at(1)), IDLE_INTERVAL);
        assert_eq!(schedule.pause(true, Revision(3), at(2)), RETRY_INTERVAL);
    }

    #[tokio::test]
    async fn a_listen_that_never_succeeds_is_logged_once() {
        let (lines, _guard) = Lines::collect();
        let state = ReplicaState::new(Arc::default(), LeaseTimings::new(Duration::from_secs(10)));
        let listening = PollSchedule::default().listen("not a URL".to_owned(), Arc::new(state));
        let two_attempts = RECONNECT_INTERVAL * 3 / 2;
        tokio::time::timeout(two_attempts, listening).await.unwrap_err();
        assert_eq!(lines.levels("cannot LISTEN"), [Level::WARN, Level::DEBUG]);
        assert_eq!(lines.levels("cause=").len(), 2);
    }

    #[test]
    fn a_session_that_misses_a_change_is_replaced() {
        let mut schedule = PollSchedule::default();
        let health = Arc::clone(&schedule.health);
        let notify = |millis| health.last_notify.store(at(millis).0, Ordering::Relaxed);
        health.is_notified.store(true, Ordering::Relaxed);
        notify(0);
        schedule.pause(false, Revision(1), at(0));
        // This notification arrives a little after its change is found.
        assert_eq!(schedule.pause(false, Revision(2), at(5_000)), IDLE_INTERVAL);
        notify(5_100);
        assert_eq!(schedule.pause(false, Revision(2), at(6_200)), IDLE_INTERVAL);
        // These changes come without a notification.
        assert_eq!(schedule.pause(false, Revision(3), at(9_000)), IDLE_INTERVAL);
        assert_eq!(schedule.pause(false, Revision(4), at(9_999)), IDLE_INTERVAL);
        assert!(health.is_notified.load(Ordering::Relaxed));
        assert_eq!(schedule.pause(false, Revision(4), at(10_000)), BUSY_INTERVAL);
        assert!(!health.is_notified.load(Ordering::Relaxed));
    }
}
