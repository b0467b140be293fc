//! The parameters of a database URL. The driver ignores a parameter that it does not know, and logs its value, so such
//! a parameter is rejected before the driver reads the URL. So is one with which the server would lose changes or
//! misread them.

use std::borrow::Cow;

use url::form_urlencoded;

/// The kind of database that a URL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseKind {
    /// An `SQLite` file.
    Sqlite,
    /// `PostgreSQL`.
    Postgres,
    /// `MySQL` or `MariaDB`.
    MySql,
}

const POSTGRES: [&str; 17] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "application_name",
    "options",
];
const MYSQL: [&str; 12] = [
    "ssl-mode",
    "sslmode",
    "ssl-ca",
    "sslca",
    "ssl-cert",
    "sslcert",
    "ssl-key",
    "sslkey",
    "charset",
    "collation",
    "socket",
    "statement-cache-capacity",
];
/// Not `cache`, `immutable` and `vfs`, with which locks and the `-wal` have no effect.
const SQLITE: [&str; 1] = ["mode"];
/// The character set of the tables. MySQL calls a part of UTF-8 `utf8`, and others call the whole of it so.
const CHARSET: &str = "utf8mb4";
const CHARSETS: [&str; 3] = [CHARSET, "utf8", "utf-8"];
/// The parameter of PostgreSQL that contains the password.
const PASSWORD: &str = "password";
/// The length of the longest name that is shown.
const NAME_LENGTH_MAX: usize = 40;

/// Checks the parameters of the URL `text`.
///
/// # Errors
/// The rule. It contains the name of the parameter, unless the name may be a part of a password with special
/// characters.
pub(super) fn check(kind: DatabaseKind, text: &str) -> Result<(), Cow<'static, str>> {
    let Some((_, query)) = text.split_once('?') else { return Ok(()) };
    let mut is_after_password = false;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = form_urlencoded::parse(parameter.as_bytes()).next().unwrap_or_default();
        if is_known(kind, &name) {
            is_after_password |= name == PASSWORD;
            if let Some(rule) = rule(kind, &name, &value) {
                return Err(format!("has the parameter {name}, which {rule}").into());
            }
        } else if parameter.contains('=') && is_name(&name) && !is_after_password && !query.contains('@') {
            let known = known(kind).join(", ");
            return Err(format!("has the unknown parameter {name}; known are {known}").into());
        } else {
            return Err(
                "has an unknown parameter after the '?'; in a password, write %3F for '?', %26 for '&' and %40 \
                        for '@'"
                    .into(),
            );
        }
    }
    Ok(())
}

/// The rule that the value of a parameter violates.
fn rule(kind: DatabaseKind, name: &str, value: &str) -> Option<&'static str> {
    let (is_valid, rule) = match (kind, name) {
        (DatabaseKind::MySql, "charset") => (is_utf8(value), "must be utf8mb4, since tokens and names are UTF-8"),
        (DatabaseKind::MySql, "collation") => (value.starts_with("utf8mb4_"), "must begin with utf8mb4_"),
        (DatabaseKind::Sqlite, "mode") => (matches!(value, "rw" | "rwc"), "must be rw or rwc"),
        _ => return None,
    };
    (!is_valid).then_some(rule)
}

fn is_utf8(charset: &str) -> bool {
    CHARSETS.iter().any(|known| known.eq_ignore_ascii_case(charset))
}

/// Replaces the other names of [`CHARSET`], which MySQL would take for a part of UTF-8, in a URL that was checked.
pub(super) fn with_whole_charset(text: &str) -> Cow<'_, str> {
    let Some((place, query)) = text.split_once('?') else { return text.into() };
    let whole = |parameter: &str| match form_urlencoded::parse(parameter.as_bytes()).next() {
        Some((name, _)) if name == "charset" => format!("charset={CHARSET}"),
        _ => parameter.to_owned(),
    };
    format!("{place}?{}", query.split('&').map(whole).collect::<Vec<_>>().join("&")).into()
}

fn known(kind: DatabaseKind) -> &'static [&'static str] {
    match kind {
        DatabaseKind::Sqlite => &SQLITE,
        DatabaseKind::Postgres => &POSTGRES,
        DatabaseKind::MySql => &MYSQL,
    }
}

fn is_known(kind: DatabaseKind, name: &str) -> bool {
    let is_postgres_only =
        name == PASSWORD || name.strip_prefix("options[").is_some_and(|setting| setting.ends_with(']'));
    known(kind).contains(&name) || (kind == DatabaseKind::Postgres && is_postgres_only)
}

/// Whether a text looks like the name of a parameter.
fn is_name(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    text.len() <= NAME_LENGTH_MAX && text.bytes().all(is_fit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use DatabaseKind::{MySql, Postgres, Sqlite};

    #[test]
    fn parameters_of_the_driver_are_accepted() {
        for (kind, url) in [
            (Postgres, "postgres://h/d"),
            (Postgres, "postgres://h/d?"),
            (Postgres, "postgres://h/d?sslmode=verify-full&options=-csearch_path%3Dkeys&options[a.b]=c"),
            (Postgres, "postgres://h/d?user=u&password=p@w"),
            (MySql, "mysql://h/d?ssl-mode=REQUIRED&charset=utf8mb4&collation=utf8mb4_bin"),
            (Sqlite, "sqlite://a.db?mode=rwc"),
        ] {
            assert_eq!(check(kind, url), Ok(()), "{url}");
        }
    }

    #[test]
    fn an_unknown_parameter_is_rejected_by_name_and_without_its_value() {
        for (kind, name) in [
            (Postgres, "sslpassword"),
            (Postgres, "passfile"),
            (Postgres, "channel_binding"),
            (MySql, "password"),
            (MySql, "allowPublicKeyRetrieval"),
            // The time of the database would be ambiguous when daylight saving time ends.
            (MySql, "timezone"),
            (Sqlite, "key"),
            (Sqlite, "immutable"),
            (Sqlite, "vfs"),
        ] {
            for url in [format!("x://u@h/d?{name}=CANARY"), format!("x://u@h/d?{name}=&CANARY=x")] {
                let rule = check(kind, &url).unwrap_err();
                assert!(rule.contains(&format!("parameter {name};")) && !rule.contains("CANARY"), "{url}: {rule}");
            }
        }
    }

    #[test]
    fn a_parameter_with_which_texts_or_changes_would_be_lost_is_rejected() {
        for (kind, parameter) in
            [(MySql, "charset=latin1"), (MySql, "charset=utf8mb3"), (MySql, "collation=utf8_bin"), (Sqlite, "mode=ro")]
        {
            let rule = check(kind, &format!("x://u@h/d?{parameter}")).unwrap_err();
            let name = parameter.split('=').next().unwrap();
            assert!(rule.starts_with(&format!("has the parameter {name}, which must")), "{rule}");
        }
    }

    #[test]
    fn every_name_of_utf8_means_all_of_it() {
        for name in ["utf8", "UTF8", "utf-8", "utf8mb4", "%75tf8"] {
            let url = format!("mysql://h/d?charset={name}&socket=a+b");
            assert_eq!(check(MySql, &url), Ok(()));
            assert_eq!(with_whole_charset(&url), "mysql://h/d?charset=utf8mb4&socket=a+b");
        }
        assert_eq!(with_whole_charset("mysql://h/d"), "mysql://h/d");
    }

    #[test]
    fn what_may_be_a_part_of_a_password_is_not_shown() {
        for url in [
            "postgres://u:a?CANARY=b@h/d",
            "postgres://h:1?CANARY=b@h/d",
            "postgres://h/d?CANARY",
            "postgres://h/d?password=a&CANARY=b",
            "postgres://h/d?C%41NARY%20x=b",
        ] {
            let rule = check(Postgres, url).unwrap_err();
            assert!(!rule.contains("CANARY"), "{url}: {rule}");
        }
    }
}
