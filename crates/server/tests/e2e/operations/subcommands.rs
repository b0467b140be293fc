//! `migrate`, `healthcheck`, and what a server refuses to start with.

use std::process::Stdio;

use key_authority_proto::v1::*;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::process::{Ended, program, program_under, run};
use crate::support::{
    Authority, Database, Setup, in_time, on_database_servers, on_every_database, on_sqlite, subcommand,
};

/// What a server says that must not start.
async fn refusal_to_start(authority: &Authority, more: &[&str]) -> Ended {
    let mut command = authority.serve_command();
    command.args(more);
    in_time("the server refuses to start", run(command)).await.badly()
}

async fn migrate_makes_the_schema_and_serve_may_leave_it_alone(database: Database) {
    let mut authority = Setup::on(database).flags(["--no-migrate"]).prepare().await;
    refusal_to_start(&authority, &[]).await;
    authority.subcommand(&["migrate"], &[]).await.well();
    authority.subcommand(&["migrate"], &[]).await.well();
    authority.restart().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
}

async fn a_newer_schema_is_refused(database: Database) {
    let mut authority = Setup::on(database).start().await;
    assert!(authority.stop().await.success());
    authority.database().sql("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_of_tomorrow', 1)");
    let text = refusal_to_start(&authority, &[]).await.text();
    assert!(text.contains("m9999_of_tomorrow"), "{text}");
    refusal_to_start(&authority, &["--no-migrate"]).await;
    authority.subcommand(&["migrate"], &[]).await.badly();
    authority.database().sql("DELETE FROM seaql_migrations WHERE version = 'm9999_of_tomorrow'");
    authority.restart().await;
}

async fn another_secret_is_refused(database: Database) {
    let mut authority = Setup::on(database).start().await;
    let token = authority.root_token();
    assert!(authority.stop().await.success());
    let kept = std::fs::read(authority.secret_file()).unwrap();
    std::fs::write(authority.secret_file(), "07".repeat(32)).unwrap();
    let text = refusal_to_start(&authority, &[]).await.text();
    assert!(text.contains("secret"), "{text}");
    assert!(!text.contains("0707"), "{text}");
    std::fs::write(authority.secret_file(), "no secret at all").unwrap();
    let text = refusal_to_start(&authority, &[]).await.text();
    assert!(!text.contains("no secret at all"), "{text}");
    std::fs::write(authority.secret_file(), kept).unwrap();
    authority.restart().await;
    assert_eq!(authority.client().caller_verdict(&token).await, Verdict::Valid);
}

async fn a_secret_gets_a_new_version_beside_the_old(database: Database) {
    let mut authority = Setup::on(database).start().await;
    let client = authority.client();
    client.new_account("acme", KeyPolicy { recoverable: true, ..KeyPolicy::default() }).await;
    let old = client.key_in("acme").await;
    let secret = Some(imported_key::Secret::Token("sk-live/0123456789".into()));
    let import = ImportKeysRequest {
        account: "acme".into(),
        keys: vec![ImportedKey { secret, ..Default::default() }],
        request_id: "r-1".into(),
        ..Default::default()
    };
    assert_eq!(client.import(import.clone()).await.unwrap().imported, 1);
    assert!(authority.stop().await.success());
    let first = std::fs::read_to_string(authority.secret_file()).unwrap();
    let second = subcommand(["generate-secret"]).await.well().stdout;
    std::fs::write(authority.secret_file(), format!("{first}2:{second}")).unwrap();
    authority.restart().await;
    let client = authority.client();
    let new = client.key_in("acme").await;
    assert_eq!(client.import(import).await.unwrap().imported, 1, "the same message is known again");
    for key in [&old, &new] {
        assert_eq!(client.verdict(&key.token).await, Verdict::Valid);
        let shown = client.reveal_token(RevealTokenRequest { key_id: key.key.id.clone() }).await.unwrap();
        assert_eq!(shown.token, key.token);
    }
    assert!(authority.stop().await.success());
    authority.subcommand(&["audit", "verify"], &[]).await.well();
    for (version, alone) in [("2", first), ("1", format!("2:{second}"))] {
        std::fs::write(authority.secret_file(), alone).unwrap();
        let text = refusal_to_start(&authority, &[]).await.text();
        assert!(text.contains(&format!("version {version} of the authority secret")), "{text}");
    }
}

async fn a_second_start_changes_nothing(mut authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let log = client.events(ListAuditEventsRequest::default()).await;
    assert!(authority.stop().await.success());
    authority.restart().await;
    assert_eq!(authority.client().events(ListAuditEventsRequest::default()).await, log);
}

async fn healthcheck_tells_by_its_exit_code(mut authority: Authority) {
    let ask = async |address: String| {
        let mut command = program();
        command.arg("healthcheck").env("KEY_AUTHORITY_HTTP_LISTEN", address);
        run(command).await
    };
    let address = authority.http().to_owned();
    assert_eq!(ask(address.clone()).await.well().status.code(), Some(0));
    assert!(authority.stop().await.success());
    assert_eq!(ask(address).await.badly().status.code(), Some(1));
}

async fn a_second_listener_serves_verify_alone(database: Database) {
    let authority = Setup::on(database).flags(["--verify-listen", "127.0.0.1:0"]).start().await;
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let key = client.key_in("acme").await;
    let output = authority.output();
    let printed = output.lines().find_map(|line| line.trim().strip_prefix("Verify "));
    let channel = crate::support::authority::connect(printed.expect("its address is printed").trim(), None);
    let credential = format!("Bearer {}", authority.root_token());
    let narrow = crate::support::Client::with_authorization(channel, Some(&credential));
    assert_eq!(narrow.verdict(&key.token).await, Verdict::Valid);
    let refused = narrow.list_accounts(ListAccountsRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
}

async fn a_log_that_is_not_there_is_not_made_by_proving_it(_database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("typo").display().to_string();
    let text = subcommand(["audit", "verify", "--data-dir", &absent]).await.badly().text();
    assert!(text.contains("no database exists at") && text.contains(&absent), "{text}");
    let secret = folder.path().join("secret").display().to_string();
    std::fs::write(&secret, "07".repeat(32)).unwrap();
    let (nowhere, no_folder) = (format!("sqlite://{absent}"), format!("sqlite://{absent}/x.db"));
    let ask = async |words: &[&str], url: &str| {
        let flags = ["--database-url", url, "--secret-file", &secret];
        subcommand(words.iter().chain(&flags)).await.badly().text()
    };
    let text = ask(&["audit", "verify"], &nowhere).await;
    assert!(text.contains("no database exists at"), "{text}");
    for words in [&["serve"][..], &["migrate"], &["check-config"]] {
        let text = ask(words, &no_folder).await;
        assert!(text.contains(&absent) && text.contains("does not exist"), "{text}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is made");
}

async fn a_database_that_cannot_be_used_is_named_with_the_cause(database: Database) {
    let authority = Setup::on(database).prepare().await;
    let url = authority.database().url(None).unwrap();
    let (login, name) = url.rsplit_once('/').unwrap();
    let (user, address) = login.rsplit_once('@').unwrap();
    let (user, password) = user.rsplit_once(':').unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, words) in [
        (format!("{user}:{password}@{free}/{name}"), ["Connection refused", "is it running"]),
        (format!("{user}:canary@{address}/{name}"), ["database authentication failed", address]),
        (format!("{login}/{name}_unknown"), ["create it first", "_unknown"]),
        (format!("{login}/"), ["--database-url", "must name a database"]),
    ] {
        let secret = authority.secret_file().display().to_string();
        let here =
            ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--api-listen", "", "--secret-file", &secret];
        let ended = subcommand(["serve", "--database-url", &url].iter().chain(&here)).await.badly();
        let text = ended.text();
        assert!(words.iter().all(|word| text.contains(word)), "{words:?} in\n{text}");
        assert!(!text.contains("canary") && !text.contains(password), "{text}");
        let cause = ended.stderr.lines().last().unwrap_or_default();
        let parts: Vec<&str> = cause.split(": ").collect();
        assert!(parts.windows(2).all(|pair| pair[0] != pair[1]) && !cause.contains("Error:"), "said once: {cause}");
    }
}

on_every_database! {
    migrate_makes_the_schema_and_serve_may_leave_it_alone,
    a_newer_schema_is_refused,
    another_secret_is_refused,
    a_secret_gets_a_new_version_beside_the_old,
    a_second_start_changes_nothing,
}

async fn what_keeps_a_server_from_starting_is_printed_with_its_cause(database: Database) {
    let authority = Setup::on(database).prepare().await;
    let nowhere = ["--tls-cert", "/nowhere/cert.pem", "--tls-key", "/nowhere/key.pem"];
    let text = refusal_to_start(&authority, &nowhere).await.stderr;
    let error = r#""error":"--tls-cert /nowhere/cert.pem: cannot be read: No such file or directory"#;
    assert!(text.contains(error), "{text}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, twin) in [
        ("--listen", "KEY_AUTHORITY_LISTEN"),
        ("--verify-listen", "KEY_AUTHORITY_VERIFY_LISTEN"),
        ("--http-listen", "KEY_AUTHORITY_HTTP_LISTEN"),
        ("--api-listen", "KEY_AUTHORITY_API_LISTEN"),
    ] {
        // Each flag may be given once.
        let mut command = program();
        command.args(authority.storage_flags());
        for other in ["--listen", "--http-listen", "--api-listen"].into_iter().filter(|other| *other != flag) {
            command.args([other, "127.0.0.1:0"]);
        }
        command.args([flag, &address]);
        let text = run(command).await.badly().stderr;
        let said = format!(
            "key-authority: cannot bind {flag} {address} (another program uses this port; stop it, or set {flag} or \
             {twin} to another port): Address already in use"
        );
        assert!(text.contains(&said), "{text}");
    }
}

async fn a_server_that_cannot_print_serves_all_the_same(database: Database) {
    let authority = Setup::on(database).prepare().await;
    let mut command = authority.serve_command();
    command.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap()).stderr(Stdio::piped());
    let mut server = command.spawn().unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap()).lines();
    let mut is_ready = false;
    while !is_ready {
        let line = in_time("a line of the log", log.next_line()).await.unwrap();
        is_ready = line.expect("it goes on").contains(r#""ready""#);
    }
    let pid = server.id().and_then(|pid| rustix::process::Pid::from_raw(pid.try_into().unwrap())).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    // Its log is read to the end, so that it never waits for a reader.
    while in_time("the rest of the log", log.next_line()).await.unwrap().is_some() {}
    assert!(in_time("an orderly end", server.wait()).await.unwrap().success());
}

async fn a_file_that_is_served_keeps_its_schema(database: Database) {
    let authority = Setup::on(database).start().await;
    // As a newer program would find it: with a migration that it has not seen done.
    authority.database().sql("DELETE FROM seaql_migrations");
    for text in [
        refusal_to_start(&authority, &[]).await.text(),
        authority.subcommand(&["migrate"], &[]).await.badly().text(),
        authority.subcommand(&["bootstrap"], &[]).await.badly().text(),
    ] {
        assert!(text.contains("another key-authority serves this SQLite database"), "{text}");
    }
}

async fn the_address_of_a_database_may_be_of_ipv6(database: Database) {
    let authority = Setup::on(database).start().await;
    let flags = authority.storage_flags().into_iter().map(|flag| flag.replace("127.0.0.1", "[::ffff:127.0.0.1]"));
    let words = ["audit", "verify"].map(str::to_owned);
    subcommand(words.into_iter().chain(flags)).await.well();
}

/// It needs the privileges of root.
async fn a_subcommand_of_another_user_names_the_permissions(database: Database) {
    let authority = Setup::on(database).start().await;
    let backup = authority.folder().join("backup").display().to_string();
    for words in [&["migrate"][..], &["bootstrap"], &["audit", "verify"], &["backup", &backup]] {
        let mut command = program_under(&["setpriv", "--reuid", "65534", "--clear-groups"].map(str::to_owned));
        command.args(words).args(authority.storage_flags());
        let text = run(command).await.badly().text();
        assert!(text.contains("key-authority.db") && text.contains("Permission denied"), "{words:?}: {text}");
    }
}

async fn an_output_that_cannot_be_written_is_named(database: Database) {
    let authority = Setup::on(database).start().await;
    let mut command = program();
    command.args(["audit", "verify"]).args(authority.storage_flags());
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("cannot write to standard output: No space"), "{text}");
}

async fn a_path_may_have_characters_that_a_url_has_not(_database: Database) {
    let folder = tempfile::tempdir().unwrap();
    for (flag, value, made) in [
        ("--data-dir", "my data:1", "my data:1/key-authority.db"),
        ("--database-url", "sqlite://a b.db", "a b.db"),
        ("--database-url", "sqlite://c%20d.db", "c d.db"),
    ] {
        let mut command = program();
        command.args(["migrate", flag, value]).current_dir(folder.path());
        run(command).await.well();
        assert!(folder.path().join(made).exists(), "{value}");
    }
}

mod servers {
    use super::*;
    on_database_servers! {
        the_address_of_a_database_may_be_of_ipv6,
        a_database_that_cannot_be_used_is_named_with_the_cause,
    }
}

mod once {
    use super::*;
    on_sqlite! {
        a_path_may_have_characters_that_a_url_has_not,
        a_subcommand_of_another_user_names_the_permissions,
        an_output_that_cannot_be_written_is_named,
        a_file_that_is_served_keeps_its_schema,
        a_server_that_cannot_print_serves_all_the_same,
        what_keeps_a_server_from_starting_is_printed_with_its_cause,
        a_log_that_is_not_there_is_not_made_by_proving_it,
        healthcheck_tells_by_its_exit_code,
        a_second_listener_serves_verify_alone,
    }
}
