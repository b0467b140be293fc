use super::*;
use clap::{CommandFactory as _, Parser as _};

const NO_VARIABLES: [(String, String); 0] = [];

fn settings(args: &[&str]) -> Settings {
    let cli = Cli::try_parse_from(std::iter::once(&"key-authority").chain(args)).unwrap();
    match cli.into_command() {
        Command::Serve(settings) => *settings,
        other => panic!("{other:?}"),
    }
}

fn config(args: &[&str]) -> Result<Config, Vec<String>> {
    Config::from_args(&settings(args), ConfigMode::Serve, NO_VARIABLES)
        .map_err(|errors| errors.to_string().lines().map(str::to_owned).collect())
}

#[test]
fn the_command_line_is_valid_and_every_flag_has_a_variable() {
    let command = Cli::command();
    command.clone().debug_assert();
    for argument in command.get_arguments() {
        let Some(flag) = argument.get_long().filter(|flag| !["help", "version"].contains(flag)) else { continue };
        let twin = argument.get_env().map(|name| name.to_string_lossy().into_owned());
        assert_eq!(twin, Some(error::twin(flag)), "--{flag}");
        assert!(argument.get_help().is_some(), "--{flag}");
    }
}

#[test]
fn without_arguments_it_serves_with_the_embedded_database() {
    let config = config(&[]).unwrap();
    assert!(config.database.embedded && config.database.migrate);
    assert_eq!(config.database.url.expose(), "sqlite://./data/key-authority.db?mode=rwc");
    assert_eq!(config.listen.to_string(), "127.0.0.1:50051");
    assert_eq!(config.http_listen.to_string(), "127.0.0.1:9464");
    assert_eq!(config.secret_file, Some("./data/authority.secret".into()));
    assert_eq!(config.root_token_file(), PathBuf::from("./data/root.token"));
    assert_eq!((config.lease, config.tls.clone(), config.verify_listen), (None, None, None));
    assert_eq!(config.limits.max_connection_age, Duration::from_mins(30));
    assert_eq!(config.request_timeout, Duration::from_secs(30));
    assert!(config.warnings().is_empty());
}

#[test]
fn the_subcommand_serve_is_optional() {
    assert_eq!(config(&["--listen", "[::1]:1"]), config(&["serve", "--listen", "[::1]:1"]));
    let command = |args: &[&str]| Cli::try_parse_from(args).unwrap().into_command();
    assert!(matches!(command(&["key-authority", "audit", "verify"]), Command::Audit(AuditCommand::Verify(_))));
    assert!(matches!(command(&["key-authority", "check-config", "--lease", "9s"]), Command::CheckConfig(_)));
    assert!(matches!(command(&["key-authority", "generate-token"]), Command::GenerateToken));
    assert!(matches!(command(&["key-authority", "healthcheck"]), Command::Healthcheck(_)));
}

#[test]
fn an_unknown_flag_is_rejected() {
    assert!(Cli::try_parse_from(["key-authority", "--leese", "9s"]).is_err());
}

#[test]
fn all_errors_are_reported_at_once_with_flag_twin_value_and_rule() {
    let errors = config(&[
        "--lease",
        "3s",
        "--listen",
        "localhost:1",
        "--database-connections",
        "0",
        "--client-ca",
        "/ca",
        "--anonymous-verify=perhaps",
        "--log-format",
        "xml",
        "--log",
        "loud",
    ])
    .unwrap_err();
    assert_eq!(errors.len(), 7, "{errors:#?}");
    let log = "--log (KEY_AUTHORITY_LOG) is \"loud\": must be a level (off, error, warn, info, debug or trace), or \
               modules with a level each and no space, such as info,key_authority_server=debug";
    assert!(errors.iter().any(|error| error == log), "{errors:#?}");
    let lease = "--lease (KEY_AUTHORITY_LEASE) is \"3s\": must be a whole number and ms, s, m or h, from 5s to 1m";
    assert!(errors.iter().any(|error| error == lease), "{errors:#?}");
}

#[test]
fn the_example_in_a_rule_is_valid_for_its_flag() {
    for (flag, example) in [
        ("--listen", "127.0.0.1:50051"),
        ("--verify-listen", "[::]:50052"),
        ("--http-listen", "0.0.0.0:9464"),
        ("--lease", "5s"),
        ("--max-connection-age", "24h"),
        ("--preface-timeout", "100ms"),
        ("--request-timeout", "10m"),
        ("--shutdown-delay", "0s"),
    ] {
        let errors = config(&[flag, "nonsense"]).unwrap_err();
        assert!(errors.len() == 1 && errors[0].contains(example), "{flag} {example}: {errors:#?}");
        assert!(config(&[flag, example]).is_ok(), "{flag} {example}");
    }
}

#[test]
fn conflicting_settings_are_rejected() {
    for (args, word) in [
        (&["--tls-cert", "/c"][..], "needs --tls-key"),
        (&["--tls-key", "/k"], "needs --tls-cert"),
        (&["--client-ca", "/a"], "needs --tls-cert and --tls-key"),
        (&["--tls-cert", "/c", "--tls-key", "/k", "--client-ca", ""], "must not be blank"),
        (&["--database-url", " "], "must not be blank"),
        (&["--listen", "0.0.0.0:9464"], "must differ from --listen"),
        (&["--verify-listen", "127.0.0.1:50051"], "must differ from --listen"),
        (&["--verify-listen", "127.0.0.1:9464"], "must differ from --http-listen"),
        (&["--shutdown-delay", "5s"], "at most 8s"),
        (&["--database-url", "postgres://h/d"], "--secret-file"),
        (&["--database-url", "oracle://h/d", "--secret-file", "/s"], "must begin with"),
        (&["--database-url", "mysql://h/d", "--database-url-file", "/f", "--secret-file", "/s"], "together with"),
        (&["--database-url-file", "/does/not/exist", "--secret-file", "/s"], "cannot be read"),
    ] {
        let errors = config(args).unwrap_err();
        assert!(errors.len() == 1 && errors[0].contains(word), "{args:?}: {errors:#?}");
    }
    assert!(config(&["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]).is_ok());
}

#[test]
fn a_password_is_shown_nowhere() {
    let url = "postgres://user:canary@host/db";
    let args = ["--database-url", url, "--secret-file", "/s"];
    assert!(!format!("{:?}", settings(&args)).contains("canary"));
    let config = config(&args).unwrap();
    assert!(!format!("{config:?}").contains("canary"));
    assert_eq!(config.database.url.expose(), url);
    let errors = Config::from_args(&settings(&["--database-url", "canary://canary"]), ConfigMode::Serve, NO_VARIABLES);
    assert!(!errors.unwrap_err().to_string().contains("canary"));
}

#[test]
fn the_url_can_be_in_a_file_and_maintenance_needs_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    std::fs::write(&path, "mariadb://user:password@host/db\n").unwrap();
    let settings = settings(&["--database-url-file", path.to_str().unwrap(), "--no-migrate"]);
    let config = Config::from_args(&settings, ConfigMode::Maintain, NO_VARIABLES).unwrap();
    assert_eq!(config.database.url.expose(), "mysql://user:password@host/db");
    assert_eq!(config.database.url.kind(), DatabaseKind::MySql);
    assert!(!config.database.migrate && !config.database.embedded);
    assert_eq!(config.secret_file, None);
}

#[test]
fn a_url_in_place_of_its_file_is_not_shown() {
    let errors = config(&["--database-url-file", "postgres://u:CANARY@h/d", "--secret-file", "/s"]).unwrap_err();
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert!(error.contains("must be a file") && !error.contains("CANARY"), "{error}");
}

#[test]
fn every_file_with_a_secret_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    std::fs::write(&path, "postgres://h/d").unwrap();
    let url = path.to_str().unwrap();
    let server = ["--database-url-file", url, "--secret-file", "/s", "--bootstrap-token-file", "/t"];
    let tls = ["--tls-cert", "/c", "--tls-key", "/k", "--client-ca", "/a"];
    let files = |args: &[&str]| config(args).unwrap().secret_files();
    assert_eq!(files(&[&server[..], &tls].concat()), [url, "/s", "/t", "/k"].map(PathBuf::from));
    assert_eq!(files(&[]), ["./data/authority.secret", "./data/root.token"].map(PathBuf::from));
}

#[test]
fn risky_settings_cause_warnings() {
    let warnings = |args: &[&str]| config(args).unwrap().warnings();
    assert_eq!(warnings(&["--listen", "0.0.0.0:50051", "--anonymous-verify"]).len(), 2);
    let unverified = warnings(&["--database-url", "postgres://h/d", "--secret-file", "/s"]);
    assert!(matches!(unverified[..], [only] if only.contains("sslmode=verify-full")));
    let url = "postgres://h/d?sslmode=verify-full";
    let external = ["--database-url", url, "--secret-file", "/s", "--data-dir", "/d"];
    assert!(matches!(warnings(&external)[..], [only] if only.contains("--data-dir")));
    assert!(warnings(&external[..4]).is_empty() && warnings(&external[4..]).is_empty());
}

#[test]
fn durations_have_a_unit() {
    for (text, duration) in [
        ("500ms", Some(Duration::from_millis(500))),
        ("10s", Some(Duration::from_secs(10))),
        ("5m", Some(Duration::from_mins(5))),
        ("1h", Some(Duration::from_hours(1))),
        ("0s", Some(Duration::ZERO)),
        ("10", None),
        ("s", None),
        ("", None),
        ("1.5s", None),
        ("-1s", None),
        ("1d", None),
        ("99999999999999999999s", None),
        ("18446744073709551615h", None),
    ] {
        assert_eq!(parse_duration(text), duration, "{text}");
    }
}

#[test]
fn only_postgres_has_a_notify_url() {
    let postgres = ["--database-url", "postgres://u:p@h/d", "--secret-file", "s"];
    let notify = |more: &[&str]| config(&[&postgres[..], more].concat()).map(|config| config.database.notify_url);
    assert_eq!(notify(&[]).unwrap().unwrap().expose(), "postgres://u:p@h/d");
    assert_eq!(
        notify(&["--notify-url", "postgresql://u:p@direct/d"]).unwrap().unwrap().expose(),
        "postgres://u:p@direct/d"
    );
    for url in ["mysql://u:CANARY@h/d", "CANARY"] {
        let errors = notify(&["--notify-url", url]).unwrap_err();
        assert!(errors.len() == 1 && errors[0].contains("--notify-url") && !errors[0].contains("CANARY"), "{errors:?}");
    }
    assert_eq!(config(&[]).unwrap().database.notify_url, None);
    assert!(config(&["--notify-url", "postgres://u:p@h/d"]).unwrap_err()[0].contains("PostgreSQL only"));
}
