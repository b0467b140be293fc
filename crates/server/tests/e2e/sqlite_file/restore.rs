//! Backups, made in each way, and restored in each way.

use std::fs;
use std::path::{Path, PathBuf};

use key_authority_proto::v1::*;

use super::{beside, checkpointed, contents, database_of, python, refusal};
use crate::support::{Authority, Database, NewKey, Setup, eventually, on_sqlite};

/// What the server logs about a file that it does not recognise.
const ELSEWHERE: &str = "may not be the one that this server wrote last";

/// A way to make a copy of the database.
#[derive(Debug, Clone, Copy)]
enum Copy {
    /// SQLite's backup API, as `.backup` of its shell uses it.
    Backup,
    VacuumInto,
    /// The file of a server that is stopped.
    Stopped,
    /// `key-authority backup`.
    Subcommand,
}

/// A key from before the copy that is revoked after it, and one from after it.
struct Keys {
    revoked: NewKey,
    later: NewKey,
}

/// Makes a copy, goes on, and ends as in a power cut: the `-wal` stays.
async fn copied_and_killed(authority: &mut Authority, copy: Copy) -> (PathBuf, Keys) {
    checkpointed(authority).await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let revoked = authority.client().key_in("acme").await;
    let (database, file) = (database_of(authority), authority.folder().join("copy"));
    match copy {
        Copy::Backup => python("db.backup(sqlite3.connect(to))", &database, &file),
        Copy::VacuumInto => python("db.execute('VACUUM INTO ?', [to])", &database, &file),
        Copy::Stopped => {
            assert!(authority.stop().await.success());
            fs::copy(&database, &file).unwrap();
            authority.restart().await;
            checkpointed(authority).await;
        }
        Copy::Subcommand => {
            let said = authority.subcommand(&["backup", file.to_str().unwrap()], &[]).await.well().stdout;
            assert!(said.contains("a backup up to revision 3, head 3:"), "{said}");
        }
    }
    authority.client().revoke(&revoked.id()).await;
    let later = authority.client().key_in("acme").await;
    authority.kill().await;
    assert!(fs::metadata(beside(&database, "-wal")).unwrap().len() > 0, "changes are in the -wal");
    (file, Keys { revoked, later })
}

async fn assert_restored(authority: &mut Authority, keys: &Keys) {
    authority.restart().await;
    let client = authority.client();
    assert_eq!(client.verdict(&keys.revoked.token).await, Verdict::Valid, "as in the copy");
    assert_eq!(client.verdict(&keys.later.token).await, Verdict::Unknown, "it is not in the copy");
    client.revoke(&keys.revoked.id()).await;
    checkpointed(authority).await;
    authority.kill().await;
    authority.restart().await;
    assert_eq!(authority.client().verdict(&keys.revoked.token).await, Verdict::Revoked);
    authority.subcommand(&["audit", "verify"], &[]).await.well();
}

/// The server does not start on a copy beside a foreign `-wal`, no subcommand touches it, and `restore` does it right.
async fn a_copy_beside_a_leftover_wal(copy: Copy) {
    let mut authority = Setup::on(Database::Sqlite).start().await;
    let (file, keys) = copied_and_killed(&mut authority, copy).await;
    let database = database_of(&authority);
    fs::copy(&file, &database).unwrap();
    let before = contents(authority.folder());
    let spare = authority.folder().join("spare").display().to_string();
    let mut refusals = vec![refusal(&authority).await.text()];
    for words in [&["audit", "verify"][..], &["bootstrap"], &["migrate"], &["backup", &spare]] {
        refusals.push(authority.subcommand(words, &[]).await.badly().text());
    }
    for text in refusals {
        assert!(text.contains("-wal does not belong to the SQLite file"), "{copy:?}: {text}");
        assert!(text.contains("key-authority restore"), "{copy:?}: {text}");
    }
    assert_eq!(contents(authority.folder()), before, "{copy:?}: nothing is touched");

    let said = authority.subcommand(&["restore", file.to_str().unwrap()], &[]).await.well().stdout;
    assert!(said.contains("restored up to revision 3, head 3:"), "{said}");
    assert!(said.contains(&beside(&database, ".replaced-1").display().to_string()), "{said}");
    assert!(beside(&database, ".replaced-1-wal").exists(), "what was replaced is kept");
    assert_restored(&mut authority, &keys).await;
}

async fn a_backup_of_sqlite_beside_a_leftover_wal_is_refused(_: Database) {
    a_copy_beside_a_leftover_wal(Copy::Backup).await;
}

async fn a_vacuumed_copy_beside_a_leftover_wal_is_refused(_: Database) {
    a_copy_beside_a_leftover_wal(Copy::VacuumInto).await;
}

async fn a_copy_of_a_stopped_server_beside_a_leftover_wal_is_refused(_: Database) {
    a_copy_beside_a_leftover_wal(Copy::Stopped).await;
}

async fn a_backup_of_the_subcommand_beside_a_leftover_wal_is_refused(_: Database) {
    a_copy_beside_a_leftover_wal(Copy::Subcommand).await;
}

async fn a_copy_without_leftovers_is_checked_and_starts(database: Database) {
    for copy in [Copy::Backup, Copy::VacuumInto, Copy::Stopped, Copy::Subcommand] {
        let mut authority = Setup::on(database).start().await;
        let (file, keys) = copied_and_killed(&mut authority, copy).await;
        let path = database_of(&authority);
        fs::copy(&file, &path).unwrap();
        fs::remove_file(beside(&path, "-wal")).unwrap();
        // SQLite makes the `-shm` anew from the `-wal`.
        assert!(beside(&path, "-shm").exists());
        assert_restored(&mut authority, &keys).await;
        let output = authority.output();
        let warnings = output.lines().filter(|line| line.contains(ELSEWHERE));
        assert_eq!(warnings.count(), 1, "{copy:?}: at no other start");
    }
}

async fn a_backup_moves_to_an_empty_machine(database: Database) {
    let mut authority = Setup::on(database).start().await;
    let (file, keys) = copied_and_killed(&mut authority, Copy::Subcommand).await;
    let mut other = Setup::on(database).prepare().await;
    let restore = ["restore", file.to_str().unwrap()];
    let text = other.subcommand(&restore, &[]).await.badly().text();
    assert!(text.contains("authority.secret") && text.contains("restore it"), "{text}");
    assert!(contents(other.folder()).is_empty(), "nothing is made");
    for name in ["authority.secret", "root.token"] {
        fs::copy(authority.folder().join(name), other.folder().join(name)).unwrap();
    }
    let before = contents(other.folder());
    let damaged = authority.folder().join("damaged");
    fs::write(&damaged, "no backup").unwrap();
    other.subcommand(&["restore", damaged.to_str().unwrap()], &[]).await.badly();
    assert_eq!(contents(other.folder()), before, "nothing is left");
    other.subcommand(&restore, &[]).await.well();
    assert_restored(&mut other, &keys).await;
    let text = other.subcommand(&restore, &[]).await.badly().text();
    assert!(text.contains("another key-authority serves this SQLite database"), "{text}");
}

async fn a_backup_overwrites_nothing_and_a_wrong_one_replaces_nothing(database: Database) {
    let mut authority = Setup::on(database).start().await;
    let key = {
        authority.client().new_account("acme", KeyPolicy::default()).await;
        authority.client().key_in("acme").await
    };
    let file = authority.folder().join("copy");
    let backup = ["backup", file.to_str().unwrap()];
    authority.subcommand(&backup, &[]).await.well();
    let text = authority.subcommand(&backup, &[]).await.badly().text();
    assert!(text.contains("exists already"), "{text}");
    assert!(authority.stop().await.success());

    let bytes = fs::read(&file).unwrap();
    let before = fs::read(database_of(&authority)).unwrap();
    let restore = async |content: &[u8]| {
        fs::write(&file, content).unwrap();
        let text = authority.subcommand(&["restore", file.to_str().unwrap()], &[]).await.badly().text();
        assert_eq!(fs::read(database_of(&authority)).unwrap(), before, "{text}");
        text
    };
    let mut torn = bytes.clone();
    torn[8192..12_288].fill(0x55);
    for (content, words) in [
        (&bytes[..bytes.len() - 4096], "damaged"),
        (&torn[..], "damaged"),
        (b"no database", "damaged"),
        (b"", "contains no authority"),
    ] {
        let text = restore(content).await;
        assert!(text.contains(words) && text.contains("nothing was changed; use another backup"), "{words}: {text}");
        assert!(!text.contains(".restoring"), "{text}");
    }
    // One of another authority.
    let mut other = Setup::on(database).start().await;
    assert!(other.stop().await.success());
    let text = restore(&fs::read(database_of(&other)).unwrap()).await;
    assert!(text.contains("the authority secret does not match"), "{text}");
    authority.restart().await;
    assert_eq!(authority.client().verdict(&key.token).await, Verdict::Valid);
}

async fn files_of_different_moments_are_refused(database: Database) {
    let mut authority = Setup::on(database).start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let path = database_of(&authority);
    // A copy of the file alone, while the server runs.
    let early = authority.folder().join("early");
    fs::copy(&path, &early).unwrap();
    assert!(authority.stop().await.success());
    authority.restart().await;
    checkpointed(&authority).await;
    let key = authority.client().key_in("acme").await;
    authority.kill().await;
    let right = fs::read(&path).unwrap();
    fs::copy(&early, &path).unwrap();
    let text = refusal(&authority).await.text();
    assert!(text.contains("-wal does not belong to the SQLite file"), "{text}");
    // A leftover of another journal mode.
    fs::write(&path, right).unwrap();
    fs::write(beside(&path, "-journal"), [0x55; 512]).unwrap();
    let text = refusal(&authority).await.text();
    assert!(text.contains("-journal does not belong to the SQLite file"), "{text}");
    fs::remove_file(beside(&path, "-journal")).unwrap();
    authority.restart().await;
    assert_eq!(authority.client().verdict(&key.token).await, Verdict::Valid);
}

async fn a_wal_that_is_lost_is_refused(database: Database) {
    let mut authority = Setup::on(database).start().await;
    checkpointed(&authority).await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    authority.kill().await;
    let (path, away) = (database_of(&authority), authority.folder().join("away"));
    fs::rename(beside(&path, "-wal"), &away).unwrap();
    fs::remove_file(beside(&path, "-shm")).unwrap();
    for text in [
        refusal(&authority).await.text(),
        authority.subcommand(&["audit", "verify"], &[]).await.badly().text(),
        authority.subcommand(&["bootstrap"], &[]).await.badly().text(),
    ] {
        assert!(text.contains("-wal is missing, and with it the last changes, revocations among them"), "{text}");
    }
    fs::rename(&away, beside(&path, "-wal")).unwrap();
    authority.restart().await;
    authority.client().get_account(GetAccountRequest { account: "acme".into() }).await.unwrap();
    // Without it, on the word of an operator.
    checkpointed(&authority).await;
    authority.kill().await;
    for ending in ["-wal", "-shm", ".serving"] {
        fs::remove_file(beside(&path, ending)).unwrap();
    }
    authority.restart().await;
    assert!(authority.output().contains(ELSEWHERE));
}

async fn a_folder_that_moves_after_a_crash_starts_as_it_was(database: Database) {
    let mut authority = Setup::on(database).start().await;
    checkpointed(&authority).await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let key = authority.client().key_in("acme").await;
    authority.kill().await;
    let mut other = Setup::on(database).prepare().await;
    for (from, content) in contents(authority.folder()) {
        fs::write(other.folder().join(from.file_name().unwrap()), content).unwrap();
    }
    other.restart().await;
    assert_eq!(other.client().verdict(&key.token).await, Verdict::Valid);
    assert!(!other.output().contains(ELSEWHERE));
}

/// Replaces the database under a running server, which notices and ends without writing into the other file.
async fn replaced_while_it_runs(what: &str, replace: impl FnOnce(&Path, &Path)) {
    let mut authority = Setup::on(Database::Sqlite).start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let revoked = authority.client().key_in("acme").await;
    let (path, file) = (database_of(&authority), authority.folder().join("copy"));
    authority.subcommand(&["backup", file.to_str().unwrap()], &[]).await.well();
    authority.client().revoke(&revoked.id()).await;
    let later = authority.client().key_in("acme").await;
    // From another run, as any backup that is older than a minute is.
    assert!(authority.stop().await.success());
    authority.restart().await;
    checkpointed(&authority).await;
    let _ = authority.client().key_in("acme").await;
    replace(&file, &path);
    assert_eq!(authority.wait().await.code(), Some(1), "{what}");
    let output = authority.output();
    assert!(output.contains(&format!("was {what} while the server runs")), "{output}");
    let text = refusal(&authority).await.text();
    assert!(text.contains("key-authority restore"), "{text}");
    authority.subcommand(&["restore", file.to_str().unwrap()], &[]).await.well();
    assert_restored(&mut authority, &Keys { revoked, later }).await;
}

async fn a_file_that_is_replaced_under_a_server_ends_it(_: Database) {
    replaced_while_it_runs("replaced", |file, path| {
        let beside = beside(path, ".new");
        fs::copy(file, &beside).unwrap();
        fs::rename(&beside, path).unwrap();
    })
    .await;
    replaced_while_it_runs("overwritten", |file, path| {
        fs::copy(file, path).unwrap();
    })
    .await;
    replaced_while_it_runs("removed", |_, path| fs::remove_file(path).unwrap()).await;
}

/// Another program may work on the file, even if it makes a checkpoint.
async fn a_checkpoint_of_another_program_harms_nothing(database: Database) {
    let mut authority = Setup::on(database).start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let path = database_of(&authority);
    let before = checkpointed(&authority).await;
    python("db.execute('ANALYZE'); db.execute('PRAGMA wal_checkpoint(TRUNCATE)')", &path, &path);
    eventually("the server makes a checkpoint", async || (checkpointed(&authority).await != before).then_some(()))
        .await;
    let key = authority.client().key_in("acme").await;
    authority.kill().await;
    authority.restart().await;
    assert_eq!(authority.client().verdict(&key.token).await, Verdict::Valid);
}

on_sqlite! {
    a_backup_of_sqlite_beside_a_leftover_wal_is_refused,
    a_vacuumed_copy_beside_a_leftover_wal_is_refused,
    a_copy_of_a_stopped_server_beside_a_leftover_wal_is_refused,
    a_backup_of_the_subcommand_beside_a_leftover_wal_is_refused,
    a_copy_without_leftovers_is_checked_and_starts,
    a_backup_moves_to_an_empty_machine,
    a_backup_overwrites_nothing_and_a_wrong_one_replaces_nothing,
    files_of_different_moments_are_refused,
    a_wal_that_is_lost_is_refused,
    a_folder_that_moves_after_a_crash_starts_as_it_was,
    a_file_that_is_replaced_under_a_server_ends_it,
    a_checkpoint_of_another_program_harms_nothing,
}
