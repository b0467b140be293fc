//! What the audit log records of a change, and how the things that changes are about are read within one.

use key_authority_domain::account::Account;
use key_authority_domain::audit::{Action, LoggedEvent};
use key_authority_domain::id::{AccountId, KeyId};
use key_authority_domain::key::Key;
use key_authority_domain::snapshot;
use key_authority_domain::time::Timestamp;
use key_authority_storage::StorageError;
use key_authority_storage::read_tx::ReadTx;

use super::replay::Replay;
use crate::auth::permit::{Rights, TxPermit};
use crate::rpc::errors::RpcError;

/// A thing that changes are about.
pub(super) trait Audited {
    /// The account that owns it, or is it.
    fn account(&self) -> &AccountId;
    /// The ID of a key.
    fn key_id(&self) -> Option<&KeyId>;
    /// What the log keeps of it, without secrets.
    fn snapshot(&self, now: Timestamp) -> String;
}

impl Audited for Key {
    fn account(&self) -> &AccountId {
        &self.account
    }

    fn key_id(&self) -> Option<&KeyId> {
        Some(&self.id)
    }

    fn snapshot(&self, now: Timestamp) -> String {
        snapshot::of_key(self, now)
    }
}

impl Audited for Account {
    fn account(&self) -> &AccountId {
        &self.id
    }

    fn key_id(&self) -> Option<&KeyId> {
        None
    }

    fn snapshot(&self, _: Timestamp) -> String {
        snapshot::of_account(self)
    }
}

/// What the log records of a change beside who made it.
pub(super) struct AuditRecord {
    pub(super) account: AccountId,
    pub(super) key_id: Option<KeyId>,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
    /// The request is not done with this event: a repeated one is not answered by it.
    pub(super) is_preparation: bool,
    /// Where it is another action than that of the call.
    pub(super) action: Option<Action>,
}

impl AuditRecord {
    /// Of a change to an account itself, without snapshots.
    pub(super) fn of_account(account: AccountId) -> Self {
        Self { account, key_id: None, before: None, after: None, is_preparation: false, action: None }
    }

    fn of<T: Audited>(item: &T, before: Option<String>, after: Option<String>) -> Self {
        Self { key_id: item.key_id().cloned(), before, after, ..Self::of_account(item.account().clone()) }
    }

    /// Something was created.
    pub(super) fn created<T: Audited>(item: &T, now: Timestamp) -> Self {
        Self::of(item, None, Some(item.snapshot(now)))
    }

    /// Something was changed, or shown as it is.
    pub(super) fn changed<T: Audited>(before: &T, after: &T, now: Timestamp) -> Self {
        Self::of(after, Some(before.snapshot(now)), Some(after.snapshot(now)))
    }

    /// Something was deleted.
    pub(super) fn deleted<T: Audited>(item: &T, now: Timestamp) -> Self {
        Self::of(item, Some(item.snapshot(now)), None)
    }

    /// The same, as this action.
    pub(super) fn with_action(self, action: Action) -> Self {
        Self { action: Some(action), ..self }
    }
}

/// What is found and may be seen. That it is not there and that it must not be seen are the same answer.
pub(super) fn visible<T>(found: Option<T>, may_see: impl Fn(&T) -> bool, missing: RpcError) -> Result<T, RpcError> {
    found.filter(may_see).ok_or(missing)
}

/// The key with its account, within a transaction, if the caller may know of it.
pub(super) async fn key_in(tx: &ReadTx, permit: &TxPermit, id: &KeyId) -> Result<(Key, Account), RpcError> {
    let key = visible(tx.key(id).await?, |key| permit.covers(&key.account), RpcError::KeyNotFound)?;
    let account = tx.account(&key.account).await?.ok_or_else(|| StorageError::Corrupt {
        table: "api_key",
        column: "account",
        id: key.id.to_string(),
    })?;
    Ok((key, account))
}

/// The account, within a transaction, if the caller may know of it.
pub(super) async fn account_in(tx: &ReadTx, permit: &TxPermit, id: &AccountId) -> Result<Account, RpcError> {
    visible(tx.account(id).await?, |account| permit.covers(&account.id), RpcError::AccountNotFound)
}

impl Replay for Key {
    async fn replay(tx: &ReadTx, permit: &TxPermit, logged: &LoggedEvent) -> Result<Self, RpcError> {
        let id = logged.event.key_id.as_ref().ok_or(RpcError::KeyNotFound)?;
        visible(tx.key(id).await?, |key| permit.covers(&key.account), RpcError::KeyNotFound)
    }
}

impl Replay for Account {
    async fn replay(tx: &ReadTx, permit: &TxPermit, logged: &LoggedEvent) -> Result<Self, RpcError> {
        account_in(tx, permit, &logged.event.account).await
    }
}
