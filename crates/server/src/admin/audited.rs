//! The audit records of changes, and reads of their subjects within a transaction.

use std::collections::BTreeSet;

use key_authority_domain::access::Scope;
use key_authority_domain::account::Account;
use key_authority_domain::audit::{Action, LoggedEvent};
use key_authority_domain::id::{AccountId, KeyId, Subject};
use key_authority_domain::key::Key;
use key_authority_domain::snapshot;
use key_authority_domain::time::Timestamp;
use key_authority_storage::StorageError;
use key_authority_storage::read_tx::ReadTx;

use super::replay::Replay;
use crate::auth::permit::{Rights, TxPermit};
use crate::rpc::errors::RpcError;

/// A subject of changes: a key or an account.
pub(super) trait Audited {
    /// Returns the account that owns it, or that it is.
    fn account(&self) -> &AccountId;
    /// Returns the ID of a key; `None` for an account.
    fn key_id(&self) -> Option<&KeyId>;
    /// Returns the scopes of a key; `None` for an account.
    fn scopes(&self) -> Option<&BTreeSet<Scope>>;
    /// Returns the snapshot that the log keeps, without secrets.
    fn snapshot(&self, now: Timestamp) -> String;
}

impl Audited for Key {
    fn account(&self) -> &AccountId {
        &self.account
    }

    fn key_id(&self) -> Option<&KeyId> {
        Some(&self.id)
    }

    fn scopes(&self) -> Option<&BTreeSet<Scope>> {
        Some(&self.access.scopes)
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

    fn scopes(&self) -> Option<&BTreeSet<Scope>> {
        None
    }

    fn snapshot(&self, _: Timestamp) -> String {
        snapshot::of_account(self)
    }
}

/// The part of an audit event that describes the change itself.
pub(super) struct AuditRecord {
    pub(super) account: AccountId,
    pub(super) key_id: Option<KeyId>,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
    /// The scopes that a key has after the change, and did not have before it.
    pub(super) added_scopes: BTreeSet<Scope>,
    /// Whether this event only prepares the change: a repeated request is not answered from it.
    pub(super) is_preparation: bool,
    /// The action, if it differs from the action of the call.
    pub(super) action: Option<Action>,
    /// The user for whom a portal session is. The user of a change is that of the session in which it is made.
    pub(super) subject: Option<Subject>,
}

impl AuditRecord {
    /// A record of a change to an account, without snapshots.
    pub(super) fn of_account(account: AccountId) -> Self {
        Self {
            account,
            key_id: None,
            before: None,
            after: None,
            added_scopes: BTreeSet::new(),
            is_preparation: false,
            action: None,
            subject: None,
        }
    }

    fn of<T: Audited>(item: &T, before: Option<String>, after: Option<String>) -> Self {
        Self { key_id: item.key_id().cloned(), before, after, ..Self::of_account(item.account().clone()) }
    }

    /// A record of a creation.
    pub(super) fn created<T: Audited>(item: &T, now: Timestamp) -> Self {
        let added_scopes = item.scopes().cloned().unwrap_or_default();
        Self { added_scopes, ..Self::of(item, None, Some(item.snapshot(now))) }
    }

    /// A record of a change, or of a read that is audited.
    pub(super) fn changed<T: Audited>(before: &T, after: &T, now: Timestamp) -> Self {
        let added_scopes =
            before.scopes().zip(after.scopes()).map(|(before, after)| after - before).unwrap_or_default();
        Self { added_scopes, ..Self::of(after, Some(before.snapshot(now)), Some(after.snapshot(now))) }
    }

    /// A record of a deletion.
    pub(super) fn deleted<T: Audited>(item: &T, now: Timestamp) -> Self {
        Self::of(item, Some(item.snapshot(now)), None)
    }

    /// Returns the same record with this action.
    pub(super) fn with_action(self, action: Action) -> Self {
        Self { action: Some(action), ..self }
    }
}

/// Returns what was found if the caller may see it. A hidden item and a missing one give the same error.
pub(super) fn visible<T>(found: Option<T>, may_see: impl Fn(&T) -> bool, missing: RpcError) -> Result<T, RpcError> {
    found.filter(may_see).ok_or(missing)
}

/// Reads the key and its account within a transaction, if the caller may see the key.
pub(super) async fn key_in(tx: &ReadTx, permit: &TxPermit, id: &KeyId) -> Result<(Key, Account), RpcError> {
    let key =
        visible(tx.key_of(id, &permit.accounts()).await?, |key| permit.covers(&key.account), RpcError::KeyNotFound)?;
    let account = tx.account(&key.account).await?.ok_or_else(|| StorageError::Corrupt {
        table: "api_key",
        column: "account",
        id: key.id.to_string(),
    })?;
    Ok((key, account))
}

/// Reads the account within a transaction, if the caller may see it.
pub(super) async fn account_in(tx: &ReadTx, permit: &TxPermit, id: &AccountId) -> Result<Account, RpcError> {
    visible(tx.account(id).await?, |account| permit.covers(&account.id), RpcError::AccountNotFound)
}

impl Replay for Key {
    async fn replay(tx: &ReadTx, permit: &TxPermit, logged: &LoggedEvent) -> Result<Self, RpcError> {
        let id = logged.event.key_id.as_ref().ok_or(RpcError::KeyNotFound)?;
        visible(tx.key_of(id, &permit.accounts()).await?, |key| permit.covers(&key.account), RpcError::KeyNotFound)
    }
}

impl Replay for Account {
    async fn replay(tx: &ReadTx, permit: &TxPermit, logged: &LoggedEvent) -> Result<Self, RpcError> {
        account_in(tx, permit, &logged.event.account).await
    }
}
