//! RPCs on the key of a token that the caller presents: revoking and renewing it by possession.

use key_authority_domain::account::{Account, ExpiryChoice};
use key_authority_domain::audit::{Action, LoggedEvent};
use key_authority_domain::foreign::ImportedSecret;
use key_authority_domain::id::KeyId;
use key_authority_domain::key::{Key, KeyState, Secret};
use key_authority_domain::permission::Permission;
use key_authority_domain::policy_error::PolicyError;
use key_authority_domain::token::{Token, TokenDigest};
use key_authority_proto::v1;
use key_authority_replica::index::SecretMissing;
use key_authority_storage::holders::Holder;
use key_authority_storage::read_tx::ReadTx;
use key_authority_storage::write_tx::WriteTx;

use super::audited::{AuditRecord, key_in};
use super::context::Admin;
use super::keys::Renewal;
use super::replay::Replay;
use crate::auth::call::Call;
use crate::auth::permit::{Rights, TxPermit};
use crate::rpc::errors::RpcError;
use crate::wire::idempotency_key::keyed;
use crate::wire::{self, propagation::propagation_to_proto};

/// The digests under which a presented token may be stored, in the order in which Verify looks them up.
struct PresentedToken(Vec<TokenDigest>);

/// The key of a presented token, as read in a transaction.
struct Presented {
    key: Key,
    account: Account,
    /// The digest of the presented token.
    digest: TokenDigest,
}

impl Presented {
    fn is_newest(&self) -> bool {
        self.key.newest_secret().is_some_and(|secret| secret.digest == self.digest)
    }

    fn secret(&self) -> Option<&Secret> {
        self.key.secrets.iter().find(|secret| secret.digest == self.digest)
    }
}

/// The ID of a key that was revoked by its token.
struct RevokedKey(KeyId);

impl Replay for RevokedKey {
    async fn replay(tx: &ReadTx, permit: &TxPermit, logged: &LoggedEvent) -> Result<Self, RpcError> {
        Ok(Self(Key::replay(tx, permit, logged).await?.id))
    }
}

impl Admin {
    /// `RevokeToken`.
    pub(crate) async fn revoke_token(
        &self,
        call: &Call,
        request: v1::RevokeTokenRequest,
    ) -> Result<v1::RevokeTokenResponse, RpcError> {
        let spec = &wire::key::revoke_token(&request)?;
        let token = &self.stored_token(&spec.token).await?;
        let request_keys = keyed(&self.keyring, spec.request.as_ref());
        let (RevokedKey(key_id), propagation) = self
            .mutate(call, Action::RevokeToken, &request_keys, |tx, permit| async move {
                let Presented { mut key, account, .. } = presented_in(&tx, &permit, token).await?;
                if !permit.has(Permission::KeysRevoke) && !account.policy.holder.may_revoke {
                    return Err(RpcError::PermissionMissing(&[Permission::KeysRevoke]));
                }
                let before = key.clone();
                key.revoke(spec.reason.clone(), tx.now());
                tx.update_key(&mut key).await?;
                let record = AuditRecord::changed(&before, &key, tx.now());
                Ok((tx, RevokedKey(key.id), record))
            })
            .await?;
        Ok(v1::RevokeTokenResponse {
            key_id: key_id.as_str().to_owned(),
            propagation: propagation.as_ref().map(propagation_to_proto),
        })
    }

    /// `RenewToken`.
    pub(super) async fn renew_token(
        &self,
        call: &Call,
        request: v1::RenewTokenRequest,
    ) -> Result<v1::RenewTokenResponse, RpcError> {
        let spec = &wire::key::renew_token(&request)?;
        let token = &self.stored_token(&spec.token).await?;
        let request_keys = keyed(&self.keyring, spec.request.as_ref());
        let (issued, propagation) = self
            .mutate(call, Action::RenewToken, &request_keys, |tx, permit| async move {
                let presented = presented_in(&tx, &permit, token).await?;
                if !presented.is_newest() {
                    return Err(RpcError::KeyNotFound);
                }
                let Presented { key, account, .. } = presented;
                if !account.policy.holder.may_renew {
                    return Err(PolicyError::HolderMayNotRenew.into());
                }
                if key.state(tx.now()) != KeyState::Active {
                    return Err(PolicyError::KeyNotActive.into());
                }
                let renewal = Renewal { overlap: spec.overlap, expiry: ExpiryChoice::Unspecified, digest: None };
                let (issued, record) = self.renew_in(&tx, &permit, (key, account), renewal).await?;
                Ok((tx, issued, record))
            })
            .await?;
        Ok(v1::RenewTokenResponse {
            key: Some(self.key_to_proto(&issued.key)),
            token: issued.token(),
            propagation: propagation.as_ref().map(propagation_to_proto),
        })
    }

    /// Returns the digests of a token that a key has. A text that no key has as a token is rejected here, so that a
    /// caller without a token cannot make others wait for the lock.
    ///
    /// # Errors
    /// `KEY_NOT_FOUND`.
    async fn stored_token(&self, text: &str) -> Result<PresentedToken, RpcError> {
        let token = Token::imported(text).map_err(|_| RpcError::KeyNotFound)?;
        let token = PresentedToken(self.keyring.possible_digests(&ImportedSecret::Token(token)));
        let tx = self.store.begin_reading().await?;
        let is_stored = holder_in(&tx, &token).await?.is_some();
        drop(tx);
        // The transaction of the change finds out whether the digest of the token may be one that cannot be computed.
        if is_stored || self.replica.index().missing_secret().is_some() {
            Ok(token)
        } else {
            Err(RpcError::KeyNotFound)
        }
    }
}

async fn holder_in(tx: &ReadTx, token: &PresentedToken) -> Result<Option<(TokenDigest, Holder)>, RpcError> {
    let mut holders = tx.holders(&token.0).await?;
    Ok(token.0.iter().find_map(|digest| holders.remove(digest).map(|holder| (*digest, holder))))
}

/// Reads the key of a token, if the caller may see it and no renewal has ended the token.
async fn presented_in(tx: &WriteTx<'_>, permit: &TxPermit, token: &PresentedToken) -> Result<Presented, RpcError> {
    let Some((digest, holder)) = holder_in(tx, token).await? else {
        return Err(tx.missing_secret().map_or(RpcError::KeyNotFound, |version| SecretMissing { version }.into()));
    };
    let (key, account) = key_in(tx, permit, &holder.key_id).await?;
    let presented = Presented { key, account, digest };
    let is_retired = presented.secret().is_none_or(|secret| tx.now().is_past(secret.effective_retire_time()));
    if is_retired { Err(RpcError::KeyNotFound) } else { Ok(presented) }
}
