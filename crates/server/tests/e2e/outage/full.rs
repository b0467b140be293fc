//! The disk is full: a change is refused whole, Verify goes on, and room heals it. A limit on the size of files stands in
//! for the disk, so no other kind of database can be brought to it from here.

use std::process::Command;
use std::time::Duration;

use key_authority_proto::v1::*;
use tonic::Code;

use crate::support::client::key_for;
use crate::support::{Authority, Database, Setup, eventually, on_sqlite, refused};

/// Becomes the program under a limit of so many bytes a file; writing beyond is an error (EFBIG), not a signal, since Python
/// ignores SIGXFSZ and what it becomes inherits that. Only the soft limit is set, so that it can be lifted again.
const LIMITED: &str = "import os, resource, sys\n\
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n\
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), hard))\n\
    os.execv(sys.argv[2], sys.argv[2:])\n";
/// Room for the schema and some keys.
const BYTES: &str = "600000";
/// Longer than the lease, which an answer on a full disk must outlive.
const WATCHED: Duration = Duration::from_secs(12);

fn filler() -> CreateKeyRequest {
    CreateKeyRequest { description: "x".repeat(2000), ..key_for("acme") }
}

/// Creates keys until one is refused; returns those that were not.
async fn fill(authority: &Authority) -> Vec<CreateKeyResponse> {
    let client = authority.client();
    let mut created = Vec::new();
    loop {
        match client.create_key(filler()).await {
            Ok(answer) => created.push(answer),
            Err(status) => {
                refused::<()>(Err(status), Code::Unavailable, "STORAGE_UNAVAILABLE");
                return created;
            }
        }
        assert!(created.len() < 5000, "the disk does not fill");
    }
}

async fn on_a_full_disk_changes_are_refused_whole_and_verify_goes_on(database: Database) {
    let mut authority = Setup::on(database).under(&["python3", "-c", LIMITED, BYTES]).start().await;
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let mut created = fill(&authority).await;
    assert!(!created.is_empty(), "there was room for some");

    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    for tick in 0..WATCHED.as_millis() / ticks.period().as_millis() {
        ticks.tick().await;
        for key in [&created[0], created.last().unwrap()] {
            let answer = client.verify(crate::support::client::question(&key.token)).await;
            assert_eq!(
                answer.map(|answer| answer.verdict()).map_err(|status| status.code()),
                Ok(Verdict::Valid),
                "{tick}"
            );
        }
    }
    // A checkpoint may have made room in the log for one more; what is refused is not there.
    created.extend(client.create_key(filler()).await.ok());
    assert_eq!(client.keys_of("acme").await.len(), created.len(), "what was refused is not there");

    // Room again: it heals by itself.
    let lift = ["--pid", &authority.pid().to_string(), "--fsize=unlimited:"];
    assert!(Command::new("prlimit").args(lift).status().unwrap().success());
    eventually("changes are made again", async || client.create_key(filler()).await.ok()).await;
    assert_eq!(client.keys_of("acme").await.len(), created.len() + 1);

    authority.kill().await;
    authority.unlimited();
    authority.subcommand(&["audit", "verify"], &[]).await.well();
    authority.restart().await;
    for key in created {
        assert_eq!(authority.client().verdict(&key.token).await, Verdict::Valid);
    }
}

on_sqlite! { on_a_full_disk_changes_are_refused_whole_and_verify_goes_on }
