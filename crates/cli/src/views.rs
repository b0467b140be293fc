//! Views of keys, accounts and changes for people.

pub(crate) mod account;
pub(crate) mod key;
pub(crate) mod propagation;

use crate::relative::relative;

/// The readable name of an enum value: `KEY_STATE_ACTIVE` is `active`.
pub(crate) fn word(prefix: &str, name: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase()
}

/// A relative time: "3 hours ago". `never` if there is no time.
pub(crate) fn when(moment: Option<&prost_types::Timestamp>, now: i64, never: &str) -> String {
    moment.map_or_else(|| never.to_owned(), |moment| relative(now, moment.seconds))
}

/// An absolute and relative time: `2027-01-31T12:00:00Z (in 12 days)`. Empty if there is no time.
pub(crate) fn exactly_when(moment: Option<&prost_types::Timestamp>, now: i64) -> String {
    let Some(moment) = moment else { return String::new() };
    let shown = jiff::Timestamp::from_second(moment.seconds).map(|moment| moment.to_string()).unwrap_or_default();
    format!("{shown} ({})", relative(now, moment.seconds))
}
