//! The replicas, and the state of the authority.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use key_authority_domain::time::Timestamp;
use key_authority_proto::v1::key_authority_server::KeyAuthority as _;
use key_authority_proto::v1::{GetAuthorityStatusRequest, GetAuthorityStatusResponse, ReplicaStatus, StorageKind};

use crate::console::answer::{Answer, page};
use crate::console::frame::Frame;
use crate::console::show::{self, When};
use crate::console::visit::Visit;

struct ReplicaRow {
    id: String,
    address: String,
    build: String,
    applied: String,
    /// How many revisions it is behind.
    lag: String,
    lease: String,
    has_lease: bool,
    seen: Option<When>,
    joined: Option<When>,
    is_self: bool,
}

#[derive(Template)]
#[template(path = "console/replicas.html")]
struct ReplicasPage {
    frame: Frame,
    version: String,
    storage: &'static str,
    head: String,
    keys: String,
    accounts: String,
    lease: String,
    held_tokens: String,
    replicas: Vec<ReplicaRow>,
}

/// `GET /console/replicas`
pub(in crate::console) async fn list(Extension(visit): Extension<Arc<Visit>>) -> Answer {
    let request = visit.request(GetAuthorityStatusRequest {});
    let status = visit.ask(visit.admin().get_authority_status(request)).await?;
    page(&ReplicasPage {
        frame: Frame::new(&visit, "Replicas"),
        storage: storage(status.storage()),
        head: show::count(status.revision),
        keys: show::count(status.resident_keys),
        accounts: show::count(status.resident_accounts),
        lease: status.lease.as_ref().map(|lease| show::whole(show::duration(lease))).unwrap_or_default(),
        held_tokens: if status.held_tokens == 0 { String::new() } else { show::count(status.held_tokens) },
        replicas: status.replicas.iter().map(|replica| row(replica, &status, visit.now)).collect(),
        version: status.version,
    })
}

fn row(replica: &ReplicaStatus, status: &GetAuthorityStatusResponse, now: Timestamp) -> ReplicaRow {
    let lag = status.revision.saturating_sub(replica.applied_revision);
    let lease = replica.lease_remaining.as_ref().map(show::duration).unwrap_or_default();
    ReplicaRow {
        id: replica.id.clone(),
        address: replica.address.clone(),
        build: replica.build.clone(),
        applied: show::count(replica.applied_revision),
        lag: if lag == 0 { "none".to_owned() } else { show::plural(lag, "revision") },
        lease: if lease.is_zero() { "expired".to_owned() } else { format!("{:.1} s", lease.as_secs_f64()) },
        has_lease: !lease.is_zero(),
        seen: When::of(replica.seen_time.as_ref(), now),
        joined: When::of(replica.join_time.as_ref(), now),
        is_self: replica.self_,
    }
}

const fn storage(kind: StorageKind) -> &'static str {
    match kind {
        StorageKind::Sqlite => "SQLite",
        StorageKind::Postgres => "PostgreSQL",
        StorageKind::Mysql => "MySQL",
        StorageKind::Mariadb => "MariaDB",
        StorageKind::Unspecified => "unknown",
    }
}
