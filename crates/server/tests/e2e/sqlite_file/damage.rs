//! A file that cannot be read is reported with its cause, and soon.

use std::fs;
use std::os::unix::fs::FileExt as _;

use key_authority_proto::v1::*;

use super::{database_of, refusal};
use crate::support::{Database, Setup, on_sqlite};

async fn a_damaged_file_ends_the_start_with_the_cause(database: Database) {
    let mut authority = Setup::on(database).log("info").start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let key = authority.client().key_in("acme").await;
    assert!(authority.stop().await.success());
    let path = database_of(&authority);
    let right = fs::read(&path).unwrap();
    let pages = right.len() / 4096;
    let mut damages = vec![
        (
            b"not a database at all, but some other text that is longer than the header of one".repeat(3),
            "is not an SQLite",
        ),
        (right[..right.len() - 4096].to_vec(), "is cut off"),
        (right[..60].to_vec(), "is not an SQLite"),
    ];
    // Every page but the header, one by one or all together, is not what it should be.
    let all = (1..pages).map(|page| (page, page + 1)).chain(std::iter::once((1, pages)));
    for (first, end) in all {
        let mut bytes = right.clone();
        bytes[first * 4096..end * 4096].fill(0x55);
        damages.push((bytes, "damaged"));
    }
    for (content, words) in damages {
        fs::write(&path, &content).unwrap();
        // As a restored file, it is checked before it is served.
        fs::write(super::beside(&path, ".serving"), "").unwrap();
        let text = refusal(&authority).await.text();
        assert!(text.contains(words) && text.contains("restore"), "{text}");
        let _ = fs::remove_file(super::beside(&path, "-wal"));
        let _ = fs::remove_file(super::beside(&path, "-shm"));
    }
    fs::write(&path, &right).unwrap();
    authority.restart().await;
    assert_eq!(authority.client().verdict(&key.token).await, Verdict::Valid);
}

/// The file is the one that the server wrote, but the disk has lost pages of it.
async fn a_file_that_the_disk_has_damaged_ends_the_start_with_the_cause(database: Database) {
    let mut authority = Setup::on(database).log("info").start().await;
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    for _ in 0..20 {
        client.key_in("acme").await;
    }
    assert!(authority.stop().await.success());
    let path = database_of(&authority);
    let root = authority.database().sql("SELECT rootpage FROM sqlite_master WHERE name = 'api_key'");
    let page: u64 = root.parse().unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[0x55; 4096], (page - 1) * 4096).unwrap();
    let text = refusal(&authority).await.text();
    assert!(text.contains("the SQLite file is damaged") && text.contains("restore a backup"), "{text}");
}

async fn a_folder_in_place_of_the_file_is_named(database: Database) {
    let authority = Setup::on(database).prepare().await;
    fs::create_dir(database_of(&authority)).unwrap();
    let text = refusal(&authority).await.text();
    assert!(text.contains("is not a regular file"), "{text}");
    assert!(!super::beside(&database_of(&authority), ".serving").exists(), "nothing is made");
}

on_sqlite! {
    a_damaged_file_ends_the_start_with_the_cause,
    a_file_that_the_disk_has_damaged_ends_the_start_with_the_cause,
    a_folder_in_place_of_the_file_is_named,
}
