//! What the attackers spent: without it, a bound that was kept may only show that the attack was weak.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Bytes that were sent, and connections that were open at once.
#[derive(Debug, Default)]
pub(crate) struct Effort {
    sent: AtomicU64,
    open: AtomicUsize,
    open_max: AtomicUsize,
}

/// An open connection. Dropping it records its end.
#[derive(Debug)]
pub(crate) struct Open<'a>(&'a Effort);

impl Effort {
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn opened(&self) -> Open<'_> {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.open_max.fetch_max(open, Ordering::Relaxed);
        Open(self)
    }

    /// What is worth a note.
    pub(crate) fn notes(&self) -> Vec<String> {
        let (sent, open) = (self.sent.load(Ordering::Relaxed), self.open_max.load(Ordering::Relaxed));
        let mut notes = Vec::new();
        if open > 0 {
            notes.push(format!("{open} connections at once"));
        }
        if sent > 0 {
            notes.push(format!("{}.{} MB sent", sent / 1_000_000, sent / 100_000 % 10));
        }
        notes
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_connections_at_once_are_noted() {
        let effort = Effort::default();
        let first = effort.opened();
        drop((effort.opened(), first));
        drop(effort.opened());
        effort.sent(1_500_000);
        assert_eq!(effort.notes(), ["2 connections at once", "1.5 MB sent"]);
    }
}
