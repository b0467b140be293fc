//! What `backup` and `restore` find and leave: other files, modes, outputs that cannot be written.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use key_authority_proto::v1::*;

use super::{beside, checkpointed, contents, database_of, python};
use crate::support::process::{Ended, program_under, run};
use crate::support::{Authority, Database, Setup, on_sqlite};

/// A server that is stopped, and a backup of it.
async fn backed_up(database: Database) -> (Authority, String) {
    let mut authority = Setup::on(database).start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let file = authority.folder().join("copy").display().to_string();
    authority.subcommand(&["backup", &file], &[]).await.well();
    assert!(authority.stop().await.success());
    (authority, file)
}

async fn a_backup_touches_no_file_that_it_has_not_made(database: Database) {
    let (authority, file) = backed_up(database).await;
    fs::remove_file(&file).unwrap();
    for ending in ["-wal", "-journal", "-shm", ".partial", ".partial-wal"] {
        let other = format!("{file}{ending}");
        fs::write(&other, "of another program").unwrap();
        let text = authority.subcommand(&["backup", &file], &[]).await.badly().text();
        assert!(text.contains(&format!("{other} exists already")), "{text}");
        assert_eq!(fs::read_to_string(&other).unwrap(), "of another program");
        assert!(!Path::new(&file).exists());
        fs::remove_file(&other).unwrap();
    }
    authority.subcommand(&["backup", &file], &[]).await.well();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let of_copy = |path: &&std::path::PathBuf| path.to_string_lossy().starts_with(&file);
    assert_eq!(contents(authority.folder()).keys().filter(of_copy).count(), 1);
}

async fn a_restored_file_belongs_to_its_owner_alone(database: Database) {
    let (mut authority, file) = backed_up(database).await;
    for mode in [0o444, 0o644] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        authority.subcommand(&["restore", &file], &[]).await.well();
        let restored = fs::metadata(database_of(&authority)).unwrap();
        assert_eq!(restored.permissions().mode() & 0o777, 0o600, "{mode:o}");
    }
    authority.restart().await;
    authority.client().new_account("later", KeyPolicy::default()).await;
}

async fn a_log_beside_a_backup_is_applied_only_if_it_belongs_to_it(database: Database) {
    let (mut authority, file) = backed_up(database).await;
    authority.restart().await;
    checkpointed(&authority).await;
    authority.client().new_account("later", KeyPolicy::default()).await;
    authority.kill().await;
    // A volume as it was when the power failed.
    let snapshot = tempfile::tempdir().unwrap();
    let path = database_of(&authority);
    for (from, content) in contents(authority.folder()) {
        fs::write(snapshot.path().join(from.file_name().unwrap()), content).unwrap();
    }
    let before = fs::read(&path).unwrap();
    fs::copy(beside(&path, "-wal"), format!("{file}-wal")).unwrap();
    let text = authority.subcommand(&["restore", &file], &[]).await.badly().text();
    assert!(text.contains("-wal may not belong to the backup"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), before);
    let whole = snapshot.path().join("key-authority.db").display().to_string();
    authority.subcommand(&["restore", &whole], &[]).await.well();
    authority.restart().await;
    authority.client().get_account(GetAccountRequest { account: "later".into() }).await.unwrap();
}

async fn a_backup_of_a_newer_build_or_another_authority_is_refused(database: Database) {
    let (authority, file) = backed_up(database).await;
    let newer = "db.execute(\"INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_future', 0)\")";
    python(newer, Path::new(&file), Path::new(&file));
    let before = fs::read(database_of(&authority)).unwrap();
    let text = authority.subcommand(&["restore", &file], &[]).await.badly().text();
    assert!(text.contains("the unknown migration m9999_future"), "{text}");
    assert_eq!(fs::read(database_of(&authority)).unwrap(), before);
}

/// At every moment, one set of names is complete, and a repetition succeeds.
async fn a_restoration_that_was_interrupted_is_repeated(database: Database) {
    let (mut authority, file) = backed_up(database).await;
    authority.restart().await;
    checkpointed(&authority).await;
    authority.client().new_account("later", KeyPolicy::default()).await;
    authority.kill().await;
    let path = database_of(&authority);
    // The names are there, and then also the new file.
    for ending in ["", "-wal"] {
        fs::hard_link(beside(&path, ending), beside(&beside(&path, ".replaced-1"), ending)).unwrap();
    }
    let text = super::refusal(&authority).await.text();
    assert!(text.contains("has 2 names"), "{text}");
    fs::copy(&file, beside(&path, ".new")).unwrap();
    fs::rename(beside(&path, ".new"), &path).unwrap();
    let text = super::refusal(&authority).await.text();
    assert!(text.contains("-wal does not belong to the SQLite file"), "{text}");
    authority.subcommand(&["restore", &file], &[]).await.well();
    assert!(!beside(&path, "-wal").exists());
    assert!(beside(&path, ".replaced-1-wal").exists() && beside(&path, ".replaced-2").exists());
    authority.restart().await;
    let later = authority.client().get_account(GetAccountRequest { account: "later".into() }).await;
    assert_eq!(later.unwrap_err().code(), tonic::Code::NotFound);
}

/// Runs a subcommand with a redirection of the shell, such as `>&-`.
async fn redirected(authority: &Authority, words: &[&str], redirection: &str) -> Ended {
    let wrapper = ["sh", "-c", &format!("exec \"$@\" {redirection}"), "sh"].map(str::to_owned);
    let mut command = program_under(&wrapper);
    command.args(words).args(authority.storage_flags()).stdin(Stdio::null());
    run(command).await
}

async fn a_result_that_cannot_be_printed_is_not_lost(database: Database) {
    let (mut authority, file) = backed_up(database).await;
    let count = || authority.database().sql("SELECT count(*) FROM api_key");
    let before = count();
    let text = redirected(&authority, &["bootstrap"], ">&-").await.badly().text();
    assert!(text.contains("standard output is closed") && text.contains("no key was created"), "{text}");
    assert_eq!(count(), before);
    let text = redirected(&authority, &["bootstrap"], ">/dev/full").await.badly().text();
    let id = authority.database().sql("SELECT id FROM api_key ORDER BY create_revision DESC LIMIT 1");
    assert!(text.contains(&format!("the root key {id} was created, but its token is lost")), "{text}");
    fs::remove_file(&file).unwrap();
    for (words, done) in
        [(["backup", &file], "a backup up to revision"), (["restore", &file], "restored up to revision")]
    {
        let text = redirected(&authority, &words, ">/dev/full").await.badly().text();
        assert!(text.contains(done) && text.contains("cannot write to standard output"), "{text}");
    }
    authority.restart().await;
}

on_sqlite! {
    a_backup_touches_no_file_that_it_has_not_made,
    a_restored_file_belongs_to_its_owner_alone,
    a_log_beside_a_backup_is_applied_only_if_it_belongs_to_it,
    a_backup_of_a_newer_build_or_another_authority_is_refused,
    a_restoration_that_was_interrupted_is_repeated,
    a_result_that_cannot_be_printed_is_not_lost,
}
