//! Keys: issuing, showing, changing, renewing, ending them.

use key_authority_domain::account::Account;
use key_authority_domain::audit::{Action, IdempotencyKey, LoggedEvent};
use key_authority_domain::foreign::Scheme;
use key_authority_domain::id::{Actor, KeyId};
use key_authority_domain::key::{Key, MintedSecret};
use key_authority_domain::policy_error::PolicyError;
use key_authority_domain::seal::SealContext;
use key_authority_domain::secret::Keyring;
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::Token;
use key_authority_proto::v1;
use key_authority_storage::Urgency;
use key_authority_storage::key_read::KeyQuery;
use key_authority_storage::page::AccountScope;
use key_authority_storage::write_tx::WriteTx;

use super::context::{Admin, account_in, key_event, key_in};
use super::cursor;
use super::mutate::Mutated;
use crate::auth::permit::{Permit, Rights, TxPermit};
use crate::entropy;
use crate::rpc::errors::RpcError;
use crate::wire::key::KeySpec;
use crate::wire::{self, propagation::propagation_to_proto};

/// A fresh secret: what its holder gets, and what is kept.
pub(crate) struct Issued {
    /// The token.
    pub(crate) token: Token,
    /// What is kept of it.
    pub(crate) minted: MintedSecret,
}

/// Makes a secret as the account's policy wants it. `version` is the one it will have.
pub(crate) fn issue(keyring: &Keyring, account: &Account, key_id: &KeyId, version: u32) -> Result<Issued, RpcError> {
    let token = Token::mint(&account.policy.token_prefix, entropy::fill)?;
    let sealed = if account.policy.recoverable {
        let purpose = SealContext::Token { key_id: key_id.as_str(), version };
        Some(keyring.seal(purpose, token.reveal().as_bytes(), entropy::bytes()?))
    } else {
        None
    };
    let minted = MintedSecret {
        digest: keyring.digest(token.presented()),
        scheme: Scheme::Own,
        secret_version: keyring.current(),
        hint: token.hint(),
        sealed,
    };
    Ok(Issued { token, minted })
}

/// Refuses a key for which the account has no room, if it counts now and did not before.
async fn check_room(tx: &WriteTx<'_>, account: &Account, before: Option<&Key>, after: &Key) -> Result<(), RpcError> {
    let counted = account.policy.counted;
    let counts = |key: &Key| key.is_counted(counted, tx.now());
    if account.policy.max_keys.is_some() && counts(after) && !before.is_some_and(counts) {
        account.policy.check_room(tx.count_keys(&account.id, counted).await?)?;
    }
    Ok(())
}

/// Whether a key ID is taken: it names a key, or has named one, or an actor of the log. An ID is used once, since services
/// and the log know keys by it.
async fn is_taken(tx: &WriteTx<'_>, id: &KeyId) -> Result<bool, RpcError> {
    let is_reserved = id.as_str() == Actor::bootstrap().as_str();
    Ok(is_reserved || !tx.used_key_ids(std::slice::from_ref(id)).await?.is_empty())
}

/// A change to the fields of one key.
struct KeyChangeCall<'a> {
    id: &'a KeyId,
    mark: Option<&'a IdempotencyKey>,
    action: Action,
}

impl Admin {
    /// `CreateKey`.
    pub(crate) async fn create_key(
        &self,
        permit: &Permit,
        request: v1::CreateKeyRequest,
    ) -> Result<v1::CreateKeyResponse, RpcError> {
        let mut spec = wire::key::new_key(&request)?;
        let mark = spec.request.take();
        let (mark, spec) = (&mark, &spec);
        let (mutated, propagation) = self
            .mutate(permit, Urgency::Ordinary, mark.as_ref(), |tx, permit| async move {
                let account = account_in(&tx, &permit, &spec.account).await?;
                let (key, token) = self.create_in(&tx, &permit, &account, spec.clone()).await?;
                let event = key_event(&permit, Action::CreateKey, mark.clone(), None, Some(&key), tx.now())?;
                Ok((tx, (key, token), event))
            })
            .await?;
        let (key, token) = match mutated {
            Mutated::Applied((key, token)) => (key, token.reveal().to_owned()),
            Mutated::Replayed(logged) => (self.key_of_event(permit, logged).await?, String::new()),
        };
        Ok(v1::CreateKeyResponse {
            key: Some(self.show(&key)),
            token,
            propagation: Some(propagation_to_proto(&propagation)),
        })
    }

    /// Creates a key within a change.
    pub(crate) async fn create_in(
        &self,
        tx: &WriteTx<'_>,
        permit: &TxPermit,
        account: &Account,
        spec: KeySpec,
    ) -> Result<(Key, Token), RpcError> {
        let id = match &spec.id {
            Some(id) if is_taken(tx, id).await? => return Err(RpcError::KeyExists(id.clone())),
            Some(id) => id.clone(),
            None => KeyId::generate(entropy::fill)?,
        };
        let issued = issue(&self.keyring, account, &id, 1)?;
        let new = spec.into_new_key(id, permit.actor().clone());
        let key = Key::create(account, new, issued.minted, tx.now(), tx.revision())?;
        permit.check_grant(&key)?;
        check_room(tx, account, None, &key).await?;
        tx.insert_key(&key).await?;
        Ok((key, issued.token))
    }

    /// The key that the event of a repeated request names.
    pub(crate) async fn key_of_event(&self, permit: &Permit, logged: Box<LoggedEvent>) -> Result<Key, RpcError> {
        let id = logged.event.key_id.ok_or(RpcError::KeyNotFound)?;
        self.visible_key(permit, &id).await
    }

    /// `GetKey`.
    pub(crate) async fn get_key(&self, permit: &Permit, request: v1::GetKeyRequest) -> Result<v1::Key, RpcError> {
        let id = wire::key::get_key(&request)?;
        Ok(self.show(&self.visible_key(permit, &id).await?))
    }

    /// `ListKeys`.
    pub(crate) async fn list_keys(
        &self,
        permit: &Permit,
        request: v1::ListKeysRequest,
    ) -> Result<v1::ListKeysResponse, RpcError> {
        let filter = wire::key::list_keys(&request)?;
        let accounts = match filter.account {
            None => permit.accounts(),
            Some(id) => AccountScope::Only(vec![self.visible_account(permit, &id).await?.id]),
        };
        let caller = permit.actor()?;
        let after = cursor::open(&self.keyring, caller.as_str(), &request)?;
        let query = KeyQuery { accounts, states: filter.states, project: filter.project, now: self.view.time() };
        let page = self.store.keys(&query, filter.page_size, after.as_ref()).await?;
        Ok(v1::ListKeysResponse {
            keys: page.items.iter().map(|key| wire::key::key_to_proto(key, query.now)).collect(),
            next_page_token: cursor::seal(&self.keyring, caller.as_str(), &request, page.next.as_ref())?,
        })
    }

    /// `UpdateKey`.
    pub(crate) async fn update_key(
        &self,
        permit: &Permit,
        request: v1::UpdateKeyRequest,
    ) -> Result<v1::UpdateKeyResponse, RpcError> {
        let asked = wire::key::key_change(&request)?;
        let update = |key: &mut Key, account: &Account, permit: &TxPermit, now| {
            if asked.etag.is_some_and(|etag| etag != key.revision) {
                return Err(RpcError::EtagMismatch);
            }
            if account.id.is_system() {
                wire::key::check_caller_change(&asked.change)?;
            }
            permit.check_grant(key)?;
            let changed = key.update(account, asked.change.clone(), now);
            changed.map_err(|rejection| RpcError::from(rejection).within("key"))?;
            permit.check_grant(key)
        };
        let call = KeyChangeCall { id: &asked.key_id, mark: asked.request.as_ref(), action: Action::UpdateKey };
        let (key, propagation) = self.change_key(permit, Urgency::Ordinary, call, update).await?;
        Ok(v1::UpdateKeyResponse { key: Some(key), propagation: Some(propagation) })
    }

    /// `DisableKey`.
    pub(crate) async fn disable_key(
        &self,
        permit: &Permit,
        request: v1::DisableKeyRequest,
    ) -> Result<v1::DisableKeyResponse, RpcError> {
        let asked = wire::key::disable_key(&request)?;
        let disable = |key: &mut Key, _: &Account, permit: &TxPermit, _| {
            permit.check_grant(key)?;
            Ok(key.disable()?)
        };
        let call = KeyChangeCall { id: &asked.key_id, mark: asked.request.as_ref(), action: Action::DisableKey };
        let (key, propagation) = self.change_key(permit, Urgency::Ending, call, disable).await?;
        Ok(v1::DisableKeyResponse { key: Some(key), propagation: Some(propagation) })
    }

    /// `EnableKey`.
    pub(crate) async fn enable_key(
        &self,
        permit: &Permit,
        request: v1::EnableKeyRequest,
    ) -> Result<v1::EnableKeyResponse, RpcError> {
        let asked = wire::key::enable_key(&request)?;
        let enable = |key: &mut Key, _: &Account, permit: &TxPermit, _| {
            permit.check_grant(key)?;
            Ok(key.enable()?)
        };
        let call = KeyChangeCall { id: &asked.key_id, mark: asked.request.as_ref(), action: Action::EnableKey };
        let (key, propagation) = self.change_key(permit, Urgency::Ordinary, call, enable).await?;
        Ok(v1::EnableKeyResponse { key: Some(key), propagation: Some(propagation) })
    }

    /// `RevokeKey`.
    pub(crate) async fn revoke_key(
        &self,
        permit: &Permit,
        request: v1::RevokeKeyRequest,
    ) -> Result<v1::RevokeKeyResponse, RpcError> {
        let asked = wire::key::revoke_key(&request)?;
        let revoke = |key: &mut Key, _: &Account, _: &TxPermit, now| {
            key.revoke(asked.reason.clone(), now);
            Ok(())
        };
        let call = KeyChangeCall { id: &asked.key_id, mark: asked.request.as_ref(), action: Action::RevokeKey };
        let (key, propagation) = self.change_key(permit, Urgency::Ending, call, revoke).await?;
        Ok(v1::RevokeKeyResponse { key: Some(key), propagation: Some(propagation) })
    }

    /// `RenewKey`.
    pub(crate) async fn renew_key(
        &self,
        permit: &Permit,
        request: v1::RenewKeyRequest,
    ) -> Result<v1::RenewKeyResponse, RpcError> {
        let asked = &wire::key::renew_key(&request)?;
        let (mutated, propagation) = self
            .mutate(permit, Urgency::Ordinary, asked.request.as_ref(), |tx, permit| async move {
                let (mut key, account) = key_in(&tx, &permit, &asked.key_id).await?;
                // A token of a key is worth what the key may do, before the renewal and with the expiry after it.
                permit.check_grant(&key)?;
                let before = key.clone();
                let version = key.newest_secret().map_or(1, |newest| newest.version.saturating_add(1));
                let issued = issue(&self.keyring, &account, &key.id, version)?;
                key.renew(&account, issued.minted, asked.overlap, asked.expiry, tx.now())?;
                permit.check_grant(&key)?;
                check_room(&tx, &account, Some(&before), &key).await?;
                tx.update_key_and_secrets(&mut key).await?;
                let mark = asked.request.clone();
                let event = key_event(&permit, Action::RenewKey, mark, Some(&before), Some(&key), tx.now())?;
                Ok((tx, (key, issued.token), event))
            })
            .await?;
        let (key, token) = match mutated {
            Mutated::Applied((key, token)) => (key, token.reveal().to_owned()),
            Mutated::Replayed(logged) => (self.key_of_event(permit, logged).await?, String::new()),
        };
        Ok(v1::RenewKeyResponse {
            key: Some(self.show(&key)),
            token,
            propagation: Some(propagation_to_proto(&propagation)),
        })
    }

    /// `RevealToken`. It changes nothing, so there is nothing to wait for; but it is recorded before it is done.
    pub(crate) async fn reveal_token(
        &self,
        permit: &Permit,
        request: v1::RevealTokenRequest,
    ) -> Result<v1::RevealTokenResponse, RpcError> {
        let id = &wire::key::reveal_token(&request)?;
        match self
            .transact(permit, Urgency::Ordinary, &[], |tx, permit| async move {
                let (key, account) = key_in(&tx, &permit, id).await?;
                let token = self.reveal_sealed_token(&permit, &key, &account)?;
                let event = key_event(&permit, Action::RevealToken, None, Some(&key), Some(&key), tx.now())?;
                Ok((tx, token, event))
            })
            .await?
        {
            Mutated::Applied((token, _)) => Ok(v1::RevealTokenResponse { token: token.reveal().to_owned() }),
            // Nothing is known again that has no request ID.
            Mutated::Replayed(_) => Err(RpcError::RequestIdReused),
        }
    }

    /// The newest token of a key, where it is kept and may be shown. The caller records that it is.
    pub(crate) fn reveal_sealed_token(
        &self,
        permit: &TxPermit,
        key: &Key,
        account: &Account,
    ) -> Result<Token, RpcError> {
        permit.check_grant(key)?;
        let secret = key.newest_secret().filter(|_| account.policy.recoverable);
        let (secret, sealed) = secret
            .and_then(|secret| Some((secret, secret.sealed.as_ref()?)))
            .ok_or(RpcError::Refused(PolicyError::NotRecoverable))?;
        let purpose = SealContext::Token { key_id: key.id.as_str(), version: secret.version };
        let opened = self.keyring.open(purpose, sealed).map_err(|_sealed| RpcError::SealBroken)?;
        Token::from_sealed(&opened).map_err(|_bytes| RpcError::SealBroken)
    }

    /// Changes a key by `change`, unless the same request has done so before.
    async fn change_key(
        &self,
        permit: &Permit,
        urgency: Urgency,
        KeyChangeCall { id, mark, action }: KeyChangeCall<'_>,
        change: impl Fn(&mut Key, &Account, &TxPermit, Timestamp) -> Result<(), RpcError>,
    ) -> Result<(v1::Key, v1::Propagation), RpcError> {
        let change = &change;
        let (mutated, propagation) = self
            .mutate(permit, urgency, mark, |tx, permit| async move {
                let (mut key, account) = key_in(&tx, &permit, id).await?;
                let before = key.clone();
                change(&mut key, &account, &permit, tx.now())?;
                check_room(&tx, &account, Some(&before), &key).await?;
                tx.update_key(&mut key).await?;
                let event = key_event(&permit, action, mark.cloned(), Some(&before), Some(&key), tx.now())?;
                Ok((tx, key, event))
            })
            .await?;
        let key = match mutated {
            Mutated::Applied(key) => key,
            Mutated::Replayed(logged) => self.key_of_event(permit, logged).await?,
        };
        Ok((self.show(&key), propagation_to_proto(&propagation)))
    }

    pub(super) fn show(&self, key: &Key) -> v1::Key {
        wire::key::key_to_proto(key, self.view.time())
    }
}
