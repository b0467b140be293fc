//! Who calls, and what they may: the only place where a [`Permit`] and a [`TxPermit`] are made.
//!
//! A caller presents a token of a key of account `system`, and is judged by the same `decide` as everybody else. The
//! key's scopes are permissions, its projects are the accounts that it may act on.
//!
//! A caller is judged twice: when the call arrives, by the resident index, and where something changes or is revealed, by
//! the transaction that does it. A caller that is revoked while its calls wait for the lock changes nothing any more.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use key_authority_domain::access::{Access, ProjectAccess};
use key_authority_domain::id::{AccountId, Actor, SYSTEM_ACCOUNT};
use key_authority_domain::key::Key;
use key_authority_domain::permission::Permission;
use key_authority_domain::secret::Keyring;
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::{Token, TokenDigest};
use key_authority_domain::verdict::{KeyFacts, Question, Verdict, decide};
use key_authority_replica::index::Record;
use key_authority_replica::{LeaseProof, ReplicaState};
use key_authority_storage::caller_read::StoredCaller;
use key_authority_storage::page::AccountScope;
use key_authority_storage::read_tx::ReadTx;

use crate::rpc::errors::RpcError;

/// What a call brings along to say who makes it. It can be judged again and again: a stream's is, for every question.
#[derive(Clone)]
pub struct Credential {
    /// Under each version of the authority secret; none for a call without a token. The token itself is not kept.
    digests: Option<Arc<[TokenDigest]>>,
    address: Option<IpAddr>,
}

/// The right to do one thing, as judged when the call arrived: enough to read. What changes or reveals something judges
/// the caller again, in its transaction; see [`Permit::judge_in`].
pub struct Permit {
    holder: Option<Record>,
    moment: LeaseProof,
    /// Any of these is enough for the call.
    permissions: &'static [Permission],
    address: Option<IpAddr>,
}

impl Permit {
    /// When it was given; a question is judged by the same instant as who asks it.
    #[must_use]
    pub fn moment(&self) -> LeaseProof {
        self.moment
    }

    /// The caller, for the audit log.
    ///
    /// # Errors
    /// When the caller is anonymous.
    pub fn actor(&self) -> Result<Actor, RpcError> {
        let holder = self.holder.as_ref().ok_or(MISSING)?;
        Ok(Actor::from(holder.id()))
    }

    /// Judges the caller again by what a transaction sees. Under the lock of a change, no event that ends the caller can
    /// come before the change without being seen here.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` or `PERMISSION_DENIED` where the caller has ended, or has lost the permission.
    pub async fn judge_in(&self, tx: &ReadTx) -> Result<TxPermit, RpcError> {
        let holder = self.holder.as_ref().ok_or(MISSING)?;
        let caller = tx.caller(holder.digest()).await?.ok_or(UNKNOWN)?;
        judge(&caller.facts(), self.permissions, self.address, tx.now())?;
        Ok(TxPermit { actor: Actor::from(&caller.key_id), caller })
    }
}

impl Rights for Permit {
    /// None for an anonymous caller, who may only verify, and that everywhere.
    fn access(&self) -> Option<&Access> {
        self.holder.as_ref().map(|holder| holder.access())
    }
}

/// The right to do one thing, as judged inside a transaction. Only [`Permit::judge_in`] makes one, and only with it an event
/// can be written or a grant be checked.
pub struct TxPermit {
    actor: Actor,
    caller: StoredCaller,
}

impl TxPermit {
    /// The caller, for the audit log.
    #[must_use]
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Checks that a key of account `system` holds no more than the caller: before it is changed or ended, and after it was
    /// created or changed. A grant never outlives what grants it, so it is bounded by the end of the presented token; and a
    /// token that a renewal has replaced grants nothing.
    ///
    /// # Errors
    /// `GRANT_EXCEEDS_CALLER`.
    pub fn check_grant(&self, key: &Key) -> Result<(), RpcError> {
        let StoredCaller { access, is_newest_token, .. } = &self.caller;
        let is_held =
            *is_newest_token && Permission::may_grant(access, self.caller.token_end(), &key.access, key.expire_time);
        if !key.account.is_system() || is_held { Ok(()) } else { Err(RpcError::GrantExceedsCaller) }
    }

    /// Checks that the caller may change the account: a change of account `system` concerns all callers.
    ///
    /// # Errors
    /// `GRANT_EXCEEDS_CALLER`.
    pub fn check_policy(&self, account: &AccountId) -> Result<(), RpcError> {
        if account.is_system() { self.check_all_accounts() } else { Ok(()) }
    }

    /// Checks that the caller covers all accounts, by a token that no renewal has replaced.
    ///
    /// # Errors
    /// `GRANT_EXCEEDS_CALLER`.
    pub fn check_all_accounts(&self) -> Result<(), RpcError> {
        let covers_all = self.caller.access.projects == ProjectAccess::All;
        if covers_all && self.caller.is_newest_token { Ok(()) } else { Err(RpcError::GrantExceedsCaller) }
    }
}

impl Rights for TxPermit {
    fn access(&self) -> Option<&Access> {
        Some(&self.caller.access)
    }
}

/// What a caller may do beside what it was let in for.
pub trait Rights {
    /// What the caller's key opens; None where there is no limit.
    fn access(&self) -> Option<&Access>;

    /// Whether the caller has this permission.
    fn has(&self, permission: Permission) -> bool {
        self.access().is_some_and(|access| access.scopes.contains(permission.as_str()))
    }

    /// Whether the caller may act on the account.
    fn covers(&self, account: &AccountId) -> bool {
        self.access().is_none_or(|access| access.projects.covers(Some(account.as_str())))
    }

    /// The accounts that the caller may act on.
    fn accounts(&self) -> AccountScope {
        match self.access().map(|access| &access.projects) {
            None | Some(ProjectAccess::All) => AccountScope::All,
            // What is no account ID names no account.
            Some(ProjectAccess::Only(names)) => {
                AccountScope::Only(names.iter().filter_map(|name| AccountId::new(name.as_str()).ok()).collect())
            }
        }
    }
}

/// Decides whether a caller's key has any of the `permissions`. They are tried in turn; the first is named when none is
/// held. The one function that judges callers, at arrival and inside a transaction.
fn judge(
    facts: &KeyFacts<'_>,
    permissions: &[Permission],
    address: Option<IpAddr>,
    now: Timestamp,
) -> Result<(), RpcError> {
    let mut missing = None;
    for permission in permissions {
        let question = Question {
            account: Some(SYSTEM_ACCOUNT),
            scopes: &[permission.as_str()],
            client_ip: address,
            ..Question::default()
        };
        match decide(Some(facts), &question, now) {
            Verdict::Valid => return Ok(()),
            Verdict::ScopeDenied => {
                missing.get_or_insert(*permission);
            }
            Verdict::ProjectDenied => return Err(RpcError::NoAccounts),
            Verdict::NetworkDenied => return Err(RpcError::CallerNetworkDenied),
            Verdict::Malformed
            | Verdict::Unknown
            | Verdict::Disabled
            | Verdict::Revoked
            | Verdict::Expired
            | Verdict::AccountSuspended => return Err(UNKNOWN),
        }
    }
    Err(missing.map_or(UNKNOWN, RpcError::PermissionMissing))
}

/// The answer to every caller whose token is not accepted, for any cause.
const UNKNOWN: RpcError = RpcError::Unauthenticated("the caller's token is not valid");

/// The answer to a caller without a token.
const MISSING: RpcError = RpcError::Unauthenticated("the authorization header is missing");

/// Judges callers.
pub struct Callers {
    view: Arc<ReplicaState>,
    keyring: Arc<Keyring>,
    is_verify_open: bool,
}

impl Callers {
    /// Judges by what the replica knows. With `is_verify_open`, a call without a token may verify.
    #[must_use]
    pub fn new(view: Arc<ReplicaState>, keyring: Arc<Keyring>, is_verify_open: bool) -> Self {
        Self { view, keyring, is_verify_open }
    }

    /// Reads the `authorization` header of a call from `address`.
    ///
    /// # Errors
    /// When there is one that is no bearer token, or none of ours.
    pub fn credential(&self, headers: &HeaderMap, address: Option<IpAddr>) -> Result<Credential, RpcError> {
        let Some(value) = headers.get(AUTHORIZATION) else { return Ok(Credential { digests: None, address }) };
        let text =
            value.to_str().map_err(|_| RpcError::Unauthenticated("the authorization header is not ASCII text"))?;
        let token = match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => return Err(RpcError::Unauthenticated("the authorization header is not of the form Bearer <token>")),
        };
        let token = Token::parse(token).map_err(|_malformed| UNKNOWN)?;
        Ok(Credential { digests: Some(self.keyring.digests(token).collect()), address })
    }

    /// Whether anybody whom this replica knows calls, as far as can be told before the request is read: what they may do is
    /// judged when it is. It is no use of the key.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, or that this replica cannot tell.
    pub fn know(&self, credential: &Credential) -> Result<(), RpcError> {
        let Some(digests) = &credential.digests else {
            return if self.is_verify_open { Ok(()) } else { Err(MISSING) };
        };
        let moment = self.view.moment()?;
        let secret = self.view.find(moment, digests.iter().copied()).ok_or(UNKNOWN)?;
        let question = Question { account: Some(SYSTEM_ACCOUNT), client_ip: credential.address, ..Question::default() };
        match decide(Some(&secret.facts()), &question, moment.now()) {
            Verdict::Valid | Verdict::ProjectDenied | Verdict::NetworkDenied => Ok(()),
            _ => Err(UNKNOWN),
        }
    }

    /// The right to ask about tokens.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, `PERMISSION_DENIED`, or that this replica cannot tell.
    pub fn authorize_verify(&self, credential: &Credential) -> Result<Permit, RpcError> {
        self.authorize_any(credential, &[Permission::Verify])
    }

    /// The right to do what any of the `permissions` is for.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, `PERMISSION_DENIED`, or that this replica cannot tell.
    pub fn authorize_any(
        &self,
        credential: &Credential,
        permissions: &'static [Permission],
    ) -> Result<Permit, RpcError> {
        let address = credential.address;
        let Some(digests) = &credential.digests else {
            return if self.is_verify_open && permissions == [Permission::Verify] {
                Ok(Permit { holder: None, moment: self.view.moment()?, permissions, address })
            } else {
                Err(MISSING)
            };
        };
        let moment = self.view.moment()?;
        let Some(secret) = self.view.find(moment, digests.iter().copied()) else { return Err(UNKNOWN) };
        judge(&secret.facts(), permissions, address, moment.now())?;
        self.view.note_use(&secret, moment.now());
        Ok(Permit { holder: Some(secret), moment, permissions, address })
    }
}
