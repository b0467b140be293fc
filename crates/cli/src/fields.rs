//! Parsers of flag values.

use jiff::civil::DateTime;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// The format of a duration, for errors.
const LENGTHS: &str = "write it like 30d, 12h, 90m, 45s or 1d12h; a day is 24 hours";

/// Parses a duration such as `30d`.
pub(crate) fn length(text: &str) -> Result<SignedDuration, String> {
    let span: Span = text.parse().map_err(|_| LENGTHS.to_owned())?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| LENGTHS.to_owned())?;
    if length.is_negative() { Err(LENGTHS.to_owned()) } else { Ok(length) }
}

/// Parses a duration as a protobuf duration.
pub(crate) fn duration(text: &str) -> Result<prost_types::Duration, String> {
    let length = length(text)?;
    Ok(prost_types::Duration { seconds: length.as_secs(), nanos: length.subsec_nanos() })
}

/// Parses a timeout.
pub(crate) fn timeout(text: &str) -> Result<std::time::Duration, String> {
    let length = length(text)?.unsigned_abs();
    if length.is_zero() || length.as_secs() > 86_400 {
        Err("must be more than 0 and at most one day".into())
    } else {
        Ok(length)
    }
}

/// Parses a time such as `2027-01-31T12:00:00Z`.
pub(crate) fn timestamp(text: &str) -> Result<prost_types::Timestamp, String> {
    let moment = time(text)?;
    // Nanoseconds of protobuf timestamps are never negative, also before 1970.
    let (mut seconds, mut nanos) = (moment.as_second(), moment.subsec_nanosecond());
    if nanos < 0 {
        seconds -= 1;
        nanos += 1_000_000_000;
    }
    Ok(prost_types::Timestamp { seconds, nanos })
}

/// Parses a time as databases and programs write it: `2027-01-31T12:00:00Z`, `2027-01-31 12:00:00.5+00`,
/// `2027-01-31 12:00:00 UTC`, or seconds or milliseconds since the Unix epoch.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    if let Some(moment) = since_epoch(text).or_else(|| with_zone(text)) {
        return Ok(moment);
    }
    Err(if text.parse::<DateTime>().is_ok() {
        "lacks a time zone: write it like 2027-01-31T12:00:00Z or 2027-01-31T12:00:00+02:00".into()
    } else {
        "write it like 2027-01-31T12:00:00Z or 2027-01-31T12:00:00+02:00".into()
    })
}

/// Parses ten digits as seconds and thirteen as milliseconds, which are unambiguous until the year 2286.
fn since_epoch(text: &str) -> Option<Timestamp> {
    let number = || text.parse().ok();
    match text.len() {
        10 if is_number(text) => Timestamp::from_second(number()?).ok(),
        13 if is_number(text) => Timestamp::from_millisecond(number()?).ok(),
        _ => None,
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|digit| digit.is_ascii_digit())
}

fn with_zone(text: &str) -> Option<Timestamp> {
    let (text, is_utc) = text.strip_suffix("UTC").map_or((text, false), |text| (text.trim_end(), true));
    let text = text.replacen(" +", "+", 1).replacen(" -", "-", 1);
    text.parse().ok().or_else(|| format!("{text}Z").parse().ok().filter(|_| is_utc))
}

/// Parses a boolean as databases write it: `true`, `t`, `yes`, `y`, `on` or `1`, and their opposites, in any case.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
        _ => Err("must be true or false".into()),
    }
}

/// A time, absolute or relative to now.
#[derive(Debug, Clone)]
pub(crate) enum Moment {
    At(prost_types::Timestamp),
    Ago(SignedDuration),
}

impl Moment {
    pub(crate) fn before(self, now: i64) -> prost_types::Timestamp {
        match self {
            Self::At(timestamp) => timestamp,
            Self::Ago(length) => prost_types::Timestamp { seconds: now.saturating_sub(length.as_secs()), nanos: 0 },
        }
    }
}

/// Parses an absolute time such as `2027-01-31T12:00:00Z`, or a time before now such as `24h`.
pub(crate) fn moment(text: &str) -> Result<Moment, String> {
    match (timestamp(text), length(text)) {
        (Ok(timestamp), _) => Ok(Moment::At(timestamp)),
        (_, Ok(length)) => Ok(Moment::Ago(length)),
        (Err(_), Err(_)) => Err("write a time like 2027-01-31T12:00:00Z, or how long ago, like 24h or 7d".into()),
    }
}

/// A digest of a token, 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digest(pub(crate) Vec<u8>);

/// Parses a digest in hexadecimal digits, as `sha256sum` prints it.
pub(crate) fn digest(text: &str) -> Result<Digest, String> {
    let rule = || "must be 64 hexadecimal digits: printf %s \"$TOKEN\" | sha256sum".to_owned();
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let digits = digits.filter(|digits| digits.len() == 64).ok_or_else(rule)?;
    Ok(Digest(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()))
}

/// Parses a label, `NAME=VALUE`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it like NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_require_units() {
        for (text, seconds) in [("30d", 2_592_000), ("1d12h", 129_600), ("90m", 5_400), ("45s", 45), ("2w", 1_209_600)]
        {
            assert_eq!(length(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in ["", "30", "1mo", "1y", "-1d", "1d ago", "tomorrow"] {
            assert!(length(text).is_err(), "{text}");
        }
        assert_eq!(duration("1500ms"), Ok(prost_types::Duration { seconds: 1, nanos: 500_000_000 }));
    }

    #[test]
    fn timeouts_are_bounded() {
        assert_eq!(timeout("30s"), Ok(std::time::Duration::from_secs(30)));
        assert!(timeout("0s").is_err() && timeout("25h").is_err());
    }

    #[test]
    fn times_require_a_zone() {
        let moment = prost_types::Timestamp { seconds: 1_801_396_800, nanos: 0 };
        assert_eq!(timestamp("2027-01-31T12:00:00Z"), Ok(moment));
        assert_eq!(timestamp("2027-01-31T14:00:00+02:00"), Ok(moment));
        assert_eq!(timestamp("1969-12-31T23:59:59.5Z"), Ok(prost_types::Timestamp { seconds: -1, nanos: 500_000_000 }));
        for text in ["2027-01-31T12:00:00", "2027-01-31 12:00:00.5", "2027-01-31"] {
            assert!(timestamp(text).unwrap_err().starts_with("lacks a time zone: write it like"), "{text}");
        }
    }

    #[test]
    fn times_are_accepted_as_programs_write_them() {
        for text in [
            "2027-01-31 12:00:00+00",
            "2027-01-31 14:00:00+02",
            "2027-01-31 14:00:00.000+0200",
            "2027-01-31 12:00:00 +0000",
            "2027-01-31 12:00:00 +0000 UTC",
            "2027-01-31 07:00:00 -05:00",
            "2027-01-31 12:00:00 UTC",
            "2027-01-31t12:00:00.000000z",
            "1801396800",
            "1801396800000",
        ] {
            assert_eq!(timestamp(text).map(|moment| moment.seconds), Ok(1_801_396_800), "{text}");
        }
        let odd = ["31.01.2027 12:00", "01/31/2027", "180139680", "1801396800000000", "1.8e9", "infinity", "", "UTC"];
        for text in odd {
            assert!(timestamp(text).unwrap_err().starts_with("write it like 2027-01-31T12:00:00Z"), "{text}");
        }
    }

    #[test]
    fn booleans_are_accepted_as_databases_write_them() {
        assert!(["true", "TRUE", "t", "Yes", "y", "on", "1"].into_iter().all(|text| boolean(text) == Ok(true)));
        assert!(["false", "FALSE", "f", "No", "n", "off", "0"].into_iter().all(|text| boolean(text) == Ok(false)));
        assert!(boolean("2").is_err() && boolean("").is_err() && boolean("tr").is_err());
    }

    #[test]
    fn times_can_be_relative_to_now() {
        assert_eq!(moment("1h").unwrap().before(10_000).seconds, 6_400);
        assert_eq!(moment("2027-01-31T12:00:00Z").unwrap().before(10_000).seconds, 1_801_396_800);
        assert!(moment("yesterday").is_err());
    }

    #[test]
    fn a_digest_has_64_hexadecimal_digits() {
        assert_eq!(digest(&"0F".repeat(32)), Ok(Digest(vec![15; 32])));
        for text in ["", &"0".repeat(63), &"0".repeat(66), &"g".repeat(64)] {
            assert!(digest(text).unwrap_err().starts_with("must be 64 hexadecimal digits"), "{text}");
        }
    }

    #[test]
    fn a_label_is_a_pair() {
        assert_eq!(label("team=a=b"), Ok(("team".into(), "a=b".into())));
        assert!(label("team").is_err());
    }
}
