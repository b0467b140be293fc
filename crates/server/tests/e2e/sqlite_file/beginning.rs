//! A server begins a new authority only where there is no trace of an earlier one.

use std::fs;

use key_authority_proto::v1::*;

use super::{beside, contents, database_of, python, refusal};
use crate::support::{Database, Setup, on_database_servers, on_sqlite, subcommand};

/// What a copy of the file alone, made while a server ran, may have been: a header without a table.
fn header_only(path: &std::path::Path) {
    python("db.execute('PRAGMA journal_mode = WAL')", path, path);
    assert_eq!(fs::metadata(path).unwrap().len(), 4096);
}

async fn no_authority_begins_where_another_one_was(database: Database) {
    let mut authority = Setup::on(database).start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let key = authority.client().key_in("acme").await;
    assert!(authority.stop().await.success());
    let path = database_of(&authority);
    let kept = fs::read(&path).unwrap();
    // The folder that the server served, and another one to which an operator moved what looked important.
    let moved = Setup::on(database).prepare().await;
    for name in ["authority.secret", "root.token"] {
        fs::copy(authority.folder().join(name), moved.folder().join(name)).unwrap();
    }
    for authority in [&authority, &moved] {
        let path = database_of(authority);
        let _ = fs::remove_file(&path);
        let before = contents(authority.folder());
        let text = refusal(authority).await.text();
        assert!(text.contains("is missing, but") && text.contains("of an earlier authority exists"), "{text}");
        for words in [&["bootstrap"][..], &["audit", "verify"]] {
            let text = authority.subcommand(words, &[]).await.badly().text();
            assert!(text.contains("no database exists at"), "{text}");
        }
        let is_same = |(path, content): (&std::path::PathBuf, &Vec<u8>)| fs::read(path).unwrap() == *content;
        assert!(before.iter().all(is_same) && !path.exists(), "nothing is made");

        fs::write(&path, b"").unwrap();
        let empty = refusal(authority).await.text();
        header_only(&path);
        let hollow = refusal(authority).await.text();
        let bootstrap = authority.subcommand(&["bootstrap"], &[]).await.badly().text();
        for text in [empty, hollow, bootstrap] {
            assert!(text.contains("contains no authority"), "{text}");
        }
    }
    for ending in ["-wal", "-shm"] {
        let _ = fs::remove_file(beside(&path, ending));
    }
    fs::write(&path, kept).unwrap();
    authority.restart().await;
    assert_eq!(authority.client().verdict(&key.token).await, Verdict::Valid);
}

async fn a_secret_that_is_gone_is_not_made_anew(database: Database) {
    let mut authority = Setup::on(database).start().await;
    assert!(authority.stop().await.success());
    fs::remove_file(authority.secret_file()).unwrap();
    for text in [
        refusal(&authority).await.text(),
        authority.subcommand(&["bootstrap"], &[]).await.badly().text(),
        authority.subcommand(&["audit", "verify"], &[]).await.badly().text(),
    ] {
        assert!(text.contains("of an existing database is missing"), "{text}");
    }
    assert!(!authority.secret_file().exists());
}

async fn bootstrap_begins_no_authority(_: Database) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for made in [false, true] {
        if made {
            fs::create_dir(&data).unwrap();
        }
        let text = subcommand(["bootstrap", "--data-dir", data.to_str().unwrap()]).await.badly().text();
        assert!(text.contains("no database exists at"), "{text}");
        assert_eq!(data.exists(), made);
    }
    assert!(contents(&data).is_empty(), "nothing is made");
}

async fn bootstrap_begins_no_authority_in_an_empty_database(database: Database) {
    let mut authority = Setup::on(database).prepare().await;
    let text = authority.subcommand(&["bootstrap"], &[]).await.badly().text();
    assert!(text.contains("contains no authority"), "{text}");
    // Where the schema is there, it makes the first root key.
    authority.subcommand(&["migrate"], &[]).await.well();
    let token = authority.subcommand(&["bootstrap"], &[]).await.well().stdout;
    authority.restart().await;
    let client = authority.client_with(token.trim());
    client.get_authority_status(GetAuthorityStatusRequest {}).await.unwrap();
}

async fn a_first_start_that_was_interrupted_is_completed(database: Database) {
    // It fails after the secret is made.
    let mut authority = Setup::on(database).prepare().await;
    let mut command = authority.serve_command();
    command.arg("--no-migrate");
    crate::support::process::run(command).await.badly();
    assert!(authority.secret_file().exists() && database_of(&authority).exists());
    authority.restart().await;
    // The schema was made first.
    let mut authority = Setup::on(database).prepare().await;
    authority.subcommand(&["migrate"], &[]).await.well();
    authority.restart().await;
}

async fn a_secret_that_an_operator_puts_in_place_first_is_used(database: Database) {
    let mut authority = Setup::on(database).prepare().await;
    let secret = subcommand(["generate-secret"]).await.well().stdout;
    fs::write(authority.secret_file(), &secret).unwrap();
    authority.subcommand(&["check-config"], &[]).await.well();
    authority.restart().await;
    assert_eq!(fs::read_to_string(authority.secret_file()).unwrap(), secret);
}

/// The authority begins with the first root key, whoever makes it.
async fn an_authority_that_bootstrap_began_is_not_begun_again(_: Database) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let secret = folder.path().join("secret");
    fs::write(&secret, subcommand(["generate-secret"]).await.well().stdout).unwrap();
    let url = format!("sqlite://{}", path.display());
    let flags = ["--database-url", &url, "--secret-file", secret.to_str().unwrap()];
    for words in ["migrate", "bootstrap"] {
        subcommand([&[words][..], &flags].concat()).await.well();
    }
    fs::remove_file(&path).unwrap();
    for words in [&["serve", "--listen", "127.0.0.1:0"][..], &["migrate"]] {
        let text = subcommand([words, &flags].concat()).await.badly().text();
        assert!(text.contains("is missing, but"), "{text}");
    }
    assert!(!path.exists());
}

on_sqlite! {
    a_secret_that_an_operator_puts_in_place_first_is_used,
    an_authority_that_bootstrap_began_is_not_begun_again,
    no_authority_begins_where_another_one_was,
    a_secret_that_is_gone_is_not_made_anew,
    bootstrap_begins_no_authority,
    a_first_start_that_was_interrupted_is_completed,
}

mod servers {
    use super::*;
    on_database_servers! { bootstrap_begins_no_authority_in_an_empty_database }
}
