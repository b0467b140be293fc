//! A database without the authority: emptied by mistake, another one in its place, or not begun yet. Nobody is denied.

use std::time::Duration;

use key_authority_proto::v1::*;
use tonic::Code;

use crate::support::client::question;
use crate::support::process::{program, run};
use crate::support::{Authority, Database, Setup, eventually, http, on_database_servers, on_sqlite, subcommand};

/// Drops all tables.
fn empty(authority: &Authority, database: Database) {
    if database == Database::Postgres {
        authority.database().sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    } else {
        authority.database().make_again("");
    }
}

async fn a_replica_does_not_go_over_to_another_authority(database: Database) {
    let mut authority = Setup::on(database).log("info").flags(["--lease", "5s"]).start().await;
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let key = client.key_in("acme").await;
    empty(&authority, database);
    authority.subcommand(&["migrate"], &[]).await.well();
    let ask = async || match client.verify(question(&key.token)).await {
        Ok(answer) => {
            assert_eq!(answer.verdict(), Verdict::Valid, "no outage is a denial");
            false
        }
        Err(status) => {
            assert_eq!(status.code(), Code::Unavailable);
            true
        }
    };
    eventually("the lease ends", async || ask().await.then_some(())).await;
    // Somebody begins a new authority.
    authority.subcommand(&["bootstrap"], &[]).await.well();
    // What must not happen has no event to await, so this looks for three seconds.
    for _ in 0..30 {
        assert!(ask().await, "it does not answer for the new authority");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let lines = authority.output().matches("does not contain the authority that this replica has served").count();
    assert_eq!(lines, 1);
    assert_eq!(http::get(authority.http(), "/readyz").await.0, 503);
    assert!(authority.stop().await.success());
}

async fn an_authority_that_is_not_begun_denies_nobody(_: Database) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(file("secret"), subcommand(["generate-secret"]).await.well().stdout).unwrap();
    let flags = ["--database-url".to_owned(), format!("sqlite://{}", file("keys.db")), "--secret-file".to_owned()];
    let flags = [&flags[..], &[file("secret")]].concat();
    // The addresses are printed when it is ready.
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (grpc, http) = (free(), free());
    let mut command = program();
    command.arg("serve").args(["--listen", &grpc, "--http-listen", &http, "--api-listen", ""]).args(&flags);
    command.stdout(std::process::Stdio::null());
    command.stderr(std::fs::File::create(file("log")).unwrap());
    let _server = command.spawn().unwrap();
    let log = || std::fs::read_to_string(file("log")).unwrap();
    let words = "the database contains no authority; run `key-authority bootstrap`";
    eventually("the log says what to do", async || log().contains(words).then_some(())).await;
    let says_why = async || {
        let (code, body) = http::get(&http, "/readyz").await;
        assert_eq!(code, 503, "{body}");
        body.contains("verify: not ready: the database contains no authority; run").then_some(())
    };
    eventually("/readyz says it too", says_why).await;
    let caller = format!("Bearer {}", subcommand(["generate-token"]).await.well().stdout.trim());
    let channel = crate::support::authority::connect(&grpc, None);
    let client = crate::support::Client::with_authorization(channel, Some(&caller));
    assert_eq!(client.verify(question("a token")).await.unwrap_err().code(), Code::Unavailable);

    let mut command = program();
    command.arg("bootstrap").args(&flags);
    run(command).await.well();
    let is_ready = async || log().contains(" ready ").then_some(());
    eventually("it is ready", is_ready).await;
    assert_eq!(http::get(&http, "/readyz").await.0, 200);
}

on_sqlite! { an_authority_that_is_not_begun_denies_nobody }

mod servers {
    use super::*;
    on_database_servers! { a_replica_does_not_go_over_to_another_authority }
}
