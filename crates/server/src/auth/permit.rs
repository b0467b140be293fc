//! What a caller may do: the only place where a [`Permit`] and a [`TxPermit`] are made.
//!
//! A caller presents a token of a key of account `system`, and `decide` decides about it as about every other. The scopes of
//! the key are permissions, its projects are the accounts that it may act on.
//!
//! A caller is authorized twice: when the call arrives, by the resident index, and where something changes or is revealed, by
//! the transaction that does it. A caller that is revoked while its calls wait for the lock changes nothing any more.

use std::net::IpAddr;
use std::sync::Arc;

use key_authority_domain::access::{Access, ProjectAccess};
use key_authority_domain::id::{AccountId, Actor, SYSTEM_ACCOUNT};
use key_authority_domain::key::Key;
use key_authority_domain::permission::Permission;
use key_authority_domain::time::Timestamp;
use key_authority_domain::verdict::{KeyFacts, Question, Verdict, decide};
use key_authority_replica::index::SharedKeyRecord;
use key_authority_replica::{LeaseProof, ReplicaState};
use key_authority_storage::caller_read::StoredCaller;
use key_authority_storage::page::AccountScope;
use key_authority_storage::read_tx::ReadTx;

use super::credential::{Authentication, Credential, MISSING, UNKNOWN, Unauthenticated};
use crate::rpc::errors::RpcError;

impl From<Unauthenticated> for RpcError {
    fn from(Unauthenticated(why): Unauthenticated) -> Self {
        Self::Unauthenticated(why)
    }
}

/// The right to do one thing, as decided when the call arrived: enough to read. What changes or reveals something authorizes
/// the caller again, in its transaction; see [`Permit::authorize_in`].
pub struct Permit {
    holder: Option<SharedKeyRecord>,
    lease: LeaseProof,
    /// Any of these is enough for the call.
    permissions: &'static [Permission],
    address: Option<IpAddr>,
}

impl Permit {
    /// Proof of the lease under which it was given. A question is decided at the same instant as its caller's right to ask.
    #[must_use]
    pub fn lease(&self) -> LeaseProof {
        self.lease
    }

    /// The caller, for the audit log.
    ///
    /// # Errors
    /// When the caller is anonymous.
    pub fn actor(&self) -> Result<Actor, RpcError> {
        let holder = self.holder.as_ref().ok_or(MISSING)?;
        Ok(Actor::from(holder.id()))
    }

    /// Authorizes the caller again, by what a transaction sees. Under the lock of a change, no event that ends the caller can
    /// come before the change without being seen here.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` or `PERMISSION_DENIED` where the caller has ended, or has lost the permission.
    pub async fn authorize_in(&self, tx: &ReadTx) -> Result<TxPermit, RpcError> {
        let holder = self.holder.as_ref().ok_or(MISSING)?;
        let caller = tx.caller(holder.digest()).await?.ok_or(UNKNOWN)?;
        evaluate(&caller.facts(), self.permissions, self.address, tx.now())?;
        Ok(TxPermit { actor: Actor::from(&caller.key_id), caller })
    }
}

impl Rights for Permit {
    /// None for an anonymous caller, who may only verify, and that everywhere.
    fn access(&self) -> Option<&Access> {
        self.holder.as_ref().map(|holder| holder.access())
    }
}

/// The right to do one thing, as decided inside a transaction. Only [`Permit::authorize_in`] makes one, and only with it an
/// event can be written or a grant be checked.
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
pub(crate) trait Rights {
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
/// held. The one function that decides about callers, at arrival and inside a transaction.
fn evaluate(
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
            Verdict::Malformed | Verdict::Unknown => return Err(UNKNOWN.into()),
            // The secret has matched: its holder may know why the key is not accepted.
            ended @ (Verdict::Disabled | Verdict::Revoked | Verdict::Expired | Verdict::AccountSuspended) => {
                return Err(RpcError::CallerEnded(ended));
            }
        }
    }
    Err(missing.map_or_else(|| UNKNOWN.into(), RpcError::PermissionMissing))
}

/// Authorizes callers by what this replica knows.
pub struct Authorizer {
    replica: Arc<ReplicaState>,
    is_verify_open: bool,
}

impl Authorizer {
    /// Authorizes by `replica`. With `is_verify_open`, a call without a token may verify.
    #[must_use]
    pub fn new(replica: Arc<ReplicaState>, is_verify_open: bool) -> Self {
        Self { replica, is_verify_open }
    }

    /// Whether the caller is one whom this replica knows, whatever it may do: enough to read its request. It is no use of
    /// the key.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, or that this replica has no lease.
    pub fn identify(&self, caller: &Authentication) -> Result<(), RpcError> {
        let Credential { digests, address } = caller.as_ref().map_err(|error| *error)?;
        let Some(digests) = digests else {
            return if self.is_verify_open { Ok(()) } else { Err(MISSING.into()) };
        };
        let lease = self.replica.lease_proof()?;
        let key = self.replica.find(lease, digests.iter().copied()).ok_or(UNKNOWN)?;
        let question = Question { account: Some(SYSTEM_ACCOUNT), client_ip: *address, ..Question::default() };
        match decide(Some(&key.facts()), &question, lease.now()) {
            Verdict::Valid | Verdict::ProjectDenied | Verdict::NetworkDenied => Ok(()),
            Verdict::Malformed | Verdict::Unknown | Verdict::ScopeDenied => Err(UNKNOWN.into()),
            ended => Err(RpcError::CallerEnded(ended)),
        }
    }

    /// The key that the caller presented a token of, for the log: also where it is not accepted.
    #[must_use]
    pub fn presented_key(&self, caller: &Authentication) -> Option<Actor> {
        let digests = caller.as_ref().ok()?.digests.as_ref()?;
        let key = self.replica.find(self.replica.lease_proof().ok()?, digests.iter().copied())?;
        key.account().is_system().then(|| Actor::from(key.id()))
    }

    /// The right to ask about tokens.
    ///
    /// # Errors
    /// As [`Authorizer::authorize_any`].
    pub fn authorize_verify(&self, caller: &Authentication) -> Result<Permit, RpcError> {
        self.authorize_any(caller, &[Permission::Verify])
    }

    /// The right to do what any of the `permissions` is for.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, `PERMISSION_DENIED`, or that this replica has no lease.
    pub fn authorize_any(
        &self,
        caller: &Authentication,
        permissions: &'static [Permission],
    ) -> Result<Permit, RpcError> {
        let &Credential { ref digests, address } = caller.as_ref().map_err(|error| *error)?;
        let Some(digests) = digests else {
            return if self.is_verify_open && permissions == [Permission::Verify] {
                Ok(Permit { holder: None, lease: self.replica.lease_proof()?, permissions, address })
            } else {
                Err(MISSING.into())
            };
        };
        let lease = self.replica.lease_proof()?;
        let key = self.replica.find(lease, digests.iter().copied()).ok_or(UNKNOWN)?;
        evaluate(&key.facts(), permissions, address, lease.now())?;
        self.replica.note_use(&key, lease.now());
        Ok(Permit { holder: Some(key), lease, permissions, address })
    }
}
