//! What people see of keys, accounts and changes.

pub(crate) mod account;
pub(crate) mod key;
pub(crate) mod propagation;

use crate::relative::relative;

/// The name of an enum's value as people say it: `KEY_STATE_ACTIVE` is `active`.
pub(crate) fn word(prefix: &str, name: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase()
}

/// When something is or was: "3 hours ago"; `never` where there is no moment.
pub(crate) fn when(moment: Option<&prost_types::Timestamp>, now: i64, never: &str) -> String {
    moment.map_or_else(|| never.to_owned(), |moment| relative(now, moment.seconds))
}

/// The same with the moment itself: `2027-01-31T12:00:00Z (in 12 days)`; empty where there is none.
pub(crate) fn exactly_when(moment: Option<&prost_types::Timestamp>, now: i64) -> String {
    let Some(moment) = moment else { return String::new() };
    let shown = jiff::Timestamp::from_second(moment.seconds).map(|moment| moment.to_string()).unwrap_or_default();
    format!("{shown} ({})", relative(now, moment.seconds))
}
