//! The database URL. It is a secret, since it usually contains a password.

use std::borrow::Cow;
use std::fmt;
use std::io::ErrorKind::NotFound;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use url::Url;
use zeroize::Zeroizing;

use super::url_parameters::{self, DatabaseKind};

/// A database URL. `Debug` and `Display` show neither password nor query; [`DatabaseUrl::expose`] returns the full
/// text.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: Zeroizing<String>,
    kind: DatabaseKind,
}

impl DatabaseUrl {
    /// Parses a URL. The scheme is normalized to the one that sea-orm knows (`postgres`, `mysql`, `sqlite`).
    pub(super) fn parse(text: &str) -> Result<Self, Cow<'static, str>> {
        if text.contains(char::is_control) {
            return Err("must be one line, without control characters".into());
        }
        if text.starts_with(['"', '\'']) {
            return Err("must not be in quotes: a shell removes them, but an environment file does not".into());
        }
        let (scheme, rest) = text.split_once(':').ok_or("must be a URL: postgres://…, mysql://… or sqlite://…")?;
        let (kind, scheme) = match scheme {
            "sqlite" => (DatabaseKind::Sqlite, "sqlite"),
            "postgres" | "postgresql" => (DatabaseKind::Postgres, "postgres"),
            "mysql" | "mariadb" => (DatabaseKind::MySql, "mysql"),
            _ => return Err("must begin with postgres://, mysql:// or sqlite://".into()),
        };
        if kind == DatabaseKind::Sqlite && (rest.contains(":memory:") || rest.contains("mode=memory")) {
            return Err("must not be in memory: acknowledged changes would be lost at exit".into());
        }
        if !rest.starts_with("//") || rest.len() == 2 {
            return Err("must be a whole URL, such as postgres://user:password@host/database".into());
        }
        if rest.contains('#') {
            return Err("must not contain a '#'; in a password, write %23".into());
        }
        url_parameters::check(kind, rest)?;
        let rest = if kind == DatabaseKind::MySql { url_parameters::with_whole_charset(rest) } else { rest.into() };
        let text = Zeroizing::new(format!("{scheme}:{rest}"));
        if let Some(file) = key_authority_storage::store::file_of(&text) {
            if file.as_os_str().is_empty() {
                return Err("must name a file: sqlite://<path>".into());
            }
            // A path may have spaces and other characters that a URL must not have. With an `@`, the scheme may be
            // wrong, and a password must stay recognizable.
            if !rest.contains('@') {
                return Ok(Self::of_file(&file));
            }
        }
        if !key_authority_storage::store::is_url(&text) {
            // The driver's own message would repeat the password.
            return Err("must be a URL that the driver understands: check host, port and options, and write special \
                        characters of a password in percent encoding"
                .into());
        }
        if !key_authority_storage::store::names_database(&text) {
            return Err("must name a database: end it with /<database>".into());
        }
        Ok(Self { text, kind })
    }

    /// Returns the URL of an `SQLite` file that is created if it does not exist.
    pub(super) fn of_file(path: &Path) -> Self {
        let text = Zeroizing::new(key_authority_storage::store::url_of_file(path));
        Self { text, kind: DatabaseKind::Sqlite }
    }

    /// Returns the full URL, for the connection.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Returns the file of an `SQLite` database.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        key_authority_storage::store::file_of(&self.text)
    }

    /// Returns the folder of an `SQLite` database if it does not exist: the file is created, its folder is not.
    #[must_use]
    pub fn missing_folder(&self) -> Option<PathBuf> {
        let folder = self.file()?.parent()?.to_owned();
        // A folder that this user may not look at exists.
        let is_missing =
            std::fs::metadata(&folder).map_or_else(|error| error.kind() == NotFound, |found| !found.is_dir());
        (!folder.as_os_str().is_empty() && is_missing).then_some(folder)
    }

    /// Whether the database is on another host, and the connection does not verify its certificate.
    #[must_use]
    pub fn is_remote_and_unverified(&self) -> bool {
        let Ok(url) = Url::parse(&self.text) else { return false };
        let is_verified = url.query_pairs().any(|(name, mode)| {
            matches!(&*name, "sslmode" | "ssl-mode")
                && ["verify-ca", "verify-full", "verify_ca", "verify_identity"]
                    .iter()
                    .any(|known| mode.eq_ignore_ascii_case(known))
        });
        let is_remote = url.host_str().is_some_and(|host| {
            let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
            !host.is_empty()
                && host != "localhost"
                && !host.starts_with('%')
                && !address.is_ok_and(|ip| ip.is_loopback())
        });
        self.kind != DatabaseKind::Sqlite && is_remote && !is_verified
    }

    /// Returns the kind of database.
    #[must_use]
    pub fn kind(&self) -> DatabaseKind {
        self.kind
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.text.split_once("://").unwrap_or(("", &self.text));
        // The last `@`, since an `@` in a password is often not encoded.
        let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
        // The query may contain a password as well (`?password=`, `?sslpassword=`).
        let (place, _query) = place.split_once('?').unwrap_or((place, ""));
        match login {
            None => write!(formatter, "{scheme}://{place}"),
            // A `?` before the last `@`: password, query and host are ambiguous.
            Some(login) if login.contains('?') => write!(formatter, "{scheme}://***"),
            Some(login) => {
                let (user, password) = login.split_once(':').map_or((login, ""), |(user, _)| (user, ":***"));
                write!(formatter, "{scheme}://{user}{password}@{place}")
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DatabaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_a_url_shows_a_password() {
        for (url, shown) in [
            ("postgres://user:secret@host:5432/db", "postgres://user:***@host:5432/db"),
            ("postgresql://user:sec@ret/1@host/db?sslpassword=secret", "postgres://user:***@host/db"),
            ("mysql://user:a?secret@host/db", "mysql://***"),
            ("mysql://user@host/db?password=sec@ret", "mysql://***"),
            ("mariadb://user@host/db?password=secret", "mysql://user@host/db"),
            ("sqlite:///var/lib/keys.db?mode=rwc", "sqlite:///var/lib/keys.db"),
        ] {
            // This includes URLs that `parse` rejects: they may be shown before they are validated.
            let (_, rest) = url.split_once(':').unwrap();
            let scheme = shown.split_once(':').unwrap().0;
            let text = Zeroizing::new(format!("{scheme}:{rest}"));
            let url = DatabaseUrl { text, kind: DatabaseKind::Postgres };
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("DatabaseUrl({shown})"));
        }
    }

    #[test]
    fn a_remote_database_needs_a_verified_certificate() {
        let is_unverified = |url: &str| DatabaseUrl::parse(url).unwrap().is_remote_and_unverified();
        for url in ["postgres://h/d", "mysql://h/d?ssl-mode=REQUIRED", "postgres://u:p@192.0.2.7/d?sslmode=require"] {
            assert!(is_unverified(url), "{url}");
        }
        for url in [
            "postgres://localhost/d",
            "postgres://[::1]/d",
            "mysql://127.0.0.1/d",
            "postgres://h/d?sslmode=verify-full",
            "mysql://h/d?ssl-mode=VERIFY_IDENTITY",
            "sqlite://x.db",
        ] {
            assert!(!is_unverified(url), "{url}");
        }
    }

    #[test]
    fn unsupported_databases_are_rejected() {
        for url in [
            "",
            "host/db",
            "http://host/db",
            "postgres:",
            "postgres://",
            "sqlite::memory:",
            "sqlite://a?mode=memory",
            "sqlite://?mode=rwc",
        ] {
            assert!(DatabaseUrl::parse(url).is_err(), "{url}");
        }
        assert!(DatabaseUrl::parse("\"postgres://u:CANARY@h/db\"").unwrap_err().contains("must not be in quotes"));
        // The driver would skip the line break.
        let lines = "postgres://u:CANARY@h/db\npostgres://u:CANARY@i/db";
        assert_eq!(DatabaseUrl::parse(lines).unwrap_err(), "must be one line, without control characters");
        for canary in ["postgres://u:CANARY@h:notaport/db", "postgres://u:CANARY@[::bad/db", "mysql://h/db#CANARY"] {
            let rule = DatabaseUrl::parse(canary).unwrap_err();
            assert!(!rule.contains("CANARY"), "{rule}");
        }
        assert!(DatabaseUrl::parse("postgres://u:p%40w@127.0.0.1:5432/db?sslmode=disable").is_ok());
    }

    #[test]
    fn a_url_without_a_database_is_rejected_and_a_file_needs_its_folder() {
        for url in ["mysql://u:CANARY@h:1/", "mysql://u:CANARY@h", "postgres://u:CANARY@h:1/", "postgres://u:CANARY@h"]
        {
            let rule = DatabaseUrl::parse(url).unwrap_err();
            assert!(rule.contains("must name a database") && !rule.contains("CANARY"), "{rule}");
        }
        let missing = |url: &str| DatabaseUrl::parse(url).unwrap().missing_folder();
        assert_eq!(missing("sqlite:///no/where/x.db"), Some("/no/where".into()));
        assert_eq!(missing("sqlite://x.db"), None);
        assert_eq!(missing("postgres://h/d"), None);
    }

    #[test]
    fn a_path_with_the_characters_of_a_url_stays_a_path() {
        let url = DatabaseUrl::of_file(Path::new("/a?b#c%d/key-authority.db"));
        assert_eq!(url.expose(), "sqlite:///a%3Fb%23c%25d/key-authority.db?mode=rwc");
        for path in ["my data/a.db", "my:1/a@b.db", "./ключ/[1].db", "/a%20b.db", "./data/key-authority.db"] {
            let url = DatabaseUrl::of_file(Path::new(path));
            assert!(Url::parse(url.expose()).is_ok(), "{url}");
            assert_eq!(url.file().unwrap(), Path::new(path));
            assert_eq!(DatabaseUrl::parse(url.expose()).unwrap(), url);
        }
        for text in ["sqlite://my data/a.db", "sqlite://my%20data/a.db?mode=rw"] {
            assert_eq!(DatabaseUrl::parse(text).unwrap().expose(), "sqlite://my%20data/a.db?mode=rwc");
        }
    }
}
