//! Exponential backoff with jitter.

use std::time::Duration;

use tokio::time::sleep;

/// The first pause. It is short, because a stream that the server closed in good order is opened again almost at once.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
/// The longest pause. A replica that comes back is used within this time.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The pauses between attempts.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: PAUSE_FIRST }
    }

    /// Waits, and doubles the next pause.
    pub(crate) async fn pause(&mut self) {
        sleep(jittered(self.advance())).await;
    }

    /// Returns the upper bound of the next pause, and doubles the bound.
    fn advance(&mut self) -> Duration {
        let next = self.next;
        self.next = (next * 2).min(PAUSE_MAX);
        next
    }
}

/// Returns between half of `upper_bound` and all of it, so that many clients do not retry at the same instant.
#[expect(clippy::disallowed_methods, reason = "the only use of randomness in the client")]
pub(crate) fn jittered(upper_bound: Duration) -> Duration {
    upper_bound.mul_f64(rand::random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::new();
        for longest_ms in [20, 40, 80, 160, 320, 640, 1000, 1000] {
            assert_eq!(backoff.advance(), Duration::from_millis(longest_ms));
        }
    }

    #[test]
    fn jitter_keeps_at_least_half_of_the_time() {
        let times: Vec<Duration> = (0..1000).map(|_| jittered(Duration::from_secs(2))).collect();
        assert!(times.iter().all(|&time| (Duration::from_secs(1)..=Duration::from_secs(2)).contains(&time)));
        assert!(times.iter().any(|&time| time != times[0]), "all times are equal");
    }
}
