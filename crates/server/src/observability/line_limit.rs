//! Limits the log lines that peers cause: they can do so as fast as the network allows.

use std::sync::{Mutex, PoisonError};

use key_authority_replica::clock::Boottime;

/// The lines of the current second, and the number of those left out since the last line.
#[derive(Debug)]
pub(crate) struct LineLimit {
    per_second: u32,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    second: u64,
    lines: u32,
    left_out: u64,
}

impl LineLimit {
    /// Allows this many lines in a second.
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second, window: Mutex::default() }
    }

    /// Returns how many lines were left out since the last one, if there may be a line at `now`.
    pub(crate) fn admit(&self, now: Boottime) -> Option<u64> {
        let second = now.0 / 1_000_000_000;
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.second != second {
            (window.second, window.lines) = (second, 0);
        }
        if window.lines == self.per_second {
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
        let log = LineLimit::new(10);
        let at = |second: u64| Boottime(second * 1_000_000_000);
        let lines: Vec<_> = (0..13).filter_map(|_| log.admit(at(1))).collect();
        assert_eq!(lines, [0; 10]);
        assert_eq!(log.admit(at(2)), Some(3));
        assert_eq!(log.admit(at(2)), Some(0));
    }
}
