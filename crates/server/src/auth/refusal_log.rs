//! Limits the log lines about callers without a valid token: anybody can make such calls as fast as the network allows.

use std::sync::{Mutex, PoisonError};

use key_authority_replica::clock::Boottime;

/// The maximum number of lines in a second.
const LINES_PER_SECOND: u32 = 10;

/// The lines of the current second, and the number of those left out since the last line.
#[derive(Debug, Default)]
pub(super) struct RefusalLog(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    second: u64,
    lines: u32,
    left_out: u64,
}

impl RefusalLog {
    /// Returns how many lines were left out since the last one, if there may be a line at `now`.
    pub(super) fn admit(&self, now: Boottime) -> Option<u64> {
        let second = now.0 / 1_000_000_000;
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.second != second {
            (window.second, window.lines) = (second, 0);
        }
        if window.lines == LINES_PER_SECOND {
            window.left_out += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_limit_are_counted_in_the_next_one() {
        let log = RefusalLog::default();
        let at = |second: u64| Boottime(second * 1_000_000_000);
        let lines: Vec<_> = (0..13).filter_map(|_| log.admit(at(1))).collect();
        assert_eq!(lines, [0; LINES_PER_SECOND as usize]);
        assert_eq!(log.admit(at(2)), Some(3));
        assert_eq!(log.admit(at(2)), Some(0));
    }
}
