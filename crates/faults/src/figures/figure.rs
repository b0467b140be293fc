//! One figure, and its limit.

use std::fmt::Write as _;

use key_authority_testkit::clock::seconds;
use serde::Serialize;

/// The unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Seconds,
    Milliseconds,
    Count,
}

/// The consequence when a figure exceeds its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Weight {
    /// A promise is broken, and the run fails.
    Promise,
    /// The target is missed on this machine; the run does not fail.
    Target,
    /// None: the figure is context only.
    Context,
}

/// A figure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    name: String,
    value: f64,
    unit: Unit,
    at_most: Option<f64>,
    weight: Weight,
}

impl Figure {
    /// A count that must be 0.
    pub(crate) fn never(name: impl Into<String>, count: usize) -> Self {
        Self { at_most: Some(0.0), weight: Weight::Promise, ..Self::count(name, count) }
    }

    /// A count.
    pub(crate) fn count(name: impl Into<String>, count: usize) -> Self {
        let value = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        Self { name: name.into(), value, unit: Unit::Count, at_most: None, weight: Weight::Context }
    }

    /// A time.
    pub(crate) fn time(name: impl Into<String>, nanos: u64, unit: Unit) -> Self {
        let seconds = seconds(nanos);
        let value = if unit == Unit::Milliseconds { seconds * 1e3 } else { seconds };
        Self { name: name.into(), value, unit, at_most: None, weight: Weight::Context }
    }

    /// Sets a target: an upper limit that does not fail the run.
    pub(crate) fn target(self, at_most: f64) -> Self {
        Self { at_most: Some(at_most), weight: Weight::Target, ..self }
    }

    /// Sets a promise: an upper limit that fails the run.
    pub(crate) fn promise(self, at_most: f64) -> Self {
        Self { at_most: Some(at_most), weight: Weight::Promise, ..self }
    }

    fn is_within_limit(&self) -> bool {
        self.at_most.is_none_or(|most| self.value <= most)
    }

    /// Whether it breaks a promise.
    pub(crate) fn breaks_a_promise(&self) -> bool {
        self.weight == Weight::Promise && !self.is_within_limit()
    }

    /// Its row of a table: name, value, limit, outcome.
    pub(crate) fn row(&self) -> String {
        let show = |value: f64| match self.unit {
            Unit::Seconds => format!("{value:.2} s"),
            Unit::Milliseconds => format!("{value:.1} ms"),
            Unit::Count => format!("{value:.0}"),
        };
        let mut row = format!("| {} | {} |", self.name, show(self.value));
        let _ = match (self.at_most, self.is_within_limit(), self.weight) {
            (None, ..) => write!(row, " | |"),
            (Some(most), true, _) => write!(row, " {} | kept |", show(most)),
            (Some(most), false, Weight::Promise) => write!(row, " {} | **BROKEN** |", show(most)),
            (Some(most), false, _) => write!(row, " {} | missed |", show(most)),
        };
        row
    }
}
