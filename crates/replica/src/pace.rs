//! When to read the log next: at once when told of a change, soon when there was one lately, else every now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use key_authority_domain::id::Revision;
use key_authority_storage::wake::Listener;

use crate::clock::Boottime;
use crate::view::View;

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

/// The pause between two readings of the log.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    changed: Option<(Revision, Boottime)>,
    /// Whether changes are told of.
    is_told: Arc<AtomicBool>,
}

impl Pace {
    /// The pause after a reading that ended at `now` with `applied`, or that `failed`.
    pub(crate) fn pause(&mut self, has_failed: bool, applied: Revision, now: Boottime) -> Duration {
        match &mut self.changed {
            Some((revision, since)) if *revision != applied => (*revision, *since) = (applied, now),
            Some(_) => {}
            None => self.changed = Some((applied, Boottime(0))),
        }
        let is_busy = self.changed.is_some_and(|(_, since)| since.0 > 0 && now.since(since) < BUSY_PERIOD);
        if has_failed {
            RETRY_INTERVAL
        } else if is_busy && !self.is_told.load(Ordering::Relaxed) {
            BUSY_INTERVAL
        } else {
            IDLE_INTERVAL
        }
    }

    /// Wakes the replicator whenever the database at `url` tells of a change, for as long as it is polled.
    pub(crate) fn listen(&self, url: String, view: Arc<View>) -> impl Future<Output = ()> + use<> {
        let is_told = Arc::clone(&self.is_told);
        async move {
            loop {
                match Listener::connect(&url).await {
                    Ok(listener) => {
                        tracing::info!("the database tells of changes");
                        is_told.store(true, Ordering::Relaxed);
                        let error = hear(listener, &view).await;
                        is_told.store(false, Ordering::Relaxed);
                        tracing::warn!(error = %error, "the database tells of changes no more; the log is polled for them");
                    }
                    Err(error) => tracing::debug!(error = %error, "the database does not tell of changes"),
                }
                tokio::time::sleep(RECONNECT_INTERVAL).await;
            }
        }
    }
}

async fn hear(mut listener: Listener, view: &View) -> key_authority_storage::StorageError {
    loop {
        // What came before this session listened is looked for as well.
        view.wake.notify_one();
        if let Err(error) = listener.heard().await {
            return error;
        }
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
        let mut pace = Pace::default();
        assert_eq!(pace.pause(false, Revision(1), at(0)), IDLE_INTERVAL);
        assert_eq!(pace.pause(false, Revision(1), at(50)), IDLE_INTERVAL);
        assert_eq!(pace.pause(false, Revision(2), at(100)), BUSY_INTERVAL);
        assert_eq!(pace.pause(false, Revision(2), at(2_099)), BUSY_INTERVAL);
        assert_eq!(pace.pause(false, Revision(2), at(2_100)), IDLE_INTERVAL);
    }

    #[test]
    fn who_is_told_need_not_look_often() {
        let mut pace = Pace::default();
        pace.is_told.store(true, Ordering::Relaxed);
        pace.pause(false, Revision(1), at(0));
        assert_eq!(pace.pause(false, Revision(2), at(1)), IDLE_INTERVAL);
        assert_eq!(pace.pause(true, Revision(3), at(2)), RETRY_INTERVAL);
    }
}
