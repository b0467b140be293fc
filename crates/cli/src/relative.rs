//! Relative times and durations as text.

/// Units with their length in seconds, longest first.
const UNITS: [(&str, u64); 4] = [("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];
/// Durations of at least this many days are displayed in years.
const YEARS_FROM_DAYS: u64 = 730;

/// The distance of `then` from `now`, both in seconds since the Unix epoch: "3 hours ago", "in 12 days".
///
/// The value is rounded down: "in 12 days" is at least 12 days.
pub(crate) fn relative(now: i64, then: i64) -> String {
    let distance = rounded(then.abs_diff(now));
    match then.cmp(&now) {
        std::cmp::Ordering::Less => format!("{distance} ago"),
        std::cmp::Ordering::Equal => "now".into(),
        std::cmp::Ordering::Greater => format!("in {distance}"),
    }
}

/// A duration in its largest unit, rounded down.
fn rounded(seconds: u64) -> String {
    let (unit, length) = UNITS.into_iter().find(|&(_, length)| seconds >= length).unwrap_or(("second", 1));
    match seconds / length {
        days if unit == "day" && days >= YEARS_FROM_DAYS => counted(days / 365, "year"),
        count => counted(count, unit),
    }
}

/// A duration in the largest unit of which it is a multiple: "30 days", "36 hours".
pub(crate) fn exact(seconds: u64) -> String {
    let fits = |&(_, length): &(&str, u64)| seconds >= length && seconds.is_multiple_of(length);
    let (unit, length) = UNITS.into_iter().find(fits).unwrap_or(("second", 1));
    counted(seconds / length, unit)
}

/// A count with its noun: "1 key", "2 keys".
pub(crate) fn counted(count: u64, thing: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;

    #[test]
    fn relative_times_use_the_largest_unit() {
        let now = 1_800_000_000;
        for (distance, text) in [
            (1, "1 second"),
            (MINUTE - 1, "59 seconds"),
            (MINUTE, "1 minute"),
            (2 * MINUTE - 1, "1 minute"),
            (HOUR - 1, "59 minutes"),
            (HOUR, "1 hour"),
            (3 * HOUR + 59 * MINUTE, "3 hours"),
            (DAY - 1, "23 hours"),
            (DAY, "1 day"),
            (2 * DAY - 1, "1 day"),
            (365 * DAY, "365 days"),
            (730 * DAY - 1, "729 days"),
            (730 * DAY, "2 years"),
            (1095 * DAY - 1, "2 years"),
            (1095 * DAY, "3 years"),
        ] {
            assert_eq!(relative(now, now - distance), format!("{text} ago"), "{distance}");
            assert_eq!(relative(now, now + distance), format!("in {text}"), "{distance}");
        }
        assert_eq!(relative(now, now), "now");
    }

    #[test]
    fn exact_durations_use_the_largest_exact_unit() {
        for (seconds, text) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "1 minute"),
            (90, "90 seconds"),
            (129_600, "36 hours"),
            (2_592_000, "30 days"),
            (31_536_000, "365 days"),
        ] {
            assert_eq!(exact(seconds), text);
        }
    }
}
