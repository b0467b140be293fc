//! Authorization: the only module that makes a [`Permit`] or a [`TxPermit`].
//!
//! A caller presents a token of a key of account `system`, and `decide` evaluates it like every other token. The scopes
//! of the key are permissions; its projects are the accounts that it may act on.
//!
//! A caller is authorized twice: when the call arrives, by the resident index; and, for a call that changes or reveals
//! something, by the transaction that does it. A caller that is revoked while its calls wait for the lock changes
//! nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use key_authority_domain::access::{Access, ProjectAccess};
use key_authority_domain::id::{AccountId, Actor, SYSTEM_ACCOUNT};
use key_authority_domain::key::Key;
use key_authority_domain::permission::Permission;
use key_authority_domain::portal::PortalAction;
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::TokenDigest;
use key_authority_domain::verdict::{KeyFacts, Question, Verdict, decide};
use key_authority_replica::index::SharedKeyRecord;
use key_authority_replica::{LeaseProof, ReplicaState};
use key_authority_storage::caller_read::StoredCaller;
use key_authority_storage::page::AccountScope;
use key_authority_storage::read_tx::ReadTx;
use tonic::Code;

use super::credential::{Authentication, Credential, MISSING, PORTAL_ENDED, UNKNOWN, Unauthenticated};
use super::portal::{Author, PortalGrant};
use crate::rpc::errors::{GrantExcess, RpcError};

impl From<Unauthenticated> for RpcError {
    fn from(Unauthenticated(why): Unauthenticated) -> Self {
        Self::Unauthenticated(why)
    }
}

/// The right to do one thing, as decided when the call arrived. It is enough for reads. A call that changes or reveals
/// something authorizes the caller again in its transaction; see [`Permit::authorize_in`].
pub struct Permit {
    holder: Option<SharedKeyRecord>,
    lease: LeaseProof,
    /// The permissions of the call; any of them is enough.
    permissions: &'static [Permission],
    address: Option<IpAddr>,
    /// The portal session, and what it leaves of the caller's access.
    portal: Option<(Arc<PortalGrant>, Access)>,
}

impl Permit {
    /// Returns the proof of the lease under which the permit was given. A question is decided at the same instant as
    /// its caller's right to ask it.
    #[must_use]
    pub fn lease(&self) -> LeaseProof {
        self.lease
    }

    /// Returns the caller, for the audit log.
    ///
    /// # Errors
    /// When the caller is anonymous.
    pub fn actor(&self) -> Result<Actor, RpcError> {
        let holder = self.holder.as_ref().ok_or(MISSING)?;
        Ok(Actor::from(holder.id()))
    }

    /// Authorizes the caller again, by the state in a transaction.
    ///
    /// A change runs under the lock on the log, so this sees every event before the change that ends the caller.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` or `PERMISSION_DENIED` if the caller's key has ended or has lost the permission.
    pub async fn authorize_in(&self, tx: &ReadTx) -> Result<TxPermit, RpcError> {
        let holder = self.holder.as_ref().ok_or(MISSING)?;
        let mut caller = tx.caller(holder.digest()).await?.ok_or(UNKNOWN)?;
        let portal = self.portal.as_ref().map(|(grant, _)| Arc::clone(grant));
        if let Some(grant) = &portal {
            caller.access = narrow(&caller.access, grant, tx.now())?;
        }
        check_permissions(&caller.facts(), self.permissions, None, self.address, tx.now())?;
        Ok(TxPermit { author: Author { actor: Actor::from(&caller.key_id), portal }, caller })
    }

    /// Returns the digest of the token that the caller presented, and its address.
    ///
    /// # Errors
    /// When the caller is anonymous.
    pub(crate) fn presented(&self) -> Result<(TokenDigest, Option<IpAddr>), RpcError> {
        let holder = self.holder.as_ref().ok_or(MISSING)?;
        Ok((*holder.digest(), self.address))
    }
}

impl Rights for Permit {
    /// `None` for an anonymous caller, which may only verify, on all accounts.
    fn access(&self) -> Option<&Access> {
        match &self.portal {
            Some((_, narrowed)) => Some(narrowed),
            None => self.holder.as_ref().map(|holder| holder.access()),
        }
    }
}

/// The right to do one thing, as decided inside a transaction. Only [`Permit::authorize_in`] makes one. Writing an
/// event and checking a grant require it.
pub struct TxPermit {
    author: Author,
    caller: StoredCaller,
}

impl TxPermit {
    /// Returns the caller, for the audit log.
    #[must_use]
    pub fn actor(&self) -> &Actor {
        &self.author.actor
    }

    /// Returns the author of events that the permit allows.
    pub(crate) fn author(&self) -> Author {
        self.author.clone()
    }

    /// Checks that the caller may let a user do this, and returns the end of the presented token: a portal session is
    /// no more than its caller, and does not outlive it.
    ///
    /// # Errors
    /// `GRANT_EXCEEDS_CALLER`.
    pub fn check_portal(&self, may: &BTreeSet<PortalAction>) -> Result<Option<Timestamp>, RpcError> {
        let exceeding: Vec<_> = may.iter().copied().filter(|action| !action.is_held_by(&self.caller.access)).collect();
        if exceeding.is_empty() { Ok(self.caller.token_end()) } else { Err(RpcError::PortalExceedsCaller(exceeding)) }
    }

    /// Checks that a key of account `system` has no more rights than the caller: before it is changed or ended, and
    /// after it was created or changed.
    ///
    /// A grant never outlives the token that grants it, so it is bounded by the end of the presented token. A token
    /// that a renewal has replaced grants nothing.
    ///
    /// # Errors
    /// `GRANT_EXCEEDS_CALLER`.
    pub fn check_grant(&self, key: &Key) -> Result<(), RpcError> {
        let caller = &self.caller;
        let may_grant = caller.is_newest_token
            && Permission::may_grant(&caller.access, caller.token_end(), &key.access, key.expire_time);
        if !key.account.is_system() || may_grant { Ok(()) } else { Err(RpcError::GrantExceedsCaller(self.excess(key))) }
    }

    /// Checks that the caller may change the account. A change of account `system` affects all callers.
    ///
    /// # Errors
    /// `GRANT_EXCEEDS_CALLER`.
    pub fn check_policy(&self, account: &AccountId) -> Result<(), RpcError> {
        if account.is_system() { self.check_all_accounts() } else { Ok(()) }
    }

    /// Checks that the caller may act on all accounts, with a token that no renewal has replaced.
    ///
    /// # Errors
    /// `GRANT_EXCEEDS_CALLER`.
    pub fn check_all_accounts(&self) -> Result<(), RpcError> {
        if !self.caller.is_newest_token {
            Err(RpcError::GrantExceedsCaller(GrantExcess::ReplacedToken))
        } else if self.caller.access.projects == ProjectAccess::All {
            Ok(())
        } else {
            Err(RpcError::GrantExceedsCaller(GrantExcess::Accounts))
        }
    }

    /// Returns why the grant of `key` was rejected, for the message. [`Permission::may_grant`] makes the decision.
    fn excess(&self, key: &Key) -> GrantExcess {
        let StoredCaller { access, is_newest_token, .. } = &self.caller;
        if !is_newest_token {
            GrantExcess::ReplacedToken
        } else if !key.access.scopes.is_subset(&access.scopes) {
            GrantExcess::Scopes
        } else if !access.projects.includes(&key.access.projects) {
            GrantExcess::Accounts
        } else if !access.confines(&key.access) {
            GrantExcess::Networks
        } else {
            GrantExcess::Expiry
        }
    }
}

impl Rights for TxPermit {
    fn access(&self) -> Option<&Access> {
        Some(&self.caller.access)
    }
}

/// The rights of a caller beyond the permission that it was authorized for.
pub(crate) trait Rights {
    /// Returns the access of the caller's key; `None` if there is no limit.
    fn access(&self) -> Option<&Access>;

    /// Whether the caller has this permission.
    fn has(&self, permission: Permission) -> bool {
        self.access().is_some_and(|access| access.scopes.contains(permission.as_str()))
    }

    /// Whether the caller may act on the account.
    fn covers(&self, account: &AccountId) -> bool {
        self.access().is_none_or(|access| access.projects.covers(Some(account.as_str())))
    }

    /// Returns the accounts that the caller may act on.
    fn accounts(&self) -> AccountScope {
        match self.access().map(|access| &access.projects) {
            None | Some(ProjectAccess::All) => AccountScope::All,
            // A project that is not a valid account ID names no account.
            Some(ProjectAccess::Only(names)) => {
                AccountScope::Only(names.iter().filter_map(|name| AccountId::new(name.as_str()).ok()).collect())
            }
        }
    }
}

/// Returns the access of a portal session, as long as its caller may have it.
fn narrow(held: &Access, grant: &PortalGrant, now: Timestamp) -> Result<Access, RpcError> {
    let narrowed = PortalAction::narrow(held, &grant.account, &grant.may).filter(|_| !now.is_past(Some(grant.end)));
    narrowed.ok_or_else(|| PORTAL_ENDED.into())
}

/// Decides whether a caller's key has any of the `permissions`; when it has none, the error lists them all. Both the
/// check at arrival and the one inside a transaction use this function.
fn check_permissions(
    facts: &KeyFacts<'_>,
    permissions: &'static [Permission],
    key_id: Option<&str>,
    address: Option<IpAddr>,
    now: Timestamp,
) -> Result<(), RpcError> {
    let mut lacks_scope = false;
    for permission in permissions {
        let question = Question {
            account: Some(SYSTEM_ACCOUNT),
            scopes: &[permission.as_str()],
            client_ip: address,
            key_id,
            ..Question::default()
        };
        match decide(Some(facts), &question, now) {
            Verdict::Valid => return Ok(()),
            Verdict::ScopeDenied => lacks_scope = true,
            Verdict::ProjectDenied => return Err(RpcError::NoAccounts),
            Verdict::NetworkDenied => return Err(RpcError::CallerNetworkDenied),
            verdict => return Err(rejected(verdict)),
        }
    }
    Err(if lacks_scope { RpcError::PermissionMissing(permissions) } else { UNKNOWN.into() })
}

/// Returns the error for a caller's key that is not valid for any call.
fn rejected(verdict: Verdict) -> RpcError {
    match verdict {
        // The secret has matched, so its holder may know why the key is rejected.
        Verdict::Disabled | Verdict::Revoked | Verdict::Expired | Verdict::AccountSuspended => {
            RpcError::CallerEnded(verdict)
        }
        _ => UNKNOWN.into(),
    }
}

/// Authorizes callers by the resident index of this replica.
pub struct Authorizer {
    replica: Arc<ReplicaState>,
    anonymous_verify: bool,
}

impl Authorizer {
    /// Makes an authorizer that uses `replica`. With `anonymous_verify`, a call without a token may verify.
    #[must_use]
    pub fn new(replica: Arc<ReplicaState>, anonymous_verify: bool) -> Self {
        Self { replica, anonymous_verify }
    }

    /// Checks that this replica knows the caller, with any permissions: enough to read its request. It does not count
    /// as a use of the key.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, or [`RpcError::NoLease`].
    pub fn identify(&self, caller: &Authentication) -> Result<(), RpcError> {
        let Credential { digests, address, key_id, portal: _ } = caller.as_ref().map_err(|error| *error)?;
        let Some(digests) = digests else {
            return if self.anonymous_verify { Ok(()) } else { Err(MISSING.into()) };
        };
        let lease = self.replica.lease_proof()?;
        let key = self.find(lease, digests)?;
        let key_id = key_id.as_deref();
        let question = Question { account: Some(SYSTEM_ACCOUNT), client_ip: *address, key_id, ..Question::default() };
        match decide(Some(&key.facts()), &question, lease.now()) {
            Verdict::Valid | Verdict::ProjectDenied | Verdict::NetworkDenied => Ok(()),
            verdict => Err(rejected(verdict)),
        }
    }

    /// Looks the token of a caller up.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, or [`RpcError::SecretMissing`].
    fn find(&self, lease: LeaseProof, digests: &[TokenDigest]) -> Result<SharedKeyRecord, RpcError> {
        let key = self.replica.find(lease, digests.iter().copied());
        key.ok_or_else(|| self.replica.index().missing_secret().map_or_else(|| UNKNOWN.into(), RpcError::from))
    }

    /// Whether the caller has a valid token of a caller. An anonymous caller is not known, even if it may verify.
    #[must_use]
    pub fn is_known(&self, caller: &Authentication) -> bool {
        caller.as_ref().is_ok_and(|credential| credential.digests.is_some()) && self.identify(caller).is_ok()
    }

    /// Returns a function that reports whether the key of a caller has ended in the meantime. An outage ends no key.
    pub(crate) fn has_ended(self: &Arc<Self>, caller: &Authentication) -> impl Fn() -> bool + Send + Sync + use<> {
        let (authorizer, caller) = (Arc::clone(self), caller.clone());
        move || authorizer.identify(&caller).is_err_and(|error| error.code().0 == Code::Unauthenticated)
    }

    /// Returns the key whose token the caller presented, for the log, even if the key is not accepted.
    #[must_use]
    pub fn presented_key(&self, caller: &Authentication) -> Option<Actor> {
        let digests = caller.as_ref().ok()?.digests.as_ref()?;
        let key = self.replica.find(self.replica.lease_proof().ok()?, digests.iter().copied())?;
        key.account().is_system().then(|| Actor::from(key.id()))
    }

    /// Authorizes a caller to verify tokens.
    ///
    /// # Errors
    /// As [`Authorizer::authorize_any`].
    pub fn authorize_verify(&self, caller: &Authentication) -> Result<Permit, RpcError> {
        self.authorize_any(caller, &[Permission::Verify])
    }

    /// Authorizes a caller for a call for which any of the `permissions` is enough.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, `PERMISSION_DENIED`, or that this replica has no lease.
    pub fn authorize_any(
        &self,
        caller: &Authentication,
        permissions: &'static [Permission],
    ) -> Result<Permit, RpcError> {
        let &Credential { ref digests, address, ref key_id, ref portal } = caller.as_ref().map_err(|error| *error)?;
        let Some(digests) = digests else {
            return if self.anonymous_verify && permissions == [Permission::Verify] {
                Ok(Permit { holder: None, lease: self.replica.lease_proof()?, permissions, address, portal: None })
            } else {
                Err(MISSING.into())
            };
        };
        let lease = self.replica.lease_proof()?;
        let key = self.find(lease, digests)?;
        let narrow = |grant: &Arc<PortalGrant>| {
            Ok::<_, RpcError>((Arc::clone(grant), narrow(key.access(), grant, lease.now())?))
        };
        let portal = portal.as_ref().map(narrow).transpose()?;
        let access = portal.as_ref().map_or(key.access(), |(_, narrowed)| narrowed);
        let facts = KeyFacts { access, ..key.facts() };
        check_permissions(&facts, permissions, key_id.as_deref(), address, lease.now())?;
        self.replica.note_use(&key, lease.now());
        Ok(Permit { holder: Some(key), lease, permissions, address, portal })
    }
}
