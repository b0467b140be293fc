//! Instants and durations.
//!
//! The time is the database's clock, which each heartbeat reads. Nothing in this crate reads a clock: the time is a
//! parameter.

use std::fmt;
use std::time::Duration;

use crate::text::ValidationError;

const MICROS_PER_SECOND: i64 = 1_000_000;
/// 0001-01-01T00:00:00Z, the earliest instant of `google.protobuf.Timestamp`.
const SECONDS_MIN: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z, the latest.
const SECONDS_MAX: i64 = 253_402_300_799;

/// An instant, in whole microseconds since the Unix epoch (UTC, no leap seconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Earlier than any instant of a clock.
    pub const MIN: Self = Self(i64::MIN);

    /// The instant `micros` microseconds after the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Converts a protobuf timestamp. It is truncated to microseconds.
    ///
    /// # Errors
    /// If the parts are outside the range of `google.protobuf.Timestamp`.
    pub fn from_parts(seconds: i64, nanos: i32) -> Result<Self, ValidationError> {
        if !(SECONDS_MIN..=SECONDS_MAX).contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
            return Err(ValidationError::new("must be a time between the years 1 and 9999, with 0 to 999999999 nanos"));
        }
        Ok(Self(seconds * MICROS_PER_SECOND + i64::from(nanos / 1000)))
    }

    /// Seconds and nanoseconds of the protobuf timestamp.
    #[must_use]
    pub fn to_parts(self) -> (i64, i32) {
        let micros = self.0.rem_euclid(MICROS_PER_SECOND);
        (self.0.div_euclid(MICROS_PER_SECOND), i32::try_from(micros * 1000).unwrap_or_default())
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The instant `duration` later, at most the latest protobuf timestamp.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros).min(SECONDS_MAX * MICROS_PER_SECOND))
    }

    /// The instant `duration` earlier, at least the earliest protobuf timestamp.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(micros).max(SECONDS_MIN * MICROS_PER_SECOND))
    }

    /// The duration since `earlier`, or zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whether `end` has passed at this instant. This is the only definition of expiry: half-open, valid while `now <
    /// end`. None never passes.
    #[must_use]
    pub fn is_past(self, end: Option<Self>) -> bool {
        end.is_some_and(|end| self >= end)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => write!(f, "{time:.6}"),
            Err(_) => write!(f, "{} µs", self.0),
        }
    }
}

/// Minimum lifetime of a key.
pub const LIFETIME_MIN: Duration = Duration::from_secs(1);
/// Maximum lifetime of a key: 100 years.
pub const LIFETIME_MAX: Duration = Duration::from_hours(100 * 366 * 24);

/// Converts a protobuf `Duration`. It is truncated to microseconds.
///
/// # Errors
/// If it is negative, longer than [`LIFETIME_MAX`] or invalid.
pub fn duration_from_parts(seconds: i64, nanos: i32) -> Result<Duration, ValidationError> {
    let rule = || ValidationError::new("must be a duration of 0 seconds to 100 years, with 0 to 999999999 nanos");
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(seconds), u32::try_from(nanos)) else {
        return Err(rule());
    };
    let duration = Duration::from_secs(seconds).saturating_add(Duration::from_micros(u64::from(nanos / 1000)));
    if nanos >= 1_000_000_000 || duration > LIFETIME_MAX { Err(rule()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_protobuf_are_accepted_and_values_beyond_are_rejected() {
        assert!(Timestamp::from_parts(SECONDS_MIN, 0).is_ok());
        assert!(Timestamp::from_parts(SECONDS_MAX, 999_999_999).is_ok());
        for (seconds, nanos) in [
            (SECONDS_MIN - 1, 0),
            (SECONDS_MAX + 1, 0),
            (0, -1),
            (0, 1_000_000_000),
            (i64::MAX, 0),
            (i64::MIN, i32::MIN),
        ] {
            assert!(Timestamp::from_parts(seconds, nanos).is_err(), "{seconds} {nanos}");
        }
    }

    #[test]
    fn parts_round_trip_before_and_after_the_epoch() {
        for (seconds, nanos) in [(0, 0), (1, 1000), (-1, 999_999_000), (SECONDS_MIN, 0), (SECONDS_MAX, 999_999_000)] {
            assert_eq!(Timestamp::from_parts(seconds, nanos).unwrap().to_parts(), (seconds, nanos));
        }
    }

    #[test]
    fn the_end_has_passed_at_its_exact_instant() {
        let end = Timestamp::from_micros(1_000);
        assert!(!Timestamp::from_micros(999).is_past(Some(end)));
        assert!(end.is_past(Some(end)));
        assert!(!end.is_past(None));
    }

    #[test]
    fn durations_are_bounded() {
        assert_eq!(duration_from_parts(1, 1_500).unwrap(), Duration::from_micros(1_000_001));
        for (seconds, nanos) in [(-1, 0), (0, -1), (0, 1_000_000_000), (i64::MAX, 0), (100 * 366 * 86_400, 1_000)] {
            assert!(duration_from_parts(seconds, nanos).is_err(), "{seconds} {nanos}");
        }
    }

    #[test]
    fn an_instant_is_displayed_in_rfc_3339() {
        assert_eq!(Timestamp::from_micros(1_000_001).to_string(), "1970-01-01T00:00:01.000001Z");
    }
}
