//! `keyctl status`.

use clap::Args;
use key_authority_proto::v1::{
    AwaitRevisionRequest, GetAuthorityStatusRequest, GetAuthorityStatusResponse, ReplicaStatus, StorageKind,
};

use super::Session;
use crate::console::{Format, print};
use crate::errors::{Error, Exit};
use crate::json;
use crate::relative::exact;
use crate::table::{Table, Tone, plain, toned};
use crate::views::{propagation, when};

/// Shows the status of the authority and its replicas
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// First wait until all replicas have applied this revision
    #[arg(long, value_name = "REVISION")]
    wait_for: Option<u64>,
}

impl Status {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Error> {
        if let Some(revision) = self.wait_for {
            let request = AwaitRevisionRequest { revision };
            let rpc = |mut api: crate::client::Api, request| async move { api.await_revision(request).await };
            let answer = session.client.ask(request, rpc).await?;
            propagation::report(answer.propagation.as_ref());
        }
        let rpc = |mut api: crate::client::Api, request| async move { api.get_authority_status(request).await };
        let status = session.client.ask(GetAuthorityStatusRequest {}, rpc).await?;
        if session.console.format == Format::Json {
            print(&json::text(&status)?)?;
        } else {
            session.console.table(record(&status))?;
            print("")?;
            session.console.table(replicas(&status, session.now))?;
        }
        Ok(Exit::Done)
    }
}

fn record(status: &GetAuthorityStatusResponse) -> Table {
    let mut table = Table::record();
    table.pair("version", plain(&status.version));
    table.pair("storage", plain(storage(status.storage())));
    table.pair("revision", plain(status.revision.to_string()));
    table.pair("accounts", plain(status.resident_accounts.to_string()));
    table.pair("keys", plain(status.resident_keys.to_string()));
    let lease = status.lease.map(|lease| exact(u64::try_from(lease.seconds).unwrap_or_default()));
    table.pair("lease", plain(lease.unwrap_or_default()));
    if status.held_tokens > 0 {
        let held =
            format!("{}: the database went back; see docs/coherence.md and keyctl restore accept", status.held_tokens);
        table.pair("quarantined tokens", toned(held, Tone::Bad));
    }
    table
}

fn replicas(status: &GetAuthorityStatusResponse, now: i64) -> Table {
    let mut table = Table::list(&["REPLICA", "ADDRESS", "BUILD", "APPLIED", "LEASE", "SEEN", "ANSWERS"]);
    for replica in &status.replicas {
        let applied = if replica.applied_revision == status.revision { Tone::Good } else { Tone::Caution };
        let (lease, tone) = lease(replica);
        table.row(vec![
            plain(replica.id.get(..8).unwrap_or(&replica.id)),
            plain(&replica.address),
            plain(&replica.build),
            toned(replica.applied_revision.to_string(), applied),
            toned(lease, tone),
            plain(when(replica.seen_time.as_ref(), now, "never")),
            plain(if replica.self_ { "this call" } else { "" }),
        ]);
    }
    table
}

fn lease(replica: &ReplicaStatus) -> (String, Tone) {
    let left = replica.lease_remaining.unwrap_or_default();
    if left.seconds > 0 || left.nanos > 0 {
        (format!("{}.{} s left", left.seconds, left.nanos / 100_000_000), Tone::Good)
    } else {
        ("none".into(), Tone::Bad)
    }
}

fn storage(kind: StorageKind) -> &'static str {
    match kind {
        StorageKind::Sqlite => "SQLite",
        StorageKind::Postgres => "PostgreSQL",
        StorageKind::Mysql => "MySQL",
        StorageKind::Mariadb => "MariaDB",
        StorageKind::Unspecified => "",
    }
}
