//! RPCs on the authority itself: revisions, replicas, leases.

use std::time::Duration;

use key_authority_domain::audit::Action;
use key_authority_domain::id::AccountId;
use key_authority_proto::v1;
use key_authority_replica::protocol::wait::CommittedChange;
use key_authority_storage::StorageKind;

use super::audited::AuditRecord;
use super::context::Admin;
use crate::auth::call::Call;
use crate::rpc::errors::RpcError;
use crate::wire;

impl Admin {
    /// `AwaitRevision`.
    pub(super) async fn await_revision(
        &self,
        call: &Call,
        request: v1::AwaitRevisionRequest,
    ) -> Result<v1::AwaitRevisionResponse, RpcError> {
        let revision = wire::revision::awaited(request)?;
        // The revision that the next change would have.
        let next = self.begin_reading(call).await?.tx.revision();
        if revision >= next {
            return Err(RpcError::invalid("revision", wire::revision::AWAITED_RULE));
        }
        // That the revision is visible does not prove that the standbys have it.
        self.changes.await_durability().await?;
        let propagation = self.wait(call, CommittedChange { revision, hash: None }).await?;
        Ok(v1::AwaitRevisionResponse { propagation: Some(wire::propagation::propagation_to_proto(&propagation)) })
    }

    /// `AcceptRestore`.
    pub(super) async fn accept_restore(
        &self,
        call: &Call,
        request: v1::AcceptRestoreRequest,
    ) -> Result<v1::AcceptRestoreResponse, RpcError> {
        let key = &wire::idempotency_key::from_request(&request)?;
        let ((), propagation) = self
            .mutate(call, Action::AcceptRestore, key.as_slice(), |tx, permit| async move {
                permit.check_all_accounts()?;
                Ok((tx, (), AuditRecord::of_account(AccountId::system())))
            })
            .await?;
        Ok(v1::AcceptRestoreResponse { propagation })
    }

    /// `GetAuthorityStatus`.
    pub(super) async fn get_authority_status(
        &self,
        _: &Call,
        _: v1::GetAuthorityStatusRequest,
    ) -> Result<v1::GetAuthorityStatusResponse, RpcError> {
        let head = self.store.head().await?;
        let me = self.replica.me();
        let silences = self.replica.silences();
        let trust = self.replica.timings().trust;
        let replicas = self.store.replicas().await?.into_iter().map(|row| {
            let is_self = me == Some(row.id);
            let remaining = if is_self {
                self.replica.lease_remaining()
            } else {
                // An upper bound: the lease of another replica counts from before its heartbeat was seen.
                trust.saturating_sub(silences.get(&row.id).copied().unwrap_or(Duration::ZERO))
            };
            v1::ReplicaStatus {
                id: row.id.to_string(),
                address: row.address,
                build: row.build,
                // What this replica has applied need not be in the registry yet.
                applied_revision: wire::revision::number(if is_self { self.replica.applied() } else { row.applied }),
                lease_remaining: Some(wire::time::duration_to_proto(remaining)),
                join_time: Some(wire::time::timestamp_to_proto(row.join_time)),
                seen_time: Some(wire::time::timestamp_to_proto(row.seen_time)),
                self_: is_self,
            }
        });
        Ok(v1::GetAuthorityStatusResponse {
            version: crate::version::VERSION.to_owned(),
            storage: storage_kind(self.store.kind()).into(),
            revision: wire::revision::number(head.revision),
            replica: me.map(|me| me.to_string()).unwrap_or_default(),
            replicas: replicas.collect(),
            resident_keys: self.replica.index().keys() as u64,
            resident_accounts: self.replica.index().accounts() as u64,
            lease: Some(wire::time::duration_to_proto(self.replica.timings().wait)),
            held_tokens: self.replica.index().quarantined() as u64,
        })
    }
}

fn storage_kind(kind: StorageKind) -> v1::StorageKind {
    match kind {
        StorageKind::Sqlite => v1::StorageKind::Sqlite,
        StorageKind::Postgres => v1::StorageKind::Postgres,
        StorageKind::MySql => v1::StorageKind::Mysql,
        StorageKind::MariaDb => v1::StorageKind::Mariadb,
    }
}
