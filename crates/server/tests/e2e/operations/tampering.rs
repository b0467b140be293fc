//! `audit verify` on a log that somebody altered behind the authority's back: each alteration is found, with its revision.

use key_authority_proto::v1::*;

use crate::support::client::key_for;
use crate::support::{Authority, on_every_database};

/// The revision that is tampered with, in the midst of the log.
const VICTIM: u64 = 5;

/// Fills the log, and stops the server.
async fn history(authority: &mut Authority) -> u64 {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    for _ in 0..8 {
        client.new_key(CreateKeyRequest { request_id: String::new(), ..key_for("acme") }).await;
    }
    let head = client.get_authority_status(GetAuthorityStatusRequest {}).await.unwrap().revision;
    assert!(authority.stop().await.success());
    head
}

/// Fails unless `audit verify` finds something wrong and names the revision.
async fn assert_found(authority: &Authority, what: &str, revision: u64) {
    let text = authority.subcommand(&["audit", "verify"], &[]).await.badly().text();
    let words: Vec<_> = text.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let is_named = words.windows(2).any(|pair| pair == ["revision", &revision.to_string()]);
    assert!(is_named, "{what}: revision {revision} is not named in:\n{text}");
}

async fn a_log_that_nobody_touched_verifies(mut authority: Authority) {
    let head = history(&mut authority).await;
    let text = authority.subcommand(&["audit", "verify"], &[]).await.well().text();
    assert!(text.contains(&head.to_string()), "it says how far it looked: {text}");
}

async fn an_altered_event_is_found(mut authority: Authority) {
    history(&mut authority).await;
    let database = authority.database();
    for (column, value) in [
        ("actor", "'somebody'"),
        ("subject", "'somebody'"),
        ("action", "2"),
        ("account", "'other'"),
        ("key_id", "'other'"),
        ("event_time", "event_time + 1"),
        ("after_json", "'{}'"),
        ("before_json", "'{}'"),
        ("request_id", "'other'"),
    ] {
        let kept = format!("CREATE TABLE kept AS SELECT * FROM audit_event WHERE revision = {VICTIM}");
        database.sql(&kept);
        database.sql(&format!("UPDATE audit_event SET {column} = {value} WHERE revision = {VICTIM}"));
        assert_found(&authority, column, VICTIM).await;
        database.sql(&format!(
            "DELETE FROM audit_event WHERE revision = {VICTIM}; INSERT INTO audit_event SELECT * FROM kept; DROP TABLE kept"
        ));
        authority.subcommand(&["audit", "verify"], &[]).await.well();
    }
}

async fn a_deleted_event_is_found(mut authority: Authority) {
    history(&mut authority).await;
    authority.database().sql(&format!("DELETE FROM audit_event WHERE revision = {VICTIM}"));
    assert_found(&authority, "one is missing", VICTIM).await;
}

async fn a_log_that_was_cut_short_is_found(mut authority: Authority) {
    let head = history(&mut authority).await;
    authority.database().sql(&format!("DELETE FROM audit_event WHERE revision = {head}"));
    assert_found(&authority, "the last is missing", head).await;
}

async fn a_log_cut_short_with_its_head_is_found_beside_the_head_that_was_kept(mut authority: Authority) {
    let head = history(&mut authority).await;
    let printed = authority.subcommand(&["audit", "verify"], &[]).await.well().stdout;
    let kept = printed.split_once("--kept-head ").expect("it prints the head").1.trim();
    authority.subcommand(&["audit", "verify"], &["--kept-head", kept]).await.well();
    authority.database().sql(&format!(
        "DELETE FROM audit_event WHERE revision = {head}; \
         UPDATE authority SET revision = revision - 1, \
         head_hash = (SELECT hash FROM audit_event ORDER BY revision DESC LIMIT 1)"
    ));
    authority.subcommand(&["audit", "verify"], &[]).await.well();
    let text = authority.subcommand(&["audit", "verify"], &["--kept-head", kept]).await.badly().text();
    assert!(text.contains(&format!("revision {head} does not match the expected hash")), "{text}");
    let nonsense = authority.subcommand(&["audit", "verify"], &["--kept-head", "the last one"]).await.badly();
    assert!(nonsense.stderr.contains("--kept-head must be"), "{}", nonsense.stderr);
}

async fn an_inserted_event_is_found(mut authority: Authority) {
    history(&mut authority).await;
    let database = authority.database();
    // Room in the midst: what comes after moves on by one, the head too, so that there is neither a gap nor a surplus.
    database.sql(&format!(
        "CREATE TABLE copy AS SELECT * FROM audit_event WHERE revision = {VICTIM}; \
         UPDATE audit_event SET revision = -revision - 1 WHERE revision >= {VICTIM}; \
         UPDATE audit_event SET revision = -revision WHERE revision < 0; \
         UPDATE authority SET revision = revision + 1; \
         INSERT INTO audit_event SELECT * FROM copy; DROP TABLE copy"
    ));
    assert_found(&authority, "the first after the inserted one", VICTIM + 1).await;
}

async fn an_event_put_beyond_the_head_is_found(mut authority: Authority) {
    let head = history(&mut authority).await;
    let beyond = head + 1;
    authority.database().sql(&format!(
        "CREATE TABLE copy AS SELECT * FROM audit_event WHERE revision = {head}; \
         UPDATE copy SET revision = {beyond}; INSERT INTO audit_event SELECT * FROM copy; DROP TABLE copy"
    ));
    assert_found(&authority, "one too many", beyond).await;
}

on_every_database! {
    a_log_that_nobody_touched_verifies,
    an_altered_event_is_found,
    a_deleted_event_is_found,
    a_log_that_was_cut_short_is_found,
    a_log_cut_short_with_its_head_is_found_beside_the_head_that_was_kept,
    an_inserted_event_is_found,
    an_event_put_beyond_the_head_is_found,
}
