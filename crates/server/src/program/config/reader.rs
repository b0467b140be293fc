//! Parses settings. An error is recorded and reading continues, so that all errors are reported at once.

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::uri::Authority;
use key_authority_domain::access::Network;

use super::error::{ConfigError, is_url};

/// The rule of a setting whose default is weaker than what a blank value may have meant.
pub(super) const BLANK: &str = "must not be blank; unset it for the default";

/// Reads settings and collects their errors. An invalid value reads as some valid one, which is never used.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) errors: Vec<ConfigError>,
}

impl Reader {
    pub(super) fn fail(&mut self, flag: &'static str, value: Option<&str>, rule: &str) {
        self.errors.push(ConfigError::invalid(flag, value, rule));
    }

    /// Reads a path. A blank one is an error and not "none": a script whose variable is unset must not disable, for
    /// example, the client CA.
    pub(super) fn path(&mut self, flag: &'static str, text: Option<&str>) -> Option<PathBuf> {
        let text = text?;
        if text.trim().is_empty() {
            self.fail(flag, Some(text), BLANK);
        }
        if is_url(text) {
            self.fail(flag, None, "must be a path, not a URL");
        }
        Some(text.into())
    }

    /// Reads an address. `port` appears in the example of the rule.
    pub(super) fn address(&mut self, flag: &'static str, text: &str, port: u16) -> SocketAddr {
        text.parse().unwrap_or_else(|_| {
            let rule =
                format!("must be an IP address and a port, such as 127.0.0.1:{port}, 0.0.0.0:{port} or [::]:{port}");
            self.fail(flag, Some(text), &rule);
            // Port 0 conflicts with no other port.
            (Ipv4Addr::LOCALHOST, 0).into()
        })
    }

    /// Reads the address of a site: a scheme, a host and maybe a port.
    pub(super) fn origin(&mut self, flag: &'static str, text: Option<&str>) -> Option<String> {
        let text = text?;
        let origin = text.strip_suffix('/').unwrap_or(text);
        let authority = ["http://", "https://"].into_iter().find_map(|scheme| origin.strip_prefix(scheme));
        let authority = authority.and_then(|text| text.parse::<Authority>().ok());
        // Neither user and password nor a path: the pages of the console have fixed paths.
        if authority.is_none_or(|parsed| parsed.host().is_empty() || parsed.as_str().contains('@')) {
            // The value is left out: it may contain a password.
            self.fail(
                flag,
                None,
                "must be http:// or https://, a host and maybe a port, such as https://keys.example.com",
            );
        }
        Some(origin.to_owned())
    }

    /// Reads networks between commas; there may be none.
    pub(super) fn networks(&mut self, flag: &'static str, text: &str) -> Vec<Network> {
        let entries = text.split(',').map(str::trim).filter(|_| !text.trim().is_empty());
        let networks: Result<Vec<_>, _> = entries.map(Network::new).collect();
        networks.unwrap_or_else(|rule| {
            self.fail(flag, Some(text), &format!("each network {}", rule.as_str()));
            Vec::new()
        })
    }

    pub(super) fn boolean(&mut self, flag: &'static str, text: &str) -> bool {
        match text {
            "true" => true,
            "false" => false,
            _ => {
                self.fail(flag, Some(text), "must be true or false");
                false
            }
        }
    }

    pub(super) fn count<N>(&mut self, flag: &'static str, text: &str, range: RangeInclusive<N>) -> N
    where
        N: FromStr + PartialOrd + Display + Copy,
    {
        match text.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let rule = format!("must be a whole number from {} to {}", range.start(), range.end());
                self.fail(flag, Some(text), &rule);
                *range.start()
            }
        }
    }

    pub(super) fn duration(&mut self, flag: &'static str, text: &str, range: RangeInclusive<Duration>) -> Duration {
        match parse_duration(text) {
            Some(duration) if range.contains(&duration) => duration,
            _ => {
                let (least, most) = (duration_text(*range.start()), duration_text(*range.end()));
                self.fail(
                    flag,
                    Some(text),
                    &format!("must be a whole number and ms, s, m or h, from {least} to {most}"),
                );
                *range.start()
            }
        }
    }
}

/// Formats a duration in the largest unit without a fraction.
fn duration_text(duration: Duration) -> String {
    let ms = duration.as_millis();
    let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let unit = units.into_iter().find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit));
    match unit {
        Some((unit, name)) => format!("{}{name}", ms / unit),
        None if ms == 0 => "0s".to_owned(),
        None => format!("{ms}ms"),
    }
}

/// Parses a duration: a whole number and one of the units `ms`, `s`, `m`, `h`.
#[must_use]
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit())?;
    let (digits, unit) = text.split_at(unit_at);
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(amount)),
        "s" => Some(Duration::from_secs(amount)),
        "m" => amount.checked_mul(60).map(Duration::from_secs),
        "h" => amount.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}
