//! RPCs on keys: creating, reading, changing, renewing and revoking them.

use std::time::Duration;

use key_authority_domain::account::{Account, ExpiryChoice};
use key_authority_domain::audit::{Action, IdempotencyKey, LoggedEvent};
use key_authority_domain::id::{Actor, KeyId};
use key_authority_domain::key::{Key, NewKey};
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::Token;
use key_authority_proto::v1;
use key_authority_storage::key_order::KeyCursor;
use key_authority_storage::key_query::KeyQuery;
use key_authority_storage::page::AccountScope;
use key_authority_storage::read_tx::ReadTx;
use key_authority_storage::write_tx::WriteTx;

use super::audited::{AuditRecord, account_in, key_in};
use super::context::Admin;
use super::cursor;
use super::listing;
use super::replay::Replay;
use super::secrets::NewSecret;
use crate::auth::call::Call;
use crate::auth::permit::{Rights, TxPermit};
use crate::entropy;
use crate::rpc::errors::RpcError;
use crate::wire;
use crate::wire::key::{CallerDigest, KeySpec};

/// A key with a new token. A repeated request gets the key without the token: a token is shown once.
pub(super) struct Issued {
    pub(super) key: Key,
    pub(super) token: Option<Token>,
}

/// How a key is renewed.
pub(super) struct Renewal<'a> {
    /// How long the earlier tokens stay valid.
    pub(super) overlap: Duration,
    /// The new expiry of the key.
    pub(super) expiry: ExpiryChoice,
    /// The digest of the new token; `None` if the authority makes the token.
    pub(super) digest: Option<&'a CallerDigest>,
}

impl Issued {
    pub(super) fn token(&self) -> String {
        self.token.as_ref().map_or_else(String::new, |token| token.reveal().to_owned())
    }
}

impl Replay for Issued {
    async fn replay(tx: &ReadTx, permit: &TxPermit, logged: &LoggedEvent) -> Result<Self, RpcError> {
        Ok(Self { key: Key::replay(tx, permit, logged).await?, token: None })
    }
}

/// Checks that the account has room for the key, if the key counts towards the limit now and did not before.
async fn check_room(tx: &WriteTx<'_>, account: &Account, before: Option<&Key>, after: &Key) -> Result<(), RpcError> {
    let counted = account.policy.counted;
    let counts = |key: &Key| key.is_counted(counted, tx.now());
    if let Some(max) = account.policy.max_keys
        && counts(after)
        && !before.is_some_and(counts)
    {
        account.policy.check_room(tx.count_towards_limit(&account.id, counted, max).await?)?;
    }
    Ok(())
}

/// Whether a key ID is taken: it names a key, or has named a key or an actor of the log. An ID is never reused, since
/// services and the log identify keys by it.
async fn is_taken(tx: &WriteTx<'_>, id: &KeyId) -> Result<bool, RpcError> {
    let is_reserved = id.as_str() == Actor::bootstrap().as_str();
    Ok(is_reserved || !tx.used_key_ids(std::slice::from_ref(id)).await?.is_empty())
}

impl Admin {
    /// `CreateKey`.
    pub(super) async fn create_key(
        &self,
        call: &Call,
        request: v1::CreateKeyRequest,
    ) -> Result<v1::CreateKeyResponse, RpcError> {
        let spec = &wire::key::new_key(&request)?;
        let (issued, propagation) = self
            .mutate(call, Action::CreateKey, &spec.request_keys(&self.keyring), |tx, permit| async move {
                let account = account_in(&tx, &permit, &spec.account).await?;
                let issued = self.create_in(&tx, &permit, &account, spec.clone()).await?;
                let record = AuditRecord::created(&issued.key, tx.now());
                Ok((tx, issued, record))
            })
            .await?;
        Ok(v1::CreateKeyResponse { key: Some(self.key_to_proto(&issued.key)), token: issued.token(), propagation })
    }

    /// Creates a key within a transaction.
    pub(super) async fn create_in(
        &self,
        tx: &WriteTx<'_>,
        permit: &TxPermit,
        account: &Account,
        spec: KeySpec,
    ) -> Result<Issued, RpcError> {
        let id = match &spec.id {
            Some(id) if is_taken(tx, id).await? => return Err(RpcError::KeyExists(id.clone())),
            Some(id) => id.clone(),
            None => KeyId::generate(entropy::fill)?,
        };
        let NewSecret { token, secret } = self.new_secret(tx, account, &id, 1, spec.digest.as_ref()).await?;
        let author = permit.author();
        let created_by_subject = author.subject().cloned();
        let new = NewKey { created_by_subject, ..spec.into_new_key(id, author.actor) };
        let key = Key::create(account, new, secret, tx.now(), tx.revision())?;
        permit.check_grant(&key)?;
        check_room(tx, account, None, &key).await?;
        tx.insert_key(&key).await?;
        Ok(Issued { key, token })
    }

    /// `GetKey`.
    pub(super) async fn get_key(&self, call: &Call, request: v1::GetKeyRequest) -> Result<v1::Key, RpcError> {
        let id = wire::key::get_key(&request)?;
        Ok(self.key_to_proto(&self.visible_key(&call.permit, &id).await?))
    }

    /// `ListKeys`.
    pub(super) async fn list_keys(
        &self,
        call: &Call,
        request: v1::ListKeysRequest,
    ) -> Result<v1::ListKeysResponse, RpcError> {
        let filter = wire::key::list_keys(&request)?;
        let accounts = match filter.account {
            None => call.permit.accounts(),
            Some(id) => AccountScope::Only(vec![self.visible_account(&call.permit, &id).await?.id]),
        };
        let caller = call.permit.actor()?;
        let after = cursor::open(&self.keyring, caller.as_str(), &request)?;
        let order = filter.order;
        let query = KeyQuery {
            states: filter.states,
            project: filter.project,
            text: filter.text,
            labels: filter.labels,
            created_by: filter.created_by,
            expires_before: filter.expires_before,
            unused_since: filter.unused_since,
            ..KeyQuery::of(accounts, self.replica.time())
        };
        let page = self.store.keys(&query, order, filter.page_size, after.as_ref()).await?;
        let to_proto = |(key, _): &(Key, KeyCursor)| wire::key::key_to_proto(key, query.now);
        let (keys, next) = listing::messages(page, to_proto, |(_, cursor)| cursor.clone());
        let next_page_token = cursor::seal(&self.keyring, caller.as_str(), &request, next.as_ref())?;
        Ok(v1::ListKeysResponse { keys, next_page_token })
    }

    /// `UpdateKey`.
    pub(super) async fn update_key(
        &self,
        call: &Call,
        request: v1::UpdateKeyRequest,
    ) -> Result<v1::UpdateKeyResponse, RpcError> {
        let spec = wire::key::key_change(&request)?;
        let update = |key: &mut Key, account: &Account, permit: &TxPermit, now| {
            if spec.etag.is_some_and(|etag| etag != key.revision) {
                return Err(RpcError::EtagMismatch);
            }
            if account.id.is_system() {
                wire::key::check_caller_change(&spec.change)?;
            }
            permit.check_grant(key)?;
            let changed = key.update(account, spec.change.clone(), now);
            changed.map_err(|error| RpcError::from(error).within("key"))?;
            permit.check_grant(key)
        };
        let (key, propagation) =
            self.change_key(call, Action::UpdateKey, spec.request.as_slice(), &spec.key_id, update).await?;
        Ok(v1::UpdateKeyResponse { key: Some(key), propagation })
    }

    /// `DisableKey`.
    pub(super) async fn disable_key(
        &self,
        call: &Call,
        request: v1::DisableKeyRequest,
    ) -> Result<v1::DisableKeyResponse, RpcError> {
        let spec = wire::key::disable_key(&request)?;
        let disable = |key: &mut Key, _: &Account, permit: &TxPermit, _| {
            permit.check_grant(key)?;
            Ok(key.disable()?)
        };
        let (key, propagation) =
            self.change_key(call, Action::DisableKey, spec.request.as_slice(), &spec.key_id, disable).await?;
        Ok(v1::DisableKeyResponse { key: Some(key), propagation })
    }

    /// `EnableKey`.
    pub(super) async fn enable_key(
        &self,
        call: &Call,
        request: v1::EnableKeyRequest,
    ) -> Result<v1::EnableKeyResponse, RpcError> {
        let spec = wire::key::enable_key(&request)?;
        let enable = |key: &mut Key, _: &Account, permit: &TxPermit, _| {
            permit.check_grant(key)?;
            Ok(key.enable()?)
        };
        let (key, propagation) =
            self.change_key(call, Action::EnableKey, spec.request.as_slice(), &spec.key_id, enable).await?;
        Ok(v1::EnableKeyResponse { key: Some(key), propagation })
    }

    /// `RevokeKey`.
    pub(super) async fn revoke_key(
        &self,
        call: &Call,
        request: v1::RevokeKeyRequest,
    ) -> Result<v1::RevokeKeyResponse, RpcError> {
        let spec = wire::key::revoke_key(&request)?;
        let revoke = |key: &mut Key, _: &Account, _: &TxPermit, now| {
            key.revoke(spec.reason.clone(), now);
            Ok(())
        };
        let (key, propagation) =
            self.change_key(call, Action::RevokeKey, spec.request.as_slice(), &spec.key_id, revoke).await?;
        Ok(v1::RevokeKeyResponse { key: Some(key), propagation })
    }

    /// `RenewKey`.
    pub(super) async fn renew_key(
        &self,
        call: &Call,
        request: v1::RenewKeyRequest,
    ) -> Result<v1::RenewKeyResponse, RpcError> {
        let spec = &wire::key::renew_key(&request)?;
        let (issued, propagation) = self
            .mutate(call, Action::RenewKey, &spec.request_keys(&self.keyring), |tx, permit| async move {
                let subject = key_in(&tx, &permit, &spec.key_id).await?;
                let renewal = Renewal { overlap: spec.overlap, expiry: spec.expiry, digest: spec.digest.as_ref() };
                let (issued, record) = self.renew_in(&tx, &permit, subject, renewal).await?;
                Ok((tx, issued, record))
            })
            .await?;
        Ok(v1::RenewKeyResponse { key: Some(self.key_to_proto(&issued.key)), token: issued.token(), propagation })
    }

    /// Renews a key within a transaction.
    pub(super) async fn renew_in(
        &self,
        tx: &WriteTx<'_>,
        permit: &TxPermit,
        (mut key, account): (Key, Account),
        Renewal { overlap, expiry, digest }: Renewal<'_>,
    ) -> Result<(Issued, AuditRecord), RpcError> {
        // A new token has the key's rights, so the grant is checked before the renewal, and with the new expiry after it.
        permit.check_grant(&key)?;
        let before = key.clone();
        let version = key.newest_secret().map_or(1, |newest| newest.version.saturating_add(1));
        let NewSecret { token, secret } = self.new_secret(tx, &account, &key.id, version, digest).await?;
        key.renew(&account, secret, overlap, expiry, tx.now())?;
        permit.check_grant(&key)?;
        check_room(tx, &account, Some(&before), &key).await?;
        tx.update_key_and_secrets(&mut key).await?;
        let record = AuditRecord::changed(&before, &key, tx.now());
        Ok((Issued { key, token }, record))
    }

    /// Changes a key by `change`, unless the same request was made before.
    async fn change_key(
        &self,
        call: &Call,
        action: Action,
        request_keys: &[IdempotencyKey],
        id: &KeyId,
        change: impl Fn(&mut Key, &Account, &TxPermit, Timestamp) -> Result<(), RpcError>,
    ) -> Result<(v1::Key, Option<v1::Propagation>), RpcError> {
        let change = &change;
        let (key, propagation) = self
            .mutate(call, action, request_keys, |tx, permit| async move {
                let (mut key, account) = key_in(&tx, &permit, id).await?;
                let before = key.clone();
                change(&mut key, &account, &permit, tx.now())?;
                check_room(&tx, &account, Some(&before), &key).await?;
                tx.update_key(&mut key).await?;
                let record = AuditRecord::changed(&before, &key, tx.now());
                Ok((tx, key, record))
            })
            .await?;
        Ok((self.key_to_proto(&key), propagation))
    }

    pub(super) fn key_to_proto(&self, key: &Key) -> v1::Key {
        wire::key::key_to_proto(key, self.replica.time())
    }
}
