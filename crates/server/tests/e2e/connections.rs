//! The connections to the database: few of them, too few, and those of a pooler.

use std::time::Duration;

use key_authority_proto::v1::*;
use tokio::task::JoinSet;

use crate::support::client::{key_for, question};
use crate::support::pooler::Pooler;
use crate::support::process::{Ended, run};
use crate::support::{Authority, Client, Database, Setup, eventually, on_database_servers};

const PASSWORD: &str = "canary0password0of0a0few";
/// How long a start that cannot go on may take to say so.
const START_LIMIT: Duration = Duration::from_secs(15);

/// An authority that is not started, whose user may have `connections` connections to the database.
async fn limited(database: Database, connections: u32) -> Authority {
    let authority = Setup::on(database).log("info").password(PASSWORD).prepare().await;
    authority.database().limit_connections(connections);
    authority
}

/// What a server says that does not start.
async fn refusal(authority: &Authority) -> Ended {
    let ended = tokio::time::timeout(START_LIMIT, run(authority.serve_command())).await;
    let ended = ended.unwrap_or_else(|_| panic!("no error within {START_LIMIT:?}")).badly();
    assert!(!ended.text().contains(PASSWORD), "{}", ended.text());
    ended
}

/// Every kind of work that needs the database: reads, changes, propagation and usage.
async fn work(client: Client) {
    let key = client.new_key(key_for("acme")).await;
    assert_eq!(client.verdict(&key.token).await, Verdict::Valid);
    client.list_keys(ListKeysRequest { account: "acme".into(), ..Default::default() }).await.unwrap();
    client.get_key(GetKeyRequest { key_id: key.id() }).await.unwrap();
    client.list_audit_events(ListAuditEventsRequest::default()).await.unwrap();
    client.get_authority_status(GetAuthorityStatusRequest::default()).await.unwrap();
    client.renew_key(RenewKeyRequest { key_id: key.id(), ..Default::default() }).await.unwrap();
    client.revoke(&key.id()).await;
    client.delete_key(DeleteKeyRequest { key_id: key.id(), ..Default::default() }).await.unwrap();
}

/// Works as twenty callers at once.
async fn work_at_once(authority: &Authority) {
    let mut callers = JoinSet::new();
    for _ in 0..20 {
        callers.spawn(work(authority.client()));
    }
    callers.join_all().await;
}

async fn three_connections_are_enough_for_twenty_callers(database: Database) {
    let mut authority = limited(database, 3).await;
    authority.restart().await;
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    work_at_once(&authority).await;
    let used = client.key_in("acme").await;
    assert_eq!(client.verdict(&used.token).await, Verdict::Valid);
    let is_written = async || (client.key(&used.id()).await.use_count == 1).then_some(());
    eventually("the use is written", is_written).await;
    assert!(authority.output().contains("the database accepts few connections"), "{}", authority.output());
    assert!(authority.stop().await.success());
    authority.restart().await;
}

async fn five_connections_are_enough_for_twenty_callers_and_a_subcommand(database: Database) {
    let mut authority = limited(database, 5).await;
    authority.restart().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    work_at_once(&authority).await;
    authority.subcommand(&["bootstrap"], &[]).await.well();
    authority.subcommand(&["audit", "verify"], &[]).await.well();
}

async fn a_start_without_enough_connections_names_the_limit(database: Database) {
    let authority = limited(database, 2).await;
    let text = refusal(&authority).await.text();
    assert!(text.contains("accepts 2 connections of this user now, and 3 are necessary"), "{text}");
    authority.database().limit_connections(3);
    let mut first = authority;
    first.restart().await;
    let second = first.prepare_another(|setup| setup).await;
    let text = refusal(&second).await.text();
    assert!(text.contains("accepts no further connection of this user"), "{text}");
    let cause = if database == Database::Postgres { "too many connections for role" } else { "max_user_connections" };
    assert!(text.contains(cause), "{text}");
    first.client().new_account("acme", KeyPolicy::default()).await;
    work(first.client()).await;
}

async fn a_subcommand_needs_two_connections_to_detect_a_pooler(database: Database) {
    let mut authority = limited(database, 1).await;
    let text = authority.subcommand(&["migrate"], &[]).await.badly().text();
    assert!(text.contains("accepts 1 connections of this user now, and 2 are necessary"), "{text}");
    authority.database().limit_connections(3);
    authority.subcommand(&["migrate"], &[]).await.well();
    authority.restart().await;
}

/// Other clients have the connections for a moment, as the sessions of an earlier process may. A start tries for
/// some seconds, and what it has found so far is no event that a test could await, so the others stay for a part of
/// them.
#[tokio::test(flavor = "multi_thread")]
async fn a_moment_of_few_connections_decides_nothing() {
    let mut authority = limited(Database::Postgres, 19).await;
    let url = authority.database().url(None).unwrap();
    let mut others = JoinSet::new();
    for _ in 0..17 {
        let mut client = tokio::process::Command::new("psql");
        client.args(["--no-psqlrc", "-q", "-c", "SELECT pg_sleep(1.5)", "-d", &url]).kill_on_drop(true);
        client.stdout(std::process::Stdio::null());
        others.spawn(async move { client.status().await });
    }
    let user = &authority.database().server_login().user;
    let count = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{user}'");
    eventually("they are connected", async || (authority.database().sql(&count) == "17").then_some(())).await;
    authority.restart().await;
    assert!(!authority.output().contains("the database accepts few connections"), "{}", authority.output());
}

async fn a_start_on_a_silent_database_is_explained(database: Database) {
    let authority = Setup::on(database).log("info").linked().prepare().await;
    authority.link().pause();
    let text = refusal(&authority).await.text();
    assert!(text.contains("cannot use the database") && text.contains("timed out"), "{text}");
}

/// Starts `PgBouncer` between an authority and its database.
async fn behind(mode: &str) -> (Authority, Pooler) {
    let authority = Setup::on(Database::Postgres).log("info").password(PASSWORD).linked().prepare().await;
    let pooler = Pooler::start(mode, authority.database().server_login()).await;
    authority.link().lead_to(pooler.address().to_owned());
    (authority, pooler)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_session_mode_works() {
    let (mut authority, _pooler) = behind("session").await;
    authority.restart().await;
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    work_at_once(&authority).await;
    let listens = async || authority.output().contains("LISTEN connection established").then_some(());
    eventually("it listens", listens).await;
    assert!(client.verify(question("no token")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_rejects_a_startup_parameter_is_named_with_its_setting() {
    let authority = Setup::on(Database::Postgres).log("info").password(PASSWORD).linked().prepare().await;
    let pooler = Pooler::start_without_ignored_parameters(authority.database().server_login()).await;
    authority.link().lead_to(pooler.address().to_owned());
    let text = refusal(&authority).await.text();
    assert!(text.contains("set ignore_startup_parameters = extra_float_digits"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_shares_sessions_is_refused_by_every_subcommand() {
    for mode in ["transaction", "statement"] {
        let (authority, _pooler) = behind(mode).await;
        let mut texts = vec![refusal(&authority).await.text()];
        for words in [&["migrate"][..], &["bootstrap"], &["audit", "verify"]] {
            texts.push(authority.subcommand(words, &[]).await.badly().text());
        }
        for text in texts {
            assert!(text.contains("pooler in transaction or statement mode"), "{mode}: {text}");
            assert!(!text.contains(PASSWORD), "{text}");
        }
        assert_eq!(authority.database().sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
    }
}

on_database_servers! {
    three_connections_are_enough_for_twenty_callers,
    five_connections_are_enough_for_twenty_callers_and_a_subcommand,
    a_start_without_enough_connections_names_the_limit,
    a_subcommand_needs_two_connections_to_detect_a_pooler,
    a_start_on_a_silent_database_is_explained,
}
