//! A file with several names has one server, which finds all of its data.

use std::fs;
use std::path::Path;

use key_authority_proto::v1::*;

use super::{beside, database_of};
use crate::support::process::{Ended, program, run};
use crate::support::{Authority, Database, Setup, on_sqlite};

/// What a second server says that is given another name of the file.
async fn second_server(authority: &Authority, path: &Path) -> Ended {
    let mut command = program();
    command.args(["serve", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
    command.args(["--database-url", &format!("sqlite://{}", path.display())]);
    command.arg("--secret-file").arg(authority.secret_file());
    run(command).await.badly()
}

async fn a_second_server_is_refused_under_every_name_of_the_file(database: Database) {
    let mut authority = Setup::on(database).start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let key = authority.client().key_in("acme").await;
    let (path, folder) = (database_of(&authority), tempfile::tempdir().unwrap());
    let taken = "another key-authority serves this SQLite database";
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for name in [&path, &link] {
        let text = second_server(&authority, name).await.text();
        assert!(text.contains(taken), "{text}");
    }
    let hard = folder.path().join("hard.db");
    fs::hard_link(&path, &hard).unwrap();
    let text = second_server(&authority, &hard).await.text();
    assert!(text.contains("has 2 names (hard links)"), "{text}");
    fs::remove_file(&hard).unwrap();
    assert_eq!(authority.client().verdict(&key.token).await, Verdict::Valid, "the first one goes on");

    // Under its new name, the file has no -wal.
    let renamed = authority.folder().join("renamed.db");
    fs::rename(&path, &renamed).unwrap();
    assert_eq!(authority.wait().await.code(), Some(1));
    assert!(authority.output().contains("was removed while the server runs"));
    fs::rename(&renamed, &path).unwrap();
    authority.restart().await;
    assert_eq!(authority.client().verdict(&key.token).await, Verdict::Valid);
}

async fn a_file_with_several_names_is_not_served_at_all(database: Database) {
    let mut authority = Setup::on(database).start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let key = authority.client().key_in("acme").await;
    authority.kill().await;
    // By the other name, the server would start without the -wal.
    let (path, folder) = (database_of(&authority), tempfile::tempdir().unwrap());
    let hard = folder.path().join("key-authority.db");
    fs::hard_link(&path, &hard).unwrap();
    for name in [&path, &hard] {
        let text = second_server(&authority, name).await.text();
        assert!(text.contains("has 2 names (hard links)"), "{text}");
    }
    fs::remove_file(&hard).unwrap();
    assert!(!beside(&hard, "-wal").exists());
    authority.restart().await;
    assert_eq!(authority.client().verdict(&key.token).await, Verdict::Valid);
}

async fn a_symbolic_link_leads_to_the_file_and_its_wal(database: Database) {
    let mut authority = Setup::on(database).start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let key = authority.client().key_in("acme").await;
    authority.kill().await;
    let (path, store) = (database_of(&authority), tempfile::tempdir().unwrap());
    for ending in ["", "-wal", "-shm", ".serving"] {
        fs::rename(beside(&path, ending), beside(&store.path().join("real.db"), ending)).unwrap();
    }
    std::os::unix::fs::symlink(store.path().join("real.db"), &path).unwrap();
    authority.restart().await;
    assert_eq!(authority.client().verdict(&key.token).await, Verdict::Valid);
    assert!(authority.stop().await.success());
    // The volume that the link leads to is gone.
    fs::remove_dir_all(store.path()).unwrap();
    let text = super::refusal(&authority).await.text();
    assert!(text.contains("key-authority.db") && text.contains("No such file"), "{text}");
    assert!(!store.path().exists(), "nothing is made");
}

/// Mounts the file alone in another folder, as `-v ./key-authority.db:/data/key-authority.db` does, in a mount namespace
/// of the test's own. It needs the privileges of root.
async fn a_file_that_is_mounted_without_its_folder_is_refused(database: Database) {
    let mut authority = Setup::on(database).start().await;
    assert!(authority.stop().await.success());
    let folder = tempfile::tempdir().unwrap();
    for name in ["authority.secret", "root.token"] {
        fs::copy(authority.folder().join(name), folder.path().join(name)).unwrap();
    }
    let mounted = folder.path().join("key-authority.db");
    fs::write(&mounted, "").unwrap();
    let script = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
    let mut command = tokio::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(database_of(&authority)).arg(&mounted);
    command.args([env!("CARGO_BIN_EXE_key-authority"), "serve", "--listen", "127.0.0.1:0", "--http-listen"]);
    command.args(["127.0.0.1:0", "--api-listen", ""]).arg("--data-dir").arg(folder.path());
    let text = run(command).await.badly().text();
    assert!(text.contains("is mounted without its folder"), "{text}");
}

on_sqlite! {
    a_file_that_is_mounted_without_its_folder_is_refused,
    a_second_server_is_refused_under_every_name_of_the_file,
    a_file_with_several_names_is_not_served_at_all,
    a_symbolic_link_leads_to_the_file_and_its_wal,
}
