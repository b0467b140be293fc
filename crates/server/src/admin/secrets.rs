//! The secrets of keys: minting them, and showing a token again that is kept.

use key_authority_domain::account::Account;
use key_authority_domain::audit::{Action, LoggedEvent};
use key_authority_domain::foreign::Scheme;
use key_authority_domain::id::KeyId;
use key_authority_domain::key::{Key, MintedSecret};
use key_authority_domain::policy_error::PolicyError;
use key_authority_domain::seal::SealContext;
use key_authority_domain::secret::Keyring;
use key_authority_domain::token::Token;
use key_authority_proto::v1;
use key_authority_storage::read_tx::ReadTx;

use super::audited::{AuditRecord, key_in};
use super::context::Admin;
use super::replay::Replay;
use crate::auth::call::Call;
use crate::auth::permit::TxPermit;
use crate::entropy;
use crate::rpc::errors::RpcError;
use crate::wire;

/// A new secret: what its holder gets, and what is kept.
pub(super) struct Minted {
    /// The token.
    pub(super) token: Token,
    /// What is kept of it.
    pub(super) secret: MintedSecret,
}

/// Makes a secret as the account's policy says. `version` is its number.
pub(super) fn mint_secret(
    keyring: &Keyring,
    account: &Account,
    key_id: &KeyId,
    version: u32,
) -> Result<Minted, RpcError> {
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
    Ok(Minted { token, secret })
}

/// A token that is shown again. A call that shows one has no `request_id`, so it is never replayed.
struct Revealed(Token);

impl Replay for Revealed {
    async fn replay(_: &ReadTx, _: &TxPermit, _: &LoggedEvent) -> Result<Self, RpcError> {
        Err(RpcError::RequestIdReused)
    }
}

impl Admin {
    /// `RevealToken`. It changes nothing, so there is nothing to wait for; but it is recorded before it is done.
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

    /// The newest token of a key, where it is kept and may be shown. The caller records that it is.
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
            .ok_or(RpcError::Refused(PolicyError::NotRecoverable))?;
        let context = SealContext::Token { key_id: key.id.as_str(), version: secret.version };
        let opened = self.keyring.open(context, sealed).map_err(|_sealed| RpcError::SealBroken)?;
        Token::from_sealed(&opened).map_err(|_bytes| RpcError::SealBroken)
    }
}
