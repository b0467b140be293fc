//! Deleting keys, with the guard against deleting one that is in use.

use std::time::Duration;

use key_authority_domain::audit::Action;
use key_authority_proto::v1;
use key_authority_storage::Urgency;
use key_authority_storage::write_tx::{Committed, WriteTx};

use super::context::{Admin, key_event, key_in};
use super::mutate::{Mutated, of_commit, of_event};
use crate::auth::permit::Permit;
use crate::rpc::errors::RpcError;
use crate::wire::key::DeleteSpec;
use crate::wire::{self, propagation::propagation_to_proto};

/// How old the times of use may be by which a deletion is decided. A use within that time may be missed.
const FRESH: Duration = Duration::from_secs(1);

/// What a transaction of a deletion did.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deletion {
    /// Asked every replica to write down when it last saw the key used.
    Prepared,
    /// Deleted the key.
    Deleted,
}

impl Admin {
    /// `DeleteKey`.
    ///
    /// Where the policy guards keys in use, other replicas may have seen a use that is not written down yet:
    ///
    /// - t0: a first transaction commits [`Action::PrepareDeleteKey`].
    /// - t1: each replica applies it, writes down when it last saw the key used, and confirms.
    /// - t2: all have confirmed, or have no lease any more. A replica that was waited out, or killed, takes with it the uses
    ///   that it had not written down. After a long wait, t0 again.
    /// - t3: a second transaction judges by what is written down, and deletes.
    pub(crate) async fn delete_key(
        &self,
        permit: &Permit,
        request: v1::DeleteKeyRequest,
    ) -> Result<v1::DeleteKeyResponse, RpcError> {
        let asked = wire::key::delete_key(&request)?;
        let mut is_prepared = false;
        let change = loop {
            match self.delete_or_prepare(permit, &asked, is_prepared).await? {
                Mutated::Applied((Deletion::Deleted, committed)) => break of_commit(&committed),
                Mutated::Replayed(logged) => break of_event(&logged),
                Mutated::Applied((Deletion::Prepared, committed)) => {
                    // Nothing is deleted yet, so a wait that fails leaves nothing to wait for.
                    let wait = self.wait(of_commit(&committed)).await.map_err(|_| RpcError::TooLate)?;
                    // What was written down must not be old by the time that it is judged by. The next wait is shorter:
                    // the replica that took so long is out of the registry.
                    is_prepared = wait.waited < FRESH;
                }
            }
        };
        let propagation = self.wait(change).await?;
        Ok(v1::DeleteKeyResponse { propagation: Some(propagation_to_proto(&propagation)) })
    }

    async fn delete_or_prepare(
        &self,
        permit: &Permit,
        asked: &DeleteSpec,
        is_prepared: bool,
    ) -> Result<Mutated<(Deletion, Committed)>, RpcError> {
        let marks = asked.request.as_slice();
        self.transact(permit, Urgency::Ordinary, marks, |tx, permit| async move {
            let (mut key, account) = key_in(&tx, &permit, &asked.key_id).await?;
            permit.check_grant(&key)?;
            // A use at this replica need not be written down to be known.
            let used_here = self.view.last_used_time(key.secrets.iter().map(|secret| secret.digest));
            key.usage.last_used_time = key.usage.last_used_time.max(used_here);
            key.check_delete(&account, asked.allow_recently_used, tx.now())?;
            let is_guarded = account.policy.recently_used_window.is_some() && !asked.allow_recently_used;
            if is_guarded && !is_prepared && self.others_may_have_seen_uses(&tx).await? {
                let event = key_event(&permit, Action::PrepareDeleteKey, None, Some(&key), Some(&key), tx.now())?;
                return Ok((tx, Deletion::Prepared, event));
            }
            tx.delete_key(&key.id).await?;
            let mark = asked.request.clone();
            let event = key_event(&permit, Action::DeleteKey, mark, Some(&key), None, tx.now())?;
            Ok((tx, Deletion::Deleted, event))
        })
        .await
    }

    /// Whether there are other replicas, which may have seen a use that is not written down.
    ///
    /// # Errors
    /// `REPLICAS_DIFFER` where one of them would not write it down when asked.
    async fn others_may_have_seen_uses(&self, tx: &WriteTx<'_>) -> Result<bool, RpcError> {
        let me = self.view.me();
        let mut others = tx.replicas().await?;
        others.retain(|replica| Some(replica.id) != me);
        if others.iter().any(|replica| replica.log_format() < Action::PrepareDeleteKey.log_format()) {
            return Err(RpcError::ReplicasDiffer);
        }
        Ok(!others.is_empty())
    }
}
