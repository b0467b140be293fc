//! Database URLs: no text that the configuration prints contains the password, in any context.

use std::sync::OnceLock;

use clap::Parser as _;
use key_authority_server::testing::{Cli, Config, ConfigMode};

use crate::Target;
use crate::input::{CANARY, Input, assert_hidden};

/// The reader with its rule.
pub static TARGET: Target = Target {
    name: "database_url",
    run,
    seeds,
    dictionary: &[
        b"@",
        b":",
        b"/",
        b"?",
        b"#",
        b"%40",
        b"%3A",
        b"\n",
        b"[::1]",
        b"?sslmode=disable",
        b"host/db",
        b"://",
    ],
    memory: (262_144, 512),
};

const SCHEMES: [&str; 6] = ["postgres", "postgresql", "mysql", "mariadb", "sqlite", "http"];

/// Makes a URL with a password: the place of the password, and what stands around and in it, are the input's. `None` if
/// the canary is also where no secret is.
fn url(mut input: Input<'_>) -> Option<String> {
    let (scheme, place) = (usize::from(input.byte()), input.byte());
    let scheme = SCHEMES.get(scheme % SCHEMES.len()).copied().unwrap_or_default();
    let (user, before, after) = (input.line(), input.line(), input.line());
    let rest = String::from_utf8_lossy(input.rest());
    let is_elsewhere = user.contains(CANARY) || rest.contains(CANARY);
    (!is_elsewhere).then(|| match place % 4 {
        0 | 1 => format!("{scheme}://{user}:{before}{CANARY}{after}@{rest}"),
        2 => format!("{scheme}://{user}@{rest}?password={before}{CANARY}{after}"),
        _ => format!("{scheme}://{user}@{rest}?sslmode=disable&sslpassword={before}{CANARY}{after}"),
    })
}

/// Returns the settings of a command line without arguments.
fn settings() -> Option<Cli> {
    Cli::try_parse_from(["key-authority"]).ok()
}

fn run(input: &[u8]) {
    static DEFAULTS: OnceLock<Option<Cli>> = OnceLock::new();
    let Some(defaults) = DEFAULTS.get_or_init(settings) else { return };
    let mut input = Input::new(input);
    let setting = input.byte();
    let Some(url) = url(input) else { return };
    let mut settings = defaults.settings.clone();
    settings.secret_file = Some("authority.secret".into());
    match setting % 4 {
        0 | 1 => settings.database_url = Some(url.into()),
        2 => {
            settings.database_url = Some("postgres://host/db".to_owned().into());
            settings.notify_url = Some(url.into());
        }
        // The file is not there: its name is the URL.
        _ => settings.database_url_file = Some(url),
    }
    if setting % 4 != 3 {
        assert_hidden(&format!("{settings:?}"));
    }
    match Config::from_args(&settings, ConfigMode::Serve, []) {
        Ok(config) => {
            assert_hidden(&format!("{config:?}"));
            assert_hidden(&format!("{} {:?}", config.database.url, config.database.url));
            assert_hidden(&config.warnings().concat());
            let notify = config.database.notify_url.as_ref();
            assert!(
                [Some(&config.database.url), notify].into_iter().flatten().any(|url| url.expose().contains(CANARY))
            );
        }
        Err(errors) => assert_hidden(&format!("{errors} {errors:?}")),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let parts = [
        "user\n\n\nhost:5432/db",
        "user\np%40\n%3A\n127.0.0.1/db?sslmode=disable",
        "\n\n\n[::1]:5432/db",
        "us@er\n@\n/1\nhost/db",
        "user\na?\n#\nhost/db?x=a@b",
        "user\n\n\nhost:notaport/db",
        "user\n\n\nhost",
        "user\n//\n//\n/var/lib/keys.db?mode=rwc",
        "user\n\0\n\t\nhost/db",
    ];
    let seed = |(index, part): (usize, &&str)| {
        let index = u8::try_from(index).unwrap_or_default();
        [0, 2, 3].map(|setting| [&[setting, index % 6, index % 4], part.as_bytes()].concat())
    };
    let mut seeds: Vec<Vec<u8>> = parts.iter().enumerate().flat_map(seed).collect();
    seeds.extend([2, 3].map(|place| [&[0, 2, place], &b"user\n\n\nhost/db"[..]].concat()));
    seeds
}
