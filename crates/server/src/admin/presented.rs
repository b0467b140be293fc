//! RPCs on the key of a token that the caller presents: revoking and renewing it by possession.

use std::net::IpAddr;

use key_authority_domain::account::{Account, ExpiryChoice};
use key_authority_domain::audit::{Action, IdempotencyKey, LoggedEvent};
use key_authority_domain::foreign::Scheme;
use key_authority_domain::id::{KeyId, Revision};
use key_authority_domain::key::{Key, KeyState, Secret};
use key_authority_domain::permission::Permission;
use key_authority_domain::policy_error::PolicyError;
use key_authority_domain::token::{Malformed, Token, TokenDigest};
use key_authority_proto::v1;
use key_authority_replica::protocol::wait::CommittedChange;
use key_authority_storage::holders::Holder;
use key_authority_storage::read_tx::ReadTx;

use super::audited::{AuditRecord, key_in};
use super::context::Admin;
use super::keys::Renewal;
use super::mutate::{Mutated, replayed};
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

/// A key that was revoked by its token.
struct RevokedKey {
    id: KeyId,
    /// The revision that last changed the key.
    revision: Revision,
}

impl RevokedKey {
    fn of(key: &Key) -> Self {
        Self { id: key.id.clone(), revision: key.revision }
    }
}

impl Replay for RevokedKey {
    async fn replay(tx: &ReadTx, permit: &TxPermit, logged: &LoggedEvent) -> Result<Self, RpcError> {
        Ok(Self::of(&Key::replay(tx, permit, logged).await?))
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
        let token = &self.stored_digests(&spec.token)?;
        let request_keys = keyed(&self.keyring, spec.request.as_ref());
        // Who may revoke any key does not wait for a read: those of others must not delay the revocation of a token
        // that is known. One that is not known must not take the lock.
        if !call.permit.has(Permission::KeysRevoke) || !self.is_resident(token) {
            self.check_unlocked(call, &request_keys, token, check_may_revoke).await?;
        }
        let Mutated { result: RevokedKey { id, revision }, change } = self
            .transact(call, Action::RevokeToken, &request_keys, |tx, permit| async move {
                let presented = self.presented_in(&tx, &permit, token).await?;
                check_may_revoke(&permit, &presented)?;
                let Presented { mut key, .. } = presented;
                if key.revocation.is_some() {
                    return Ok((tx, RevokedKey::of(&key), None));
                }
                let before = key.clone();
                key.revoke(spec.reason.clone(), tx.now());
                tx.update_key(&mut key).await?;
                let record = AuditRecord::changed(&before, &key, tx.now());
                Ok((tx, RevokedKey::of(&key), Some(record)))
            })
            .await?;
        // Not every replica may enforce an earlier revocation yet.
        let change = change.unwrap_or(CommittedChange { revision, hash: None });
        let propagation = self.wait(call, change).await?;
        Ok(v1::RevokeTokenResponse {
            key_id: id.as_str().to_owned(),
            propagation: Some(propagation_to_proto(&propagation)),
        })
    }

    /// `RenewToken`.
    pub(super) async fn renew_token(
        &self,
        call: &Call,
        request: v1::RenewTokenRequest,
    ) -> Result<v1::RenewTokenResponse, RpcError> {
        let spec = &wire::key::renew_token(&request)?;
        let token = &self.stored_digests(&spec.token)?;
        let request_keys = keyed(&self.keyring, spec.request.as_ref());
        let check = |_: &TxPermit, presented: &Presented| check_may_renew(presented, spec.client_ip);
        self.check_unlocked(call, &request_keys, token, check).await?;
        let (issued, propagation) = self
            .mutate(call, Action::RenewToken, &request_keys, |tx, permit| async move {
                let presented = self.presented_in(&tx, &permit, token).await?;
                check_may_renew(&presented, spec.client_ip)?;
                let Presented { key, account, .. } = presented;
                if key.state(tx.now()) != KeyState::Active {
                    return Err(PolicyError::KeyNotActive.into());
                }
                let renewal = Renewal { overlap: spec.overlap, expiry: ExpiryChoice::Unspecified, digest: None };
                let (issued, record) = self.renew_in(&tx, &permit, (key, account), renewal).await?;
                Ok((tx, issued, record))
            })
            .await?;
        Ok(v1::RenewTokenResponse { key: Some(self.key_to_proto(&issued.key)), token: issued.token(), propagation })
    }

    /// Whether the replica has a key of the token. Without a lease, it does not know.
    fn is_resident(&self, PresentedToken(digests): &PresentedToken) -> bool {
        let lease = self.replica.lease_proof();
        lease.is_ok_and(|lease| self.replica.find(lease, digests.iter().copied()).is_some())
    }

    /// Returns the digests under which a token may be stored.
    ///
    /// # Errors
    /// `KEY_NOT_FOUND` if no token can have this text.
    fn stored_digests(&self, text: &str) -> Result<PresentedToken, RpcError> {
        let token = Token::parse_any(text).map_err(|Malformed| RpcError::KeyNotFound)?;
        // Whole tokens of other systems have the digests of own tokens.
        let schemes = Scheme::FOREIGN.into_iter();
        let digests = schemes.flat_map(|scheme| self.keyring.digests_for_scheme(scheme, token));
        Ok(PresentedToken(digests.collect()))
    }

    /// Refuses a request without waiting for the lock, unless it was made before: a caller that may only verify tokens
    /// must not make others wait.
    async fn check_unlocked(
        &self,
        call: &Call,
        request_keys: &[IdempotencyKey],
        token: &PresentedToken,
        check: impl Fn(&TxPermit, &Presented) -> Result<(), RpcError>,
    ) -> Result<(), RpcError> {
        let reading = self.begin_reading(call).await?;
        let (tx, permit) = (&reading.tx, &reading.permit);
        if replayed(tx, permit, request_keys).await?.is_some() {
            return Ok(());
        }
        check(permit, &self.presented_in(tx, permit, token).await?)
    }

    /// Reads the key of a token, if the caller may see it and no renewal has ended the token.
    async fn presented_in(
        &self,
        tx: &ReadTx,
        permit: &TxPermit,
        token: &PresentedToken,
    ) -> Result<Presented, RpcError> {
        let Some((digest, holder)) = holder_in(tx, token).await? else {
            let missing = self.replica.index().missing_secret();
            return Err(missing.map_or(RpcError::KeyNotFound, RpcError::from));
        };
        let (key, account) = key_in(tx, permit, &holder.key_id).await?;
        let presented = Presented { key, account, digest };
        let is_retired = presented.secret().is_none_or(|secret| tx.now().is_past(secret.effective_retire_time()));
        if is_retired { Err(RpcError::KeyNotFound) } else { Ok(presented) }
    }
}

fn check_may_revoke(permit: &TxPermit, presented: &Presented) -> Result<(), RpcError> {
    if permit.has(Permission::KeysRevoke) || presented.account.policy.holder.may_revoke {
        Ok(())
    } else {
        Err(RpcError::PermissionMissing(&[Permission::KeysRevoke]))
    }
}

fn check_may_renew(presented: &Presented, client_ip: Option<IpAddr>) -> Result<(), RpcError> {
    if !presented.is_newest() {
        Err(RpcError::KeyNotFound)
    } else if !presented.account.policy.holder.may_renew {
        Err(PolicyError::HolderMayNotRenew.into())
    } else if !presented.key.access.admits(client_ip) {
        Err(PolicyError::HolderNetworkDenied.into())
    } else {
        Ok(())
    }
}

async fn holder_in(tx: &ReadTx, token: &PresentedToken) -> Result<Option<(TokenDigest, Holder)>, RpcError> {
    let mut holders = tx.holders(&token.0).await?;
    Ok(token.0.iter().find_map(|digest| holders.remove(digest).map(|holder| (*digest, holder))))
}
