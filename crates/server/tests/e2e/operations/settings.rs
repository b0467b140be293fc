//! Settings: all that is wrong is told at once, what is unknown is refused, and a flag has its twin in the environment.

use std::collections::BTreeSet;

use crate::support::certificates::Certificates;
use crate::support::process::{Ended, program, run};
use crate::support::subcommand;

/// A subcommand in an environment.
async fn with_environment(words: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = program();
    command.args(words).envs(variables.iter().copied());
    run(command).await
}

#[tokio::test]
async fn check_config_tells_all_that_is_wrong_at_once() {
    let wrong =
        ["check-config", "--listen", "nowhere", "--database-url", "ftp://x", "--lease", "1s", "--log-format", "x"];
    let variables = [("KEY_AUTHORITY_HTTP_LISTEN", "127.0.0.1:99999"), ("KEY_AUTHORITY_TLS_CERT", "/nothing.pem")];
    let text = with_environment(&wrong, &variables).await.badly().text();
    for flag in ["--listen", "--database-url", "--lease", "--log-format", "--http-listen", "--tls-key"] {
        assert!(text.contains(flag), "{flag} is named in:\n{text}");
    }
}

#[tokio::test]
async fn check_config_says_when_all_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data").display().to_string();
    subcommand(["check-config", "--data-dir", &data_dir]).await.well();
    assert!(!folder.path().join("data").exists(), "it only looks");
}

#[tokio::test]
async fn check_config_reads_every_file_that_the_settings_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(file("nonsense"), "canary\n").unwrap();
    for named in [file("absent"), file("nonsense")] {
        let text = subcommand([
            "check-config",
            "--listen",
            "nowhere",
            "--database-url",
            "postgres://u:canary@127.0.0.1:1/x",
            "--secret-file",
            &named,
            "--bootstrap-token-file",
            &named,
            "--tls-cert",
            &named,
            "--tls-key",
            &named,
            "--client-ca",
            &named,
        ]);
        let text = text.await.badly().text();
        for flag in ["--listen", "--secret-file", "--bootstrap-token-file", "--tls-cert", "--tls-key", "--client-ca"] {
            let line = text.lines().find(|line| line.starts_with(flag)).unwrap_or_else(|| panic!("{flag} in:\n{text}"));
            assert!(flag == "--listen" || line.contains(&named), "{line}");
        }
        assert!(!text.contains("canary"), "{text}");
    }
    // Below a file, nobody can make a folder.
    let text = subcommand(["check-config", "--data-dir", &file("nonsense/data")]).await.badly().text();
    assert!(text.contains("--data-dir") && text.contains("Not a directory"), "{text}");
}

#[tokio::test]
async fn what_is_no_file_is_named_with_what_it_is() {
    for (path, words) in [("/dev/zero", "larger than 1 MiB"), ("/", "Is a directory")] {
        for name_of in ["check-config", "serve"] {
            let text = subcommand([name_of, "--database-url-file", path]).await.badly().text();
            assert!(text.contains("--database-url-file") && text.contains(words), "{text}");
        }
        let flags = ["secret-file", "bootstrap-token-file", "tls-cert", "tls-key", "client-ca"];
        let words_of = flags.iter().flat_map(|flag| [format!("--{flag}"), path.to_owned()]);
        let text = subcommand(["check-config".to_owned()].into_iter().chain(words_of)).await.badly().text();
        for flag in flags {
            let line = text.lines().find(|line| line.starts_with(&format!("--{flag}")));
            assert!(line.is_some_and(|line| line.contains(words)), "{flag} in:\n{text}");
        }
    }
}

#[tokio::test]
async fn check_config_takes_files_that_are_right_and_leaves_the_folder_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    for (command, name) in [("generate-secret", "secret"), ("generate-token", "token")] {
        std::fs::write(file(name), subcommand([command]).await.well().stdout).unwrap();
    }
    let files = ["--secret-file", &file("secret"), "--bootstrap-token-file", &file("token")];
    let server = ["check-config", "--database-url", "postgres://u@127.0.0.1:1/x"];
    subcommand(server.iter().chain(&files)).await.well();
    let embedded = ["check-config", "--data-dir", &file("")];
    subcommand(embedded.iter().chain(&files)).await.well();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "it only looks");
    // A database without its secret: the server would not start.
    std::fs::write(file("key-authority.db"), "").unwrap();
    let text = subcommand(embedded).await.badly().text();
    assert!(text.contains("--secret-file") && text.contains("authority.secret"), "{text}");
}

#[tokio::test]
async fn what_is_unknown_is_refused_by_name() {
    let text = subcommand(["serve", "--lisen", "127.0.0.1:0"]).await.badly().text();
    assert!(text.contains("--lisen"), "{text}");
    let text = subcommand(["frobnicate"]).await.badly().text();
    assert!(text.contains("frobnicate"), "{text}");
    let variables = [("KEY_AUTHORITY_LISEN", "127.0.0.1:0")];
    let text = with_environment(&["serve", "--listen", "127.0.0.1:0"], &variables).await.badly().text();
    assert!(text.contains("KEY_AUTHORITY_LISEN"), "{text}");
}

/// The subcommands that take the settings of the database.
const ON_A_DATABASE: [&[&str]; 5] = [&["serve"], &["migrate"], &["bootstrap"], &["check-config"], &["audit", "verify"]];

#[tokio::test]
async fn an_unknown_parameter_of_a_database_url_is_rejected_by_name_and_without_its_value() {
    for words in ON_A_DATABASE {
        for (url, name) in [
            ("postgres://u@127.0.0.1:1/x?sslpassword=canary", "sslpassword"),
            ("postgres://u@127.0.0.1:1/x?sslmode=disable&passfile=canary", "passfile"),
            ("mysql://u@127.0.0.1:1/x?password=canary", "password"),
            ("sqlite:///nowhere/x.db?key=canary", "key"),
        ] {
            for flag in ["--database-url", "--notify-url"] {
                let database = ["--database-url", "postgres://u@127.0.0.1:1/x", "--secret-file", "/nowhere"];
                let words = words.iter().chain(&database[if flag == "--notify-url" { 0 } else { 2 }..]);
                let text = subcommand(words.chain(&[flag, url])).await.badly().text();
                assert!(text.contains(flag) && text.contains(&format!("parameter {name};")), "{text}");
                assert!(!text.contains("canary"), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn a_database_url_in_the_wrong_place_is_not_shown() {
    let url = "postgres://u:canary@127.0.0.1:1/x";
    for words in ON_A_DATABASE.iter().chain(&[&["healthcheck"][..], &["generate-token"], &[]]) {
        let text = subcommand(words.iter().chain(&[url])).await.badly().text();
        assert!(!text.contains("canary"), "{text}");
        for flag in ["data-dir", "secret-file", "bootstrap-token-file", "listen", "http-listen", "lease", "log"] {
            let ended = subcommand(words.iter().copied().chain([format!("--{flag}").as_str(), url])).await.badly();
            assert!(!ended.text().contains("canary"), "{}", ended.text());
            let mut command = program();
            command.args(*words).env(format!("KEY_AUTHORITY_{}", flag.replace('-', "_").to_uppercase()), url);
            command.env("KEY_AUTHORITY_DATABASE_URL", "postgres://u:canary@127.0.0.1:1/x");
            let text = run(command).await.text();
            assert!(!text.contains("canary"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_password_file_of_postgres_is_not_logged() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("secret"), "07".repeat(32)).unwrap();
    std::fs::write(file("pgpass"), "canary\n127.0.0.1:1:x:u:canary\n").unwrap();
    std::fs::set_permissions(file("pgpass"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut command = program();
    command.args(["serve", "--log", "trace", "--database-url", "postgres://u@127.0.0.1:1/x", "--secret-file"]);
    command.arg(file("secret")).env("PGPASSFILE", file("pgpass"));
    let text = run(command).await.badly().text();
    assert!(text.contains("cannot use the database") && !text.contains("canary"), "{text}");
}

#[tokio::test]
async fn a_database_server_needs_a_secret_file() {
    let text = subcommand(["check-config", "--database-url", "postgres://u:canary@127.0.0.1:1/x"]).await.badly().text();
    assert!(text.contains("--secret-file"), "{text}");
    assert!(!text.contains("canary"), "the password is not shown: {text}");
}

#[tokio::test]
async fn help_names_every_setting_that_others_rely_on() {
    let text = subcommand(["serve", "--help"]).await.well().stdout;
    for flag in [
        "data-dir",
        "database-url",
        "listen",
        "verify-listen",
        "http-listen",
        "api-listen",
        "no-console",
        "secret-file",
        "bootstrap-token-file",
        "lease",
        "anonymous-verify",
        "tls-cert",
        "tls-key",
        "client-ca",
        "no-migrate",
        "log-format",
    ] {
        let twin = format!("KEY_AUTHORITY_{}", flag.replace('-', "_").to_uppercase());
        assert!(text.contains(&format!("--{flag}")) && text.contains(&twin), "{flag}, {twin}");
    }
    for default in ["127.0.0.1:50051", "127.0.0.1:9464", "127.0.0.1:8051", "./data"] {
        assert!(text.contains(default), "{default}");
    }
}

#[tokio::test]
async fn secrets_and_tokens_are_made_one_a_line_and_never_twice() {
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let secret = subcommand(["generate-secret"]).await.well().stdout;
        assert!(secret.trim_end().len() >= 64 && secret.lines().count() == 1);
        let token = subcommand(["generate-token"]).await.well().stdout;
        assert!(key_authority_domain::token::Token::parse(token.trim_end()).is_ok() && token.lines().count() == 1);
        assert!(seen.insert(secret) && seen.insert(token));
    }
}

#[tokio::test]
async fn a_byte_order_mark_is_accepted_in_every_file() {
    let certificates = Certificates::new();
    let folder = tempfile::tempdir().unwrap();
    let marked = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, ["\u{feff}".as_bytes(), content].concat()).unwrap();
        path.display().to_string()
    };
    let generated = async |command| subcommand([command]).await.well().stdout.into_bytes();
    let files = [
        ("--database-url-file", marked("url", b"postgres://u@127.0.0.1:1/x\n")),
        ("--secret-file", marked("secret", &generated("generate-secret").await)),
        ("--bootstrap-token-file", marked("token", &generated("generate-token").await)),
        ("--tls-cert", marked("server.pem", &certificates.read("server.pem"))),
        ("--tls-key", marked("server.key", &certificates.read("server.key"))),
        ("--client-ca", marked("ca.pem", &certificates.read("ca.pem"))),
    ];
    let flags: Vec<&str> = files.iter().flat_map(|(flag, path)| [*flag, path]).collect();
    subcommand([&["check-config"], &flags[..]].concat()).await.well();

    for (_, path) in &files {
        let text = String::from_utf8(std::fs::read(path).unwrap()).unwrap();
        std::fs::write(path, text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()).unwrap();
    }
    let text = subcommand([&["check-config"], &flags[..]].concat()).await.badly().text();
    for (flag, _) in &files {
        let line = text.lines().find(|line| line.starts_with(flag)).unwrap_or_else(|| panic!("{flag} in:\n{text}"));
        assert!(line.contains("is UTF-16; save it as UTF-8"), "{line}");
    }
}

/// The variables whose default is weaker than what a blank value may have meant.
const NEVER_BLANK: [&str; 8] = [
    "KEY_AUTHORITY_DATA_DIR",
    "KEY_AUTHORITY_DATABASE_URL",
    "KEY_AUTHORITY_DATABASE_URL_FILE",
    "KEY_AUTHORITY_SECRET_FILE",
    "KEY_AUTHORITY_BOOTSTRAP_TOKEN_FILE",
    "KEY_AUTHORITY_TLS_CERT",
    "KEY_AUTHORITY_TLS_KEY",
    "KEY_AUTHORITY_CLIENT_CA",
];

#[tokio::test]
async fn a_variable_that_is_set_but_blank_counts_as_unset_where_that_weakens_nothing() {
    let known = subcommand(["serve", "--help"]).await.well().stdout;
    let words = known.split(|character: char| !character.is_ascii_uppercase() && character != '_');
    let names: BTreeSet<_> = words.filter(|word| word.starts_with("KEY_AUTHORITY_")).collect();
    assert!(names.len() > 20 && NEVER_BLANK.iter().all(|name| names.contains(name)), "{names:?}");
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().display().to_string();
    for blank in ["", " ", "\r"] {
        let harmless = names.iter().filter(|name| !NEVER_BLANK.contains(name)).map(|name| (*name, blank));
        let variables: Vec<_> = harmless.chain([("KEY_AUTHORITY_LEESE", blank)]).collect();
        with_environment(&["check-config", "--data-dir", &data_dir], &variables).await.well();
    }
    let text = subcommand(["check-config", "--client-ca", ""]).await.badly().text();
    assert!(text.contains("--client-ca") && text.contains("must not be blank"), "a flag is explicit:\n{text}");
}

#[tokio::test]
async fn a_blank_variable_begins_no_authority_and_switches_nothing_off() {
    let folder = tempfile::tempdir().unwrap();
    for name in NEVER_BLANK {
        for blank in ["", " ", "\r"] {
            for words in [&["check-config"][..], &["serve", "--listen", "127.0.0.1:0"], &["migrate"], &["bootstrap"]] {
                let mut command = program();
                command.args(words).env(name, blank).current_dir(folder.path());
                let text = run(command).await.badly().text();
                assert!(text.contains(name) && text.contains("must not be blank"), "{text}");
            }
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
}
