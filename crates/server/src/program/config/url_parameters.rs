//! The parameters of a database URL. The driver ignores a parameter that it does not know, and logs its value, so such
//! a parameter is rejected before the driver reads the URL.

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
const MYSQL: [&str; 13] = [
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
    "timezone",
];
const SQLITE: [&str; 4] = ["mode", "cache", "immutable", "vfs"];
/// The parameter of PostgreSQL that contains the password.
const PASSWORD: &str = "password";
/// The length of the longest name that is shown.
const NAME_LENGTH_MAX: usize = 40;

/// Checks that the driver knows every parameter of the URL `text`.
///
/// # Errors
/// The rule. It contains the name of the parameter, unless the name may be a part of a password with special
/// characters.
pub(super) fn check(kind: DatabaseKind, text: &str) -> Result<(), Cow<'static, str>> {
    let Some((_, query)) = text.split_once('?') else { return Ok(()) };
    let mut is_after_password = false;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let name = form_urlencoded::parse(parameter.as_bytes()).next().map(|(name, _)| name).unwrap_or_default();
        if is_known(kind, &name) {
            is_after_password |= name == PASSWORD;
        } else if parameter.contains('=') && is_name(&name) && !is_after_password && !query.contains('@') {
            let known = known(kind).join(", ");
            return Err(format!("has the unknown parameter {name}; the driver knows {known}").into());
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
            (MySql, "mysql://h/d?ssl-mode=REQUIRED&charset=utf8mb4"),
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
            (Sqlite, "key"),
        ] {
            for url in [format!("x://u@h/d?{name}=CANARY"), format!("x://u@h/d?{name}=&CANARY=x")] {
                let rule = check(kind, &url).unwrap_err();
                assert!(rule.contains(&format!("parameter {name};")) && !rule.contains("CANARY"), "{url}: {rule}");
            }
        }
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
