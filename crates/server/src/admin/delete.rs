//! `DeleteKey`, with the guard against deleting a key that is in use.

use std::time::Duration;

use key_authority_domain::audit::{Action, LoggedEvent};
use key_authority_proto::v1;
use key_authority_storage::read_tx::ReadTx;
use key_authority_storage::write_tx::WriteTx;

use super::audited::{AuditRecord, key_in};
use super::context::Admin;
use super::mutate::Mutated;
use super::replay::Replay;
use crate::auth::call::Call;
use crate::auth::permit::TxPermit;
use crate::rpc::errors::RpcError;
use crate::wire::key::DeleteSpec;
use crate::wire::{self, propagation::propagation_to_proto};

/// The largest age of the times of use that a deletion may rely on. It may miss a use within that time.
const FRESH: Duration = Duration::from_secs(1);

/// What a transaction of a deletion did.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deletion {
    /// Requested that every replica writes down when it last saw the key used.
    Prepared,
    /// Deleted the key.
    Deleted,
}

impl Replay for Deletion {
    async fn replay(_: &ReadTx, _: &TxPermit, _: &LoggedEvent) -> Result<Self, RpcError> {
        Ok(Self::Deleted)
    }
}

impl Admin {
    /// `DeleteKey`.
    ///
    /// If the policy guards keys in use, other replicas may have seen a use that is not written down yet:
    ///
    /// - t0: a first transaction commits [`Action::PrepareDeleteKey`].
    /// - t1: each replica applies it, writes down when it last saw the key used, and confirms.
    /// - t2: all have confirmed, or have no lease. A replica that was waited out or killed loses the uses that it had
    ///   not written down. After a long wait, continue at t0.
    /// - t3: a second transaction decides by what is written down, and deletes.
    pub(super) async fn delete_key(
        &self,
        call: &Call,
        request: v1::DeleteKeyRequest,
    ) -> Result<v1::DeleteKeyResponse, RpcError> {
        let spec = wire::key::delete_key(&request)?;
        let mut is_prepared = false;
        loop {
            let Mutated { result, change } = self.delete_or_prepare(call, &spec, is_prepared).await?;
            let Some(change) = change else { return Ok(v1::DeleteKeyResponse::default()) };
            let wait = self.wait(call, change).await;
            if result == Deletion::Deleted {
                return Ok(v1::DeleteKeyResponse { propagation: Some(propagation_to_proto(&wait?)) });
            }
            // Nothing is deleted yet, so a failed wait leaves nothing pending.
            let wait = wait.map_err(|_| RpcError::DeadlineExceeded)?;
            // The times of use must still be fresh when the second transaction reads them. The next wait is shorter:
            // the replica that delayed this one is out of the registry.
            is_prepared = wait.waited < FRESH;
        }
    }

    async fn delete_or_prepare(
        &self,
        call: &Call,
        spec: &DeleteSpec,
        is_prepared: bool,
    ) -> Result<Mutated<Deletion>, RpcError> {
        self.transact(call, Action::DeleteKey, spec.request.as_slice(), |tx, permit| async move {
            let (mut key, account) = key_in(&tx, &permit, &spec.key_id).await?;
            permit.check_grant(&key)?;
            // A use that this replica saw counts before it is written down.
            let used_locally = self.replica.last_used_time(key.secrets.iter().map(|secret| secret.digest));
            key.usage.last_used_time = key.usage.last_used_time.max(used_locally);
            key.check_delete(&account, spec.allow_recently_used, tx.now())?;
            let is_guarded = account.policy.recently_used_window.is_some() && !spec.allow_recently_used;
            if is_guarded && !is_prepared && self.others_may_have_seen_uses(&tx).await? {
                let record = AuditRecord::changed(&key, &key, tx.now()).with_action(Action::PrepareDeleteKey);
                return Ok((tx, Deletion::Prepared, AuditRecord { is_preparation: true, ..record }));
            }
            tx.delete_key(&key.id).await?;
            let record = AuditRecord::deleted(&key, tx.now());
            Ok((tx, Deletion::Deleted, record))
        })
        .await
    }

    /// Whether there are other replicas, which may have seen a use that is not written down yet.
    ///
    /// # Errors
    /// `REPLICAS_DIFFER` if one of them runs a build that would not write it down.
    async fn others_may_have_seen_uses(&self, tx: &WriteTx<'_>) -> Result<bool, RpcError> {
        let me = self.replica.me();
        let mut others = tx.replicas().await?;
        others.retain(|replica| Some(replica.id) != me);
        if others.iter().any(|replica| replica.log_format() < Action::PrepareDeleteKey.log_format()) {
            return Err(RpcError::ReplicasDiffer);
        }
        Ok(!others.is_empty())
    }
}
