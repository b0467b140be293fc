//! What a server says when it begins: where the root token is, where it can be reached, what is risky.

use std::os::unix::fs::PermissionsExt as _;

use key_authority_proto::v1::*;

use crate::support::authority::connect;
use crate::support::process::{Server, program};
use crate::support::{Authority, Client, Database, Setup, eventually, on_database_servers, on_sqlite};

/// Awaits that a server has written `words`, and returns the first line with them.
async fn line_with(authority: &Authority, words: &str) -> String {
    let what = format!("{words:?} is written");
    eventually(&what, async || authority.output().lines().find(|line| line.contains(words)).map(str::to_owned)).await
}

async fn a_root_token_that_is_gone_is_printed_with_what_makes_another(database: Database) {
    let mut authority = Setup::on(database).start().await;
    let file = authority.folder().join("root.token");
    line_with(&authority, "created the root key from the token in this file").await;
    assert!(authority.stop().await.success());
    std::fs::remove_file(&file).unwrap();
    authority.start_process().await;
    let line = line_with(&authority, "root token  not in").await;
    assert!(line.contains(file.to_str().unwrap()) && line.contains("key-authority bootstrap`"), "{line}");
    // As it says, and while the server runs.
    let token = authority.subcommand(&["bootstrap"], &[]).await.well().stdout;
    let client = authority.client_with(token.trim());
    eventually("the new root key is known", async || {
        client.get_authority_status(GetAuthorityStatusRequest {}).await.ok()
    })
    .await;
}

async fn a_token_file_of_the_operator_is_read_at_the_first_start_alone(database: Database) {
    let mut authority = Setup::on(database).start().await;
    line_with(&authority, "created the root key from the token in this file").await;
    assert!(authority.stop().await.success());
    authority.restart().await;
    line_with(&authority, "a root key existed before; ignoring the token in this file").await;
}

async fn a_replica_that_listens_everywhere_is_known_by_the_name_of_its_machine(_database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    command.arg("--data-dir").arg(folder.path());
    command.args(["--listen", "0.0.0.0:0", "--http-listen", "127.0.0.1:0", "--api-listen", ""]);
    let server = Server::start(command, folder.path()).await;
    let (_, port) = server.grpc.rsplit_once(':').unwrap();
    let token = std::fs::read_to_string(folder.path().join("root.token")).unwrap();
    let channel = connect(&format!("127.0.0.1:{port}"), None);
    let client = Client::with_authorization(channel, Some(&format!("Bearer {}", token.trim())));
    let status = client.get_authority_status(GetAuthorityStatusRequest {}).await.unwrap();
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert_eq!(status.replicas[0].address, format!("{name}:{port}"));
}

async fn secrets_that_others_may_read_are_warned_of(database: Database) {
    const WARNING: &str = "secret file is accessible to others than its owner";
    let mut authority = Setup::on(database).start().await;
    assert!(authority.stop().await.success());
    assert!(!authority.output().contains(WARNING), "what it makes itself is for its owner alone");
    let file = authority.folder().join("root.token");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    authority.restart().await;
    let line = line_with(&authority, WARNING).await;
    assert!(line.contains(file.to_str().unwrap()) && line.contains("644") && line.contains("WARN"), "{line}");
}

on_sqlite! {
    secrets_that_others_may_read_are_warned_of,
    a_replica_that_listens_everywhere_is_known_by_the_name_of_its_machine,
    a_root_token_that_is_gone_is_printed_with_what_makes_another,
}

mod servers {
    use super::*;
    on_database_servers! {
        a_token_file_of_the_operator_is_read_at_the_first_start_alone,
    }
}
