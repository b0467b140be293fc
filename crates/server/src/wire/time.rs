//! Instants and durations. Protobuf has nanoseconds; the domain and the database have microseconds. Further digits are
//! truncated.

use std::time::Duration;

use key_authority_domain::text::ValidationError;
use key_authority_domain::time::{LIFETIME_MAX, LIFETIME_MIN, Timestamp, duration_from_parts};

/// The longest `google.protobuf.Duration`: 10,000 years.
const SECONDS_MAX: u64 = 315_576_000_000;

/// Converts an instant from protobuf.
///
/// # Errors
/// The rule, when the instant is outside of the years 1 to 9999 or not normalized.
pub(crate) fn timestamp(value: &prost_types::Timestamp) -> Result<Timestamp, ValidationError> {
    Timestamp::from_parts(value.seconds, value.nanos)
}

/// Converts an instant to protobuf.
#[must_use]
pub(crate) fn timestamp_to_proto(value: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = value.to_parts();
    prost_types::Timestamp { seconds, nanos }
}

/// Converts a duration of 0 to 100 years from protobuf.
///
/// # Errors
/// The rule, when the duration is negative, longer or not normalized.
pub(crate) fn duration(value: &prost_types::Duration) -> Result<Duration, ValidationError> {
    duration_from_parts(value.seconds, value.nanos)
}

/// Converts the lifetime of a key, 1 second to 100 years, from protobuf.
///
/// # Errors
/// The rule.
pub(crate) fn lifetime(value: &prost_types::Duration) -> Result<Duration, ValidationError> {
    match duration(value) {
        Ok(lifetime) if (LIFETIME_MIN..=LIFETIME_MAX).contains(&lifetime) => Ok(lifetime),
        _ => Err(ValidationError::new("must be 1 second to 100 years")),
    }
}

/// Converts a duration to protobuf. A duration that exceeds the range of `google.protobuf.Duration` becomes the
/// maximum.
#[must_use]
pub(crate) fn duration_to_proto(value: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(value.as_secs().min(SECONDS_MAX)).unwrap_or_default();
    let nanos = i32::try_from(value.subsec_micros() * 1000).unwrap_or_default();
    prost_types::Duration { seconds, nanos: if value.as_secs() < SECONDS_MAX { nanos } else { 0 } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CENTURY: i64 = 100 * 366 * 24 * 3600;

    fn span(seconds: i64, nanos: i32) -> prost_types::Duration {
        prost_types::Duration { seconds, nanos }
    }

    #[test]
    fn lifetimes_end_exactly_at_their_limits() {
        assert_eq!(lifetime(&span(1, 0)).unwrap(), LIFETIME_MIN);
        assert_eq!(lifetime(&span(CENTURY, 999)).unwrap(), LIFETIME_MAX);
        for (seconds, nanos) in [
            (0, 0),
            (0, 999_999_999),
            (CENTURY, 1000),
            (CENTURY + 1, 0),
            (-1, 0),
            (2, -1),
            (1, 1_000_000_000),
            (i64::MIN, i32::MIN),
            (i64::MAX, i32::MAX),
        ] {
            assert!(lifetime(&span(seconds, nanos)).is_err(), "{seconds} {nanos}");
        }
        assert_eq!(duration(&span(0, 0)).unwrap(), Duration::ZERO);
        assert_eq!(duration(&span(CENTURY, 0)).unwrap(), LIFETIME_MAX);
        assert!(duration(&span(CENTURY, 1000)).is_err() && duration(&span(0, -1)).is_err());
    }

    #[test]
    fn instants_end_exactly_at_their_limits() {
        let at = |seconds, nanos| timestamp(&prost_types::Timestamp { seconds, nanos });
        assert!(at(-62_135_596_800, 0).is_ok() && at(253_402_300_799, 999_999_999).is_ok());
        for (seconds, nanos) in [
            (-62_135_596_801, 0),
            (253_402_300_800, 0),
            (0, -1),
            (0, 1_000_000_000),
            (i64::MIN, 0),
            (i64::MAX, i32::MIN),
        ] {
            assert!(at(seconds, nanos).is_err(), "{seconds} {nanos}");
        }
    }

    #[test]
    fn a_duration_out_of_range_becomes_the_maximum() {
        assert_eq!(duration_to_proto(Duration::MAX), span(315_576_000_000, 0));
        assert_eq!(duration_to_proto(Duration::new(1, 1_999)), span(1, 1_000));
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_again(seconds in -62_135_596_800_i64..=253_402_300_799, micros in 0..1_000_000_i32) {
            let value = prost_types::Timestamp { seconds, nanos: micros * 1000 };
            prop_assert_eq!(timestamp_to_proto(timestamp(&value).unwrap()), value);
            let value = span(seconds.rem_euclid(CENTURY), micros * 1000);
            prop_assert_eq!(duration_to_proto(duration(&value).unwrap()), value);
        }

        #[test]
        fn writing_is_total(micros: i64, seconds: u64, nanos in 0..1_000_000_000_u32) {
            let _ = timestamp_to_proto(Timestamp::from_micros(micros));
            let written = duration_to_proto(Duration::new(seconds, nanos));
            prop_assert!((0..=315_576_000_000).contains(&written.seconds));
            prop_assert!((0..1_000_000_000).contains(&written.nanos));
        }
    }
}
