//! Keys: issuing, showing, changing, renewing, ending them.

use key_authority_domain::account::Account;
use key_authority_domain::audit::{Action, RequestMark};
use key_authority_domain::foreign::Scheme;
use key_authority_domain::id::{Actor, KeyId};
use key_authority_domain::key::{Key, MintedSecret};
use key_authority_domain::refusal::Refusal;
use key_authority_domain::seal::Purpose;
use key_authority_domain::secret::Keyring;
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::Token;
use key_authority_proto::v1;
use key_authority_replica::propagation::Propagation;
use key_authority_storage::key_read::KeyQuery;
use key_authority_storage::page::AccountScope;
use key_authority_storage::write_tx::WriteTx;

use super::{Admin, Begun, account_in, cursor, key_event, key_in};
use crate::caller::Permit;
use crate::entropy;
use crate::status::Failure;
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
pub(crate) fn issue(keyring: &Keyring, account: &Account, key_id: &KeyId, version: u32) -> Result<Issued, Failure> {
    let token = Token::mint(&account.policy.token_prefix, entropy::fill)?;
    let sealed = if account.policy.recoverable {
        let purpose = Purpose::Token { key_id: key_id.as_str(), version };
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
async fn check_room(tx: &WriteTx<'_>, account: &Account, before: Option<&Key>, after: &Key) -> Result<(), Failure> {
    let counted = account.policy.counted;
    let counts = |key: &Key| key.is_counted(counted, tx.now());
    if account.policy.max_keys.is_some() && counts(after) && !before.is_some_and(counts) {
        account.policy.check_room(tx.count_keys(&account.id, counted).await?)?;
    }
    Ok(())
}

impl Admin {
    /// `CreateKey`.
    pub(crate) async fn create_key(
        &self,
        permit: &Permit,
        request: v1::CreateKeyRequest,
    ) -> Result<v1::CreateKeyResponse, Failure> {
        let mut spec = wire::key::new_key(&request)?;
        let mark = spec.request.take();
        let tx = match self.begin(permit, mark.as_ref()).await? {
            Begun::New(tx) => tx,
            Begun::Seen(logged) => {
                let propagation = self.everywhere(logged.revision).await?;
                let id = logged.event.key_id.ok_or(Failure::KeyNotFound)?;
                let key = self.visible_key(permit, &id).await?;
                return Ok(v1::CreateKeyResponse {
                    key: Some(self.show(&key)),
                    token: String::new(),
                    propagation: Some(propagation_to_proto(&propagation)),
                });
            }
        };
        let account = account_in(&tx, permit, &spec.account).await?;
        let (key, token, propagation) = self.create_in(tx, permit, &account, spec, mark).await?;
        Ok(v1::CreateKeyResponse {
            key: Some(self.show(&key)),
            token: token.reveal().to_owned(),
            propagation: Some(propagation_to_proto(&propagation)),
        })
    }

    /// Creates a key within a change, and waits until it is everywhere.
    pub(crate) async fn create_in(
        &self,
        tx: WriteTx<'_>,
        permit: &Permit,
        account: &Account,
        spec: KeySpec,
        mark: Option<RequestMark>,
    ) -> Result<(Key, Token, Propagation), Failure> {
        let id = match &spec.id {
            Some(id) if tx.key(id).await?.is_some() => return Err(Failure::KeyExists(id.clone())),
            // The log knows callers by the IDs of their keys: none comes to stand for another.
            Some(id)
                if account.id.is_system()
                    && (tx.has_acted(id).await? || id.as_str() == Actor::bootstrap().as_str()) =>
            {
                return Err(Failure::KeyExists(id.clone()));
            }
            Some(id) => id.clone(),
            None => KeyId::generate(entropy::fill)?,
        };
        let issued = issue(&self.keyring, account, &id, 1)?;
        let new = spec.into_new_key(id, permit.actor()?);
        let key = Key::create(account, new, issued.minted, tx.now(), tx.revision())?;
        permit.check_grant(&key)?;
        check_room(&tx, account, None, &key).await?;
        tx.insert_key(&key).await?;
        let event = key_event(permit, Action::CreateKey, mark, None, Some(&key), tx.now())?;
        let propagation = self.finish(tx, event).await?;
        Ok((key, issued.token, propagation))
    }

    /// `GetKey`.
    pub(crate) async fn get_key(&self, permit: &Permit, request: v1::GetKeyRequest) -> Result<v1::Key, Failure> {
        let id = wire::key::get_key(&request)?;
        Ok(self.show(&self.visible_key(permit, &id).await?))
    }

    /// `ListKeys`.
    pub(crate) async fn list_keys(
        &self,
        permit: &Permit,
        request: v1::ListKeysRequest,
    ) -> Result<v1::ListKeysResponse, Failure> {
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
    ) -> Result<v1::UpdateKeyResponse, Failure> {
        let asked = wire::key::key_change(&request)?;
        let (key, propagation) = self
            .change_key(permit, &asked.key_id, asked.request, Action::UpdateKey, |key, account, now| {
                if asked.etag.is_some_and(|etag| etag != key.revision) {
                    return Err(Failure::EtagMismatch);
                }
                if account.id.is_system() {
                    wire::key::check_caller_change(&asked.change)?;
                }
                permit.check_grant(key)?;
                key.update(account, asked.change, now).map_err(|rejection| Failure::from(rejection).within("key"))?;
                permit.check_grant(key)
            })
            .await?;
        Ok(v1::UpdateKeyResponse { key: Some(key), propagation: Some(propagation) })
    }

    /// `DisableKey`.
    pub(crate) async fn disable_key(
        &self,
        permit: &Permit,
        request: v1::DisableKeyRequest,
    ) -> Result<v1::DisableKeyResponse, Failure> {
        let asked = wire::key::disable_key(&request)?;
        let disable = |key: &mut Key, _: &Account, _| {
            permit.check_grant(key)?;
            Ok(key.disable()?)
        };
        let (key, propagation) =
            self.change_key(permit, &asked.key_id, asked.request, Action::DisableKey, disable).await?;
        Ok(v1::DisableKeyResponse { key: Some(key), propagation: Some(propagation) })
    }

    /// `EnableKey`.
    pub(crate) async fn enable_key(
        &self,
        permit: &Permit,
        request: v1::EnableKeyRequest,
    ) -> Result<v1::EnableKeyResponse, Failure> {
        let asked = wire::key::enable_key(&request)?;
        let enable = |key: &mut Key, _: &Account, _| {
            permit.check_grant(key)?;
            Ok(key.enable()?)
        };
        let (key, propagation) =
            self.change_key(permit, &asked.key_id, asked.request, Action::EnableKey, enable).await?;
        Ok(v1::EnableKeyResponse { key: Some(key), propagation: Some(propagation) })
    }

    /// `RevokeKey`.
    pub(crate) async fn revoke_key(
        &self,
        permit: &Permit,
        request: v1::RevokeKeyRequest,
    ) -> Result<v1::RevokeKeyResponse, Failure> {
        let asked = wire::key::revoke_key(&request)?;
        let revoke = |key: &mut Key, _: &Account, now| {
            key.revoke(asked.reason, now);
            Ok(())
        };
        let (key, propagation) =
            self.change_key(permit, &asked.key_id, asked.request, Action::RevokeKey, revoke).await?;
        Ok(v1::RevokeKeyResponse { key: Some(key), propagation: Some(propagation) })
    }

    /// `RenewKey`.
    pub(crate) async fn renew_key(
        &self,
        permit: &Permit,
        request: v1::RenewKeyRequest,
    ) -> Result<v1::RenewKeyResponse, Failure> {
        let mut asked = wire::key::renew_key(&request)?;
        let mark = asked.request.take();
        let tx = match self.begin(permit, mark.as_ref()).await? {
            Begun::New(tx) => tx,
            Begun::Seen(logged) => {
                let propagation = self.everywhere(logged.revision).await?;
                let key = self.visible_key(permit, &asked.key_id).await?;
                return Ok(v1::RenewKeyResponse {
                    key: Some(self.show(&key)),
                    token: String::new(),
                    propagation: Some(propagation_to_proto(&propagation)),
                });
            }
        };
        let (mut key, account) = key_in(&tx, permit, &asked.key_id).await?;
        // A token of a key is worth what the key may do.
        permit.check_grant(&key)?;
        let before = key.clone();
        let version = key.newest_secret().map_or(1, |newest| newest.version.saturating_add(1));
        let issued = issue(&self.keyring, &account, &key.id, version)?;
        key.renew(&account, issued.minted, asked.overlap, asked.expiry, tx.now())?;
        check_room(&tx, &account, Some(&before), &key).await?;
        tx.update_key_and_secrets(&mut key).await?;
        let event = key_event(permit, Action::RenewKey, mark, Some(&before), Some(&key), tx.now())?;
        let propagation = self.finish(tx, event).await?;
        Ok(v1::RenewKeyResponse {
            key: Some(self.show(&key)),
            token: issued.token.reveal().to_owned(),
            propagation: Some(propagation_to_proto(&propagation)),
        })
    }

    /// `DeleteKey`.
    pub(crate) async fn delete_key(
        &self,
        permit: &Permit,
        request: v1::DeleteKeyRequest,
    ) -> Result<v1::DeleteKeyResponse, Failure> {
        let asked = wire::key::delete_key(&request)?;
        let propagation = match self.begin(permit, asked.request.as_ref()).await? {
            Begun::Seen(logged) => self.everywhere(logged.revision).await?,
            Begun::New(tx) => {
                let (mut key, account) = key_in(&tx, permit, &asked.key_id).await?;
                permit.check_grant(&key)?;
                // The guard against deleting a key in use must see a use that is not written down yet.
                let used_here = self.view.last_used_time(key.secrets.iter().map(|secret| secret.digest));
                key.usage.last_used_time = key.usage.last_used_time.max(used_here);
                key.check_delete(&account, asked.allow_recently_used, tx.now())?;
                tx.delete_key(&key.id).await?;
                let event = key_event(permit, Action::DeleteKey, asked.request, Some(&key), None, tx.now())?;
                self.finish(tx, event).await?
            }
        };
        Ok(v1::DeleteKeyResponse { propagation: Some(propagation_to_proto(&propagation)) })
    }

    /// `RevealToken`. It changes nothing, so there is nothing to wait for; but it is recorded before it is done.
    pub(crate) async fn reveal_token(
        &self,
        permit: &Permit,
        request: v1::RevealTokenRequest,
    ) -> Result<v1::RevealTokenResponse, Failure> {
        let id = wire::key::reveal_token(&request)?;
        let tx = self.store.begin().await?;
        let (key, account) = key_in(&tx, permit, &id).await?;
        let token = self.kept_token(permit, &key, &account)?;
        let event = key_event(permit, Action::RevealToken, None, Some(&key), Some(&key), tx.now())?;
        tx.commit(event).await?;
        Ok(v1::RevealTokenResponse { token: token.reveal().to_owned() })
    }

    /// The newest token of a key, where it is kept and may be shown. The caller records that it is.
    pub(crate) fn kept_token(&self, permit: &Permit, key: &Key, account: &Account) -> Result<Token, Failure> {
        permit.check_grant(key)?;
        let secret = key.newest_secret().filter(|_| account.policy.recoverable);
        let (secret, sealed) = secret
            .and_then(|secret| Some((secret, secret.sealed.as_ref()?)))
            .ok_or(Failure::Refused(Refusal::NotRecoverable))?;
        let purpose = Purpose::Token { key_id: key.id.as_str(), version: secret.version };
        let opened = self.keyring.open(purpose, sealed).map_err(|_sealed| Failure::SealBroken)?;
        Token::from_sealed(&opened).map_err(|_bytes| Failure::SealBroken)
    }

    /// Changes a key by `change`, unless the same request has done so before.
    async fn change_key(
        &self,
        permit: &Permit,
        id: &KeyId,
        mark: Option<RequestMark>,
        action: Action,
        change: impl FnOnce(&mut Key, &Account, Timestamp) -> Result<(), Failure>,
    ) -> Result<(v1::Key, v1::Propagation), Failure> {
        let (key, propagation) = match self.begin(permit, mark.as_ref()).await? {
            Begun::Seen(logged) => {
                let propagation = self.everywhere(logged.revision).await?;
                (self.visible_key(permit, id).await?, propagation)
            }
            Begun::New(tx) => {
                let (mut key, account) = key_in(&tx, permit, id).await?;
                let before = key.clone();
                change(&mut key, &account, tx.now())?;
                check_room(&tx, &account, Some(&before), &key).await?;
                tx.update_key(&mut key).await?;
                let event = key_event(permit, action, mark, Some(&before), Some(&key), tx.now())?;
                let propagation = self.finish(tx, event).await?;
                (key, propagation)
            }
        };
        Ok((self.show(&key), propagation_to_proto(&propagation)))
    }

    fn show(&self, key: &Key) -> v1::Key {
        wire::key::key_to_proto(key, self.view.time())
    }
}
