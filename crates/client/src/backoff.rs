//! How long to wait before the next try: longer each time, and never as long as others do.

use std::time::Duration;

use tokio::time::sleep;

/// The longest of the first pauses. A stream that ended in order is opened anew almost at once.
const FIRST: Duration = Duration::from_millis(20);
/// The longest of all pauses: a replica that comes back is used within it.
const LONGEST: Duration = Duration::from_secs(1);

/// The pauses between tries.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// Waits, and waits twice as long the next time.
    pub(crate) async fn pause(&mut self) {
        sleep(jittered(self.lengthen())).await;
    }

    /// The longest that the next pause may be; the one after it may be twice as long.
    fn lengthen(&mut self) -> Duration {
        let next = self.next;
        self.next = (next * 2).min(LONGEST);
        next
    }
}

/// At least half of a length of time, and at most all of it: what many do at once they do not do again at once.
#[expect(clippy::disallowed_methods, reason = "the one place of the client where chance is asked")]
pub(crate) fn jittered(longest: Duration) -> Duration {
    longest.mul_f64(rand::random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::new();
        for longest_ms in [20, 40, 80, 160, 320, 640, 1000, 1000] {
            assert_eq!(backoff.lengthen(), Duration::from_millis(longest_ms));
        }
    }

    #[test]
    fn a_jittered_time_is_half_of_it_at_least() {
        let times: Vec<Duration> = (0..1000).map(|_| jittered(Duration::from_secs(2))).collect();
        assert!(times.iter().all(|&time| (Duration::from_secs(1)..=Duration::from_secs(2)).contains(&time)));
        assert!(times.iter().any(|&time| time != times[0]), "they differ");
    }
}
