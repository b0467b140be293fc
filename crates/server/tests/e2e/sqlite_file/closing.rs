//! The end of a server, in order or not: the file and its `-wal` belong to each other afterwards.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use key_authority_proto::v1::*;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::{beside, checkpointed, database_of, python};
use crate::support::process::run;
use crate::support::{Authority, Database, NewKey, Setup, eventually, on_sqlite};

/// A server that was killed, and a key that it revoked last.
async fn killed_after_a_revocation(database: Database) -> (Authority, NewKey) {
    let mut authority = Setup::on(database).log("info").start().await;
    checkpointed(&authority).await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let key = authority.client().key_in("acme").await;
    authority.client().revoke(&key.id()).await;
    authority.kill().await;
    (authority, key)
}

async fn assert_revoked(authority: &mut Authority, key: &NewKey) {
    authority.restart().await;
    assert_eq!(authority.client().verdict(&key.token).await, Verdict::Revoked);
    authority.subcommand(&["audit", "verify"], &[]).await.well();
}

/// The connections of a process that fails are closed by threads which it does not wait for.
async fn a_start_that_fails_leaves_the_file_and_its_wal_as_they_are(database: Database) {
    let (mut authority, key) = killed_after_a_revocation(database).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for _ in 0..40 {
        let mut command = crate::support::process::program();
        command.arg("serve").args(authority.storage_flags());
        command.args(["--listen", &address, "--http-listen", "127.0.0.1:0", "--api-listen", ""]);
        let text = run(command).await.badly().text();
        assert!(text.contains("cannot bind --listen"), "{text}");
        assert!(fs::metadata(beside(&database_of(&authority), "-wal")).unwrap().len() > 0);
    }
    assert_revoked(&mut authority, &key).await;
}

async fn subcommands_leave_the_wal_of_a_killed_server_as_it_is(database: Database) {
    let (mut authority, key) = killed_after_a_revocation(database).await;
    let spare = authority.folder().join("spare").display().to_string();
    let wal = beside(&database_of(&authority), "-wal");
    let before = (fs::read(database_of(&authority)).unwrap(), fs::read(&wal).unwrap());
    for words in [&["audit", "verify"][..], &["backup", &spare]] {
        authority.subcommand(words, &[]).await.well();
        assert!((fs::read(database_of(&authority)).unwrap(), fs::read(&wal).unwrap()) == before, "{words:?}");
    }
    authority.subcommand(&["bootstrap"], &[]).await.well();
    assert!(!wal.exists(), "what changes the file closes it in order");
    assert_revoked(&mut authority, &key).await;
}

async fn after_a_shutdown_the_file_has_everything(database: Database) {
    let mut authority = Setup::on(database).start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let key = authority.client().key_in("acme").await;
    assert!(authority.stop().await.success());
    let path = database_of(&authority);
    assert!(!beside(&path, "-wal").exists());
    assert!(fs::read_to_string(beside(&path, ".serving")).unwrap().contains(" closed "));
    authority.restart().await;
    assert_eq!(authority.client().verdict(&key.token).await, Verdict::Valid);
    // Another program reads: the -wal cannot be removed, and the next start finds it.
    checkpointed(&authority).await;
    let reader = authority.database().open_transaction();
    reader.execute("SELECT 1 FROM account WHERE id = ''");
    authority.client().revoke(&key.id()).await;
    assert!(authority.stop().await.success());
    assert!(fs::metadata(beside(&path, "-wal")).unwrap().len() > 0);
    drop(reader);
    authority.restart().await;
    assert_eq!(authority.client().verdict(&key.token).await, Verdict::Revoked);
}

async fn a_wal_that_has_grown_is_copied_once(database: Database) {
    let authority = Setup::on(database).start().await;
    let first = checkpointed(&authority).await;
    let path = database_of(&authority);
    let fill = "db.execute('CREATE TABLE filler AS SELECT randomblob(6000000) AS x'); db.execute('DROP TABLE filler')";
    python(fill, &path, &path);
    assert!(fs::metadata(beside(&path, "-wal")).unwrap().len() > 4 << 20);
    let changed = async || Some(checkpointed(&authority).await).filter(|mark| *mark != first);
    let second = eventually("a checkpoint", changed).await;
    // The server looks at the file every second. That a look changes nothing is no event, so this waits for three.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(checkpointed(&authority).await, second);
}

/// A subcommand that looks at the file has its lock for a moment.
async fn a_start_waits_a_moment_for_a_subcommand(database: Database) {
    let mut authority = Setup::on(database).start().await;
    assert!(authority.stop().await.success());
    let path = beside(&database_of(&authority), ".serving");
    let lock = fs::File::open(&path).unwrap();
    lock.lock_shared().unwrap();
    let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, &path, WatchFlags::CLOSE).unwrap();
    let mut server = authority.serve_command();
    let mut server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    tokio::select! {
        ended = server.wait() => panic!("it does not wait: {ended:?}"),
        // It closes the file that it cannot lock, until it tries again.
        _ = eventually("the server tries", async || rustix::io::read(&watch, &mut [0; 1024]).ok()) => drop(lock),
    }
    let is_served = async || {
        let mark = fs::read_to_string(&path).unwrap();
        (!mark.contains(" closed ")).then_some(())
    };
    eventually("it starts", is_served).await;
}

on_sqlite! {
    a_start_that_fails_leaves_the_file_and_its_wal_as_they_are,
    subcommands_leave_the_wal_of_a_killed_server_as_it_is,
    after_a_shutdown_the_file_has_everything,
    a_wal_that_has_grown_is_copied_once,
    a_start_waits_a_moment_for_a_subcommand,
}
