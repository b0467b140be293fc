//! Keys.

use comfy_table::Cell;
use key_authority_proto::v1::{Key, KeySecret, KeyState, ProjectAccess};

use super::{exactly_when, when, word};
use crate::table::{Table, Tone, plain, toned};

/// A key that expires within this time is highlighted.
const SOON_SECONDS: i64 = 14 * 86_400;

/// A list of keys, with the account if the keys may belong to several.
pub(crate) fn list(keys: &[Key], now: i64, with_account: bool) -> Table {
    let mut header = vec!["KEY", "NAME", "STATE", "HINT", "LAST USED", "EXPIRES", "CREATED"];
    if with_account {
        header.insert(0, "ACCOUNT");
    }
    let mut table = Table::list(&header);
    for key in keys {
        let mut row = vec![
            plain(&key.id),
            plain(&key.display_name),
            state(key),
            hint(&key.token_hint),
            plain(when(key.last_used_time.as_ref(), now, "never")),
            expiry(key, now),
            plain(when(key.create_time.as_ref(), now, "")),
        ];
        if with_account {
            row.insert(0, plain(&key.account));
        }
        table.row(row);
    }
    table
}

/// All fields of a key.
pub(crate) fn record(key: &Key, now: i64) -> Table {
    let mut table = Table::record();
    table.pair("key", plain(&key.id));
    table.pair("account", plain(&key.account));
    table.pair("name", plain(&key.display_name));
    table.pair("description", plain(&key.description));
    table.pair("state", state(key));
    table.pair("hint", hint(&key.token_hint));
    table.pair("scopes", plain(key.scopes.join(" ")));
    table.pair("projects", plain(projects(key.projects.as_ref())));
    let labels: Vec<_> = key.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    table.pair("labels", plain(labels.join(" ")));
    table.pair("networks", plain(key.allowed_networks.join(" ")));
    let user =
        if key.created_by_subject.is_empty() { String::new() } else { format!(" for {}", key.created_by_subject) };
    let created = exactly_when(key.create_time.as_ref(), now);
    table.pair("created", plain(format!("{created} by {}{user}", key.created_by)));
    table.pair("changed", plain(exactly_when(key.update_time.as_ref(), now)));
    table.pair("expires", expiry_exactly(key, now));
    table.pair("last used", plain(last_used(key, now)));
    table.pair("revoked", plain(exactly_when(key.revoke_time.as_ref(), now)));
    table.pair("reason", plain(&key.revoke_reason));
    for secret in &key.secrets {
        table.pair(&format!("secret {}", secret.version), plain(of_secret(secret, now)));
    }
    table
}

/// The fields of a key that are shown with a new token.
pub(crate) fn summary(key: &Key, now: i64) -> Table {
    let mut table = Table::record();
    table.pair("key", plain(&key.id));
    table.pair("account", plain(&key.account));
    table.pair("name", plain(&key.display_name));
    table.pair("state", state(key));
    table.pair("expires", expiry_exactly(key, now));
    table
}

/// Describes a key and its last use, for a confirmation.
pub(crate) fn described(key: &Key, now: i64) -> String {
    let name = if key.display_name.is_empty() { String::new() } else { format!("{}, ", key.display_name) };
    let Key { id, account, token_hint, .. } = key;
    let used = when(key.last_used_time.as_ref(), now, "never");
    format!("key {id} ({name}{token_hint}…) of account {account}, last used {used}")
}

fn state(key: &Key) -> Cell {
    let tone = match key.state() {
        KeyState::Active => Tone::Good,
        KeyState::Disabled => Tone::Caution,
        KeyState::Revoked | KeyState::Expired => Tone::Bad,
        KeyState::Unspecified => Tone::Plain,
    };
    toned(word("KEY_STATE_", key.state().as_str_name()), tone)
}

fn hint(hint: &str) -> Cell {
    plain(if hint.is_empty() { String::new() } else { format!("{hint}…") })
}

fn expiry(key: &Key, now: i64) -> Cell {
    toned(when(key.expire_time.as_ref(), now, "never"), expiry_tone(key, now))
}

fn expiry_exactly(key: &Key, now: i64) -> Cell {
    match &key.expire_time {
        Some(_) => toned(exactly_when(key.expire_time.as_ref(), now), expiry_tone(key, now)),
        None => plain("never"),
    }
}

fn expiry_tone(key: &Key, now: i64) -> Tone {
    match &key.expire_time {
        Some(moment) if moment.seconds <= now => Tone::Bad,
        Some(moment) if moment.seconds - now < SOON_SECONDS => Tone::Caution,
        _ => Tone::Plain,
    }
}

fn last_used(key: &Key, now: i64) -> String {
    match &key.last_used_time {
        Some(_) => {
            let times = if key.use_count == 1 { "time" } else { "times" };
            format!("{}, {} {times} in total", exactly_when(key.last_used_time.as_ref(), now), key.use_count)
        }
        None => "never".into(),
    }
}

fn projects(access: Option<&ProjectAccess>) -> String {
    match access {
        None => String::new(),
        Some(access) if access.all => "all".into(),
        Some(access) if access.only.is_empty() => "none".into(),
        Some(access) => access.only.join(" "),
    }
}

fn of_secret(secret: &KeySecret, now: i64) -> String {
    let ends = match &secret.retire_time {
        None => String::new(),
        Some(moment) if moment.seconds <= now => format!(", ended {}", when(Some(moment), now, "")),
        Some(moment) => format!(", ends {}", when(Some(moment), now, "")),
    };
    let created = when(secret.create_time.as_ref(), now, "");
    let used = when(secret.last_used_time.as_ref(), now, "never");
    format!("{}…, created {created}, last used {used}{ends}", secret.token_hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn at(seconds: i64) -> prost_types::Timestamp {
        prost_types::Timestamp { seconds, nanos: 0 }
    }

    fn key() -> Key {
        Key {
            id: "ci".into(),
            account: "acme".into(),
            display_name: "CI".into(),
            token_hint: "acme_Ab3d".into(),
            state: KeyState::Active.into(),
            create_time: Some(at(NOW - 86_400)),
            last_used_time: Some(at(NOW - 3 * 3_600)),
            expire_time: Some(at(NOW + 12 * 86_400)),
            ..Key::default()
        }
    }

    #[test]
    fn a_list_shows_state_hint_use_and_expiry() {
        let never = Key { id: "old".into(), state: KeyState::Revoked.into(), ..Key::default() };
        assert_eq!(
            list(&[key(), never], NOW, false).render(false),
            "KEY  NAME  STATE    HINT        LAST USED    EXPIRES     CREATED\n\
             ci   CI    active   acme_Ab3d…  3 hours ago  in 12 days  1 day ago\n\
             old        revoked              never        never"
        );
        assert!(list(&[key()], NOW, true).render(false).starts_with("ACCOUNT  KEY"));
    }

    #[test]
    fn a_confirmation_shows_when_the_key_was_used() {
        assert_eq!(described(&key(), NOW), "key ci (CI, acme_Ab3d…) of account acme, last used 3 hours ago");
        let never = Key { last_used_time: None, display_name: String::new(), ..key() };
        assert_eq!(described(&never, NOW), "key ci (acme_Ab3d…) of account acme, last used never");
    }

    #[test]
    fn keys_that_expire_soon_are_highlighted() {
        let tone = |seconds| expiry_tone(&Key { expire_time: Some(at(seconds)), ..Key::default() }, NOW);
        assert_eq!(tone(NOW), Tone::Bad);
        assert_eq!(tone(NOW + 1), Tone::Caution);
        assert_eq!(tone(NOW + SOON_SECONDS - 1), Tone::Caution);
        assert_eq!(tone(NOW + SOON_SECONDS), Tone::Plain);
    }
}
