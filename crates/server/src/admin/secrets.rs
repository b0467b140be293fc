//! The secrets of keys: minting them, and revealing a sealed token.

use key_authority_domain::account::Account;
use key_authority_domain::audit::{Action, LoggedEvent};
use key_authority_domain::foreign::Scheme;
use key_authority_domain::id::KeyId;
use key_authority_domain::key::{Key, MintedSecret};
use key_authority_domain::policy_error::PolicyError;
use key_authority_domain::seal::{SealContext, UnsealError};
use key_authority_domain::secret::Keyring;
use key_authority_domain::token::Token;
use key_authority_proto::v1;
use key_authority_replica::index::SecretMissing;
use key_authority_storage::read_tx::ReadTx;
use key_authority_storage::write_tx::WriteTx;

use super::audited::{AuditRecord, key_in};
use super::context::Admin;
use super::mutate::check_log_format;
use super::replay::Replay;
use crate::auth::call::Call;
use crate::auth::permit::TxPermit;
use crate::entropy;
use crate::rpc::errors::RpcError;
use crate::wire;
use crate::wire::key::CallerDigest;

/// A new secret: the token for its holder, and the part that is stored.
pub(super) struct NewSecret {
    /// The token; `None` if the caller made it.
    pub(super) token: Option<Token>,
    /// The part that is stored.
    pub(super) secret: MintedSecret,
}

/// Mints a secret by the account's policy. `version` is its number.
fn mint_secret(keyring: &Keyring, account: &Account, key_id: &KeyId, version: u32) -> Result<NewSecret, RpcError> {
    let token = Token::mint(&account.policy.token_prefix, entropy::fill)?;
    let sealed = if account.policy.recoverable {
        let context = SealContext::Token { key_id: key_id.as_str(), version };
        Some(keyring.seal(context, token.reveal().as_bytes(), entropy::bytes()?))
    } else {
        None
    };
    let secret = MintedSecret {
        digest: keyring.digest(token.presented()),
        scheme: Scheme::Own,
        secret_version: keyring.current(),
        hint: token.hint(),
        sealed,
    };
    Ok(NewSecret { token: Some(token), secret })
}

/// A revealed token. A call that reveals one has no `request_id`, so it is never replayed.
struct Revealed(Token);

impl Replay for Revealed {
    async fn replay(_: &ReadTx, _: &TxPermit, _: &LoggedEvent) -> Result<Self, RpcError> {
        Err(RpcError::RequestIdReused)
    }
}

impl Admin {
    /// Returns a new secret for a key of the account: for the digest of a token that the caller made, or minted by the
    /// policy. `version` is its number.
    pub(super) async fn new_secret(
        &self,
        tx: &WriteTx<'_>,
        account: &Account,
        key_id: &KeyId,
        version: u32,
        digest: Option<&CallerDigest>,
    ) -> Result<NewSecret, RpcError> {
        match digest {
            None => mint_secret(&self.keyring, account, key_id, version),
            Some(digest) => Ok(NewSecret { token: None, secret: self.adopt(tx, account, digest).await? }),
        }
    }

    /// Returns the stored part of a token that the caller made.
    async fn adopt(
        &self,
        tx: &WriteTx<'_>,
        account: &Account,
        digest: &CallerDigest,
    ) -> Result<MintedSecret, RpcError> {
        if account.id.is_system() {
            return Err(PolicyError::AccountReserved.into());
        }
        account.policy.check_digest()?;
        check_log_format(tx, Action::ImportKeys).await?;
        if let Some(version) = tx.missing_secret() {
            // A token that exists already would get a second key.
            return Err(SecretMissing { version }.into());
        }
        let secret = digest.secret();
        if !tx.holders(&self.keyring.possible_digests(&secret)).await?.is_empty() {
            return Err(RpcError::TokenExists);
        }
        Ok(MintedSecret {
            digest: self.keyring.stored_digest(&secret),
            scheme: secret.scheme(),
            secret_version: self.keyring.current(),
            hint: digest.hint.clone(),
            sealed: None,
        })
    }

    /// `RevealToken`. It changes nothing, so there is no propagation to wait for, but it is audited before the token is
    /// returned.
    pub(super) async fn reveal_token(
        &self,
        call: &Call,
        request: v1::RevealTokenRequest,
    ) -> Result<v1::RevealTokenResponse, RpcError> {
        let id = &wire::key::reveal_token(&request)?;
        let revealed = self
            .transact(call, Action::RevealToken, &[], |tx, permit| async move {
                let (key, account) = key_in(&tx, &permit, id).await?;
                let token = self.reveal_sealed_token(&permit, &key, &account)?;
                let record = AuditRecord::changed(&key, &key, tx.now());
                Ok((tx, Revealed(token), record))
            })
            .await?;
        let Revealed(token) = revealed.result;
        Ok(v1::RevealTokenResponse { token: token.reveal().to_owned() })
    }

    /// Returns the newest token of a key, if it is stored sealed and the caller may see it. The caller of this function
    /// records the event.
    pub(super) fn reveal_sealed_token(
        &self,
        permit: &TxPermit,
        key: &Key,
        account: &Account,
    ) -> Result<Token, RpcError> {
        permit.check_grant(key)?;
        let secret = key.newest_secret().filter(|_| account.policy.recoverable);
        let (secret, sealed) = secret
            .and_then(|secret| Some((secret, secret.sealed.as_ref()?)))
            .ok_or(RpcError::Policy(PolicyError::NotRecoverable))?;
        let context = SealContext::Token { key_id: key.id.as_str(), version: secret.version };
        let opened = self.keyring.open(context, sealed).map_err(|error| match error {
            UnsealError::SecretMissing(version) if secret.secret_version == version => SecretMissing { version }.into(),
            _ => RpcError::UnsealFailed,
        })?;
        Token::from_sealed(&opened).map_err(|_bytes| RpcError::UnsealFailed)
    }
}
