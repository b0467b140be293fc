//! The output of `backup` and `restore`, and the files that they do not change.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use key_authority_proto::v1::*;

use super::{beside, contents, database_of};
use crate::support::process::{program_under, run};
use crate::support::{Database, Setup, on_sqlite};

async fn a_restoration_tells_which_changes_are_lost(database: Database) {
    let mut authority = Setup::on(database).start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let [early, late] = ["early", "late"].map(|name| authority.folder().join(name).display().to_string());
    authority.subcommand(&["backup", &early], &[]).await.well();
    for _ in 0..3 {
        authority.client().key_in("acme").await;
    }
    authority.subcommand(&["backup", &late], &[]).await.well();
    // The last changes are in the -wal.
    authority.kill().await;
    let said = authority.subcommand(&["restore", &early], &[]).await.well().stdout;
    assert!(said.contains("\nits revisions 3 to 5 are lost; the last one is of 20"), "{said}");

    // The later backup has other changes with the same revisions.
    authority.restart().await;
    authority.client().key_in("acme").await;
    assert!(authority.stop().await.success());
    let said = authority.subcommand(&["restore", &late], &[]).await.well().stdout;
    assert!(said.contains("up to revision 5") && said.contains("\nits revision 3 is lost; it is of 20"), "{said}");
    let said = authority.subcommand(&["restore", &late], &[]).await.well().stdout;
    assert!(said.contains("\nall of its changes are in the backup") && !said.contains("lost"), "{said}");
    assert!(!said.contains("valid again"), "{said}");
    let names: Vec<_> = contents(authority.folder()).into_keys().map(|path| path.display().to_string()).collect();
    assert!(!names.iter().any(|name| name.ends_with("-shm")), "{names:?}");

    fs::write(database_of(&authority), "no database").unwrap();
    let said = authority.subcommand(&["restore", &late], &[]).await.well().stdout;
    assert!(said.contains("it cannot be read") && said.contains("valid again"), "{said}");
    authority.restart().await;
    authority.subcommand(&["audit", "verify"], &[]).await.well();
}

/// It needs the privileges of root.
async fn a_restoration_by_root_leaves_the_files_to_the_user_of_the_server(database: Database) {
    const USER: u32 = 65_534;
    let mut authority = Setup::on(database).start().await;
    let backup = authority.folder().join("backup").display().to_string();
    authority.subcommand(&["backup", &backup], &[]).await.well();
    assert!(authority.stop().await.success());
    let path = database_of(&authority);
    let lock = beside(&path, ".serving");
    chown(&path, Some(USER), Some(USER)).unwrap();
    authority.subcommand(&["restore", &backup], &[]).await.well();
    assert_eq!(fs::metadata(&path).unwrap().uid(), USER);
    // Without a database, the folder shows whose files they are.
    for file in [&path, &lock] {
        fs::remove_file(file).unwrap();
    }
    chown(authority.folder(), Some(USER), Some(USER)).unwrap();
    authority.subcommand(&["restore", &backup], &[]).await.well();
    for file in [&path, &lock] {
        assert_eq!(fs::metadata(file).unwrap().uid(), USER, "{}", file.display());
    }
    // A user who is neither root nor the owner cannot give files away.
    chown(&path, Some(0), Some(0)).unwrap();
    // Linux lets nobody link a file of another user without access to it.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    for name in ["backup", "authority.secret", "key-authority.db.serving"] {
        chown(authority.folder().join(name), Some(USER), Some(USER)).unwrap();
    }
    let mut command = program_under(&["setpriv", "--reuid", "65534", "--clear-groups"].map(str::to_owned));
    command.args(["restore", &backup]).args(authority.storage_flags());
    let said = run(command).await.well().stdout;
    assert!(said.contains("the file belonged to user ID 0, and now belongs to you"), "{said}");
}

async fn what_is_no_file_is_not_restored(database: Database) {
    let mut authority = Setup::on(database).start().await;
    assert!(authority.stop().await.success());
    let before = contents(authority.folder());
    let pipe = authority.folder().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    for path in [pipe.to_str().unwrap(), "/dev/zero", "/"] {
        let text = authority.subcommand(&["restore", path], &[]).await.badly().text();
        assert!(text.contains(&format!("the backup {path} is not a regular file")), "{text}");
    }
    assert_eq!(contents(authority.folder()), before);
}

async fn of_two_backups_to_one_file_one_is_made(database: Database) {
    let authority = Setup::on(database).start().await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("backup").display().to_string();
    let words = ["backup", to.as_str()];
    let (one, other) = tokio::join!(authority.subcommand(&words, &[]), authority.subcommand(&words, &[]));
    let ended = if one.status.success() { [one, other] } else { [other, one] };
    let [made, refused] = ended;
    made.well();
    let text = refused.badly().text();
    assert!(text.contains("exists already; choose another name"), "{text}");
    assert_eq!(contents(folder.path()).len(), 1);
}

on_sqlite! {
    a_restoration_tells_which_changes_are_lost,
    a_restoration_by_root_leaves_the_files_to_the_user_of_the_server,
    what_is_no_file_is_not_restored,
    of_two_backups_to_one_file_one_is_made,
}
