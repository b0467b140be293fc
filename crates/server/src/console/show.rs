//! Times, durations and numbers, as people write them.

use std::borrow::Cow;
use std::time::Duration;

use key_authority_domain::time::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const MONTH: u64 = 30 * DAY;
const YEAR: u64 = 365 * DAY;

/// The characters of an ID that are percent-encoded in a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b':').remove(b'@');

/// Returns the path of the console for these segments.
pub(super) fn path(segments: &[&str]) -> String {
    let mut path = "/console".to_owned();
    for segment in segments {
        path.push('/');
        path.extend(utf8_percent_encode(segment, SEGMENT));
    }
    path
}

/// Returns a text that changes the direction of no text around it: what people name may contain Arabic letters, or
/// characters that turn the rest of the line around (U+202E). In HTML, `<bdi>` does the same for one element.
pub(super) fn isolated(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return text.into();
    }
    // The characters that begin and end an isolate would end this one.
    let inner: String = text.chars().filter(|character| !('\u{2066}'..='\u{2069}').contains(character)).collect();
    format!("\u{2068}{inner}\u{2069}").into()
}

/// A time: relative to now, exact, and for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct When {
    pub(super) relative: String,
    pub(super) exact: String,
    pub(super) machine: String,
    pub(super) is_past: bool,
}

impl When {
    pub(super) fn new(time: Timestamp, now: Timestamp) -> Self {
        let is_past = time <= now;
        let seconds = if is_past { now.since(time) } else { time.since(now) }.as_secs();
        let relative = match (seconds, is_past) {
            (0, true) => "just now".to_owned(),
            (seconds, true) => format!("{} ago", about(seconds, u64::div_euclid)),
            (seconds, false) => format!("in {}", about(seconds, nearest)),
        };
        Self { relative, exact: exact(time), machine: machine(time), is_past }
    }

    /// The time of a message; `None` if it has none.
    pub(super) fn of(time: Option<&prost_types::Timestamp>, now: Timestamp) -> Option<Self> {
        time.and_then(timestamp).map(|time| Self::new(time, now))
    }
}

/// Returns the time of a message.
pub(super) fn timestamp(time: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::from_parts(time.seconds, time.nanos).ok()
}

/// Divides, and rounds to the nearest number. Of a key that was just created for 30 days, 29.99 days are left.
const fn nearest(number: u64, divisor: u64) -> u64 {
    (number + divisor / 2) / divisor
}

/// Returns a duration in its largest unit.
fn about(seconds: u64, divide: fn(u64, u64) -> u64) -> String {
    for (unit, size, least) in [
        ("year", YEAR, 2 * YEAR),
        ("month", MONTH, 2 * MONTH),
        ("day", DAY, 2 * DAY),
        ("hour", HOUR, HOUR),
        ("minute", MINUTE, MINUTE),
    ] {
        if seconds >= least {
            return plural(divide(seconds, size), unit);
        }
    }
    plural(seconds, "second")
}

/// Returns a number with its unit.
pub(super) fn plural(number: u64, unit: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {unit}{s}", count(number))
}

/// Returns a number with its digits in groups of three.
pub(super) fn count(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns an exact time, to the second, in UTC.
pub(super) fn exact(time: Timestamp) -> String {
    instant(time).map_or_else(|| time.to_string(), |time| time.strftime("%-d %b %Y, %H:%M:%S UTC").to_string())
}

/// Returns an exact time for a time in RFC 3339.
pub(super) fn exact_of_text(text: &str) -> String {
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => exact(Timestamp::from_micros(time.as_microsecond())),
        Err(_) => text.to_owned(),
    }
}

fn machine(time: Timestamp) -> String {
    instant(time).map_or_else(String::new, |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Reads the value of a field for a date, or for date and time, in UTC.
pub(super) fn field_time(text: &str) -> Option<prost_types::Timestamp> {
    let full = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        _ => format!("{text}Z"),
    };
    let time = full.parse::<jiff::Timestamp>().ok()?;
    Some(prost_types::Timestamp { seconds: time.as_second(), nanos: 0 })
}

fn instant(time: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_microsecond(time.micros()).ok()
}

/// Returns a duration of a message.
pub(super) fn duration(value: &prost_types::Duration) -> Duration {
    let nanos = u32::try_from(value.nanos).unwrap_or(0);
    Duration::new(u64::try_from(value.seconds).unwrap_or(0), nanos)
}

/// Returns a duration in the largest unit that divides it.
pub(super) fn whole(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_micros() != 0 || seconds == 0 {
        return if duration.is_zero() { "0 seconds".to_owned() } else { wait_text(duration) };
    }
    for (unit, size) in [("day", DAY), ("hour", HOUR), ("minute", MINUTE)] {
        if seconds.is_multiple_of(size) {
            return plural(seconds / size, unit);
        }
    }
    plural(seconds, "second")
}

/// Returns the time of a wait.
pub(super) fn wait(waited: Option<&prost_types::Duration>) -> String {
    wait_text(waited.map(duration).unwrap_or_default())
}

fn wait_text(waited: Duration) -> String {
    match waited.as_millis() {
        0 => "less than 1 ms".to_owned(),
        millis @ 1..1_000 => format!("{millis} ms"),
        1_000..10_000 => format!("{:.1} s", waited.as_secs_f64()),
        _ => format!("{} s", count(waited.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_relative_with_the_exact_time_at_hand() {
        let now = Timestamp::from_parts(1_796_051_167, 0).unwrap();
        let at = |seconds| When::new(now.before(Duration::from_secs(seconds)), now).relative;
        assert_eq!(at(0), "just now");
        assert_eq!(at(1), "1 second ago");
        assert_eq!(at(59), "59 seconds ago");
        assert_eq!(at(3 * HOUR + 5), "3 hours ago");
        assert_eq!(at(25 * HOUR), "25 hours ago");
        assert_eq!(at(2 * DAY), "2 days ago");
        assert_eq!(at(59 * DAY), "59 days ago");
        assert_eq!(at(61 * DAY), "2 months ago");
        assert_eq!(at(3 * YEAR), "3 years ago");
        let left = |seconds| When::new(now.after(Duration::from_secs(seconds)), now).relative;
        assert_eq!(left(30 * DAY - 1), "in 30 days");
        assert_eq!(left(90 * DAY - 1), "in 3 months");
        assert_eq!(left(HOUR - 1), "in 60 minutes");
        let future = When::new(now.after(Duration::from_secs(365 * DAY)), now);
        assert_eq!((future.relative.as_str(), future.is_past), ("in 12 months", false));
        assert_eq!(future.exact, "30 Nov 2027, 15:06:07 UTC");
        assert_eq!(future.machine, "2027-11-30T15:06:07Z");
    }

    #[test]
    fn an_isolated_text_ends_where_it_ends() {
        assert_eq!(isolated("keys.read"), "keys.read");
        assert_eq!(isolated("a\u{202e}b"), "\u{2068}a\u{202e}b\u{2069}");
        assert_eq!(isolated("\u{2069}\u{2067}ä"), "\u{2068}ä\u{2069}");
    }

    #[test]
    fn numbers_durations_and_paths_are_readable() {
        let counts = [(0_u64, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in counts {
            assert_eq!(count(number), text);
        }
        let durations =
            [(0, "0 seconds"), (90, "90 seconds"), (900, "15 minutes"), (86_400, "1 day"), (7200, "2 hours")];
        for (seconds, text) in durations {
            assert_eq!(whole(Duration::from_secs(seconds)), text);
        }
        let waits = [(0, "less than 1 ms"), (6_400, "6 ms"), (1_250_000, "1.2 s"), (10_400_000, "10 s")];
        for (micros, text) in waits {
            assert_eq!(wait_text(Duration::from_micros(micros)), text);
        }
        assert_eq!(path(&["keys", "a:b@c"]), "/console/keys/a:b@c");
        assert_eq!(path(&["keys", "a/b?"]), "/console/keys/a%2Fb%3F");
        assert_eq!(field_time("2026-11-30").unwrap().seconds, 1_795_996_800);
        assert_eq!(field_time("2026-11-30T01:00").unwrap().seconds, 1_796_000_400);
        assert!(field_time("soon").is_none());
    }
}
