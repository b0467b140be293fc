//! Who calls, and what they may: the only place where a [`Permit`] is made.
//!
//! A caller presents a token of a key of account `system`, and is judged by the same `decide` as everybody else. The
//! key's scopes are permissions, its projects are the accounts that it may act on.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use key_authority_domain::access::{Access, ProjectAccess};
use key_authority_domain::id::{AccountId, Actor, SYSTEM_ACCOUNT};
use key_authority_domain::key::Key;
use key_authority_domain::permission::Permission;
use key_authority_domain::secret::Keyring;
use key_authority_domain::token::{Token, TokenDigest};
use key_authority_domain::verdict::{Question, Verdict, decide};
use key_authority_replica::index::Record;
use key_authority_replica::{Moment, View};
use key_authority_storage::page::AccountScope;

use crate::status::Failure;

/// What a call brings along to say who makes it. It can be judged again and again: a stream's is, for every question.
#[derive(Clone)]
pub struct Credential {
    /// Under each version of the authority secret; none for a call without a token. The token itself is not kept.
    digests: Option<Arc<[TokenDigest]>>,
    address: Option<IpAddr>,
}

/// The right to do one thing, as whoever holds it.
pub struct Permit {
    holder: Option<Record>,
    moment: Moment,
}

impl Permit {
    /// When it was given; a question is judged by the same instant as who asks it.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// Who the caller is, for the audit log.
    ///
    /// # Errors
    /// When it is nobody: nobody changes anything.
    pub fn actor(&self) -> Result<Actor, Failure> {
        let holder = self.holder.as_ref().ok_or(Failure::CallerUnknown("the authorization header is missing"))?;
        Ok(Actor::from(holder.id()))
    }

    /// Whether the caller has a permission beside the one that this was given for.
    #[must_use]
    pub fn has(&self, permission: Permission) -> bool {
        self.access().is_some_and(|access| access.scopes.contains(permission.as_str()))
    }

    /// Whether the caller may act on the account.
    #[must_use]
    pub fn covers(&self, account: &AccountId) -> bool {
        self.access().is_none_or(|access| access.projects.covers(Some(account.as_str())))
    }

    /// The accounts that the caller may act on.
    #[must_use]
    pub fn accounts(&self) -> AccountScope {
        match self.access().map(|access| &access.projects) {
            None | Some(ProjectAccess::All) => AccountScope::All,
            // What is no account ID names no account.
            Some(ProjectAccess::Only(names)) => {
                AccountScope::Only(names.iter().filter_map(|name| AccountId::new(name.as_str()).ok()).collect())
            }
        }
    }

    /// Checks that the caller holds all that a key of account `system` holds: before it is handed out, and before
    /// somebody who holds less changes or ends it.
    ///
    /// # Errors
    /// `GRANT_EXCEEDS_CALLER`.
    pub fn check_grant(&self, key: &Key) -> Result<(), Failure> {
        let is_held = self.holder.as_ref().is_some_and(|holder| {
            Permission::may_grant(holder.access(), holder.expire_time(), &key.access, key.expire_time)
        });
        if !key.account.is_system() || is_held { Ok(()) } else { Err(Failure::GrantExceedsCaller) }
    }

    /// Checks that the caller may change the account: what the account `system` is, all callers feel.
    ///
    /// # Errors
    /// `GRANT_EXCEEDS_CALLER`.
    pub fn check_policy(&self, account: &AccountId) -> Result<(), Failure> {
        if account.is_system() { self.check_all_accounts() } else { Ok(()) }
    }

    /// Checks that the caller covers all accounts.
    ///
    /// # Errors
    /// `GRANT_EXCEEDS_CALLER`.
    pub fn check_all_accounts(&self) -> Result<(), Failure> {
        let covers_all = self.access().is_some_and(|access| access.projects == ProjectAccess::All);
        if covers_all { Ok(()) } else { Err(Failure::GrantExceedsCaller) }
    }

    /// None for an anonymous caller, who may only verify, and that everywhere.
    fn access(&self) -> Option<&Access> {
        self.holder.as_ref().map(|holder| holder.access())
    }
}

/// What a caller is told whose token does not pass, whatever the cause.
const UNKNOWN: Failure = Failure::CallerUnknown("the caller's token is not valid");

/// What a caller is told who has none.
const MISSING: Failure = Failure::CallerUnknown("the authorization header is missing");

/// Judges callers.
pub struct Callers {
    view: Arc<View>,
    keyring: Arc<Keyring>,
    is_verify_open: bool,
}

impl Callers {
    /// Judges by what the replica knows. With `is_verify_open`, a call without a token may verify.
    #[must_use]
    pub fn new(view: Arc<View>, keyring: Arc<Keyring>, is_verify_open: bool) -> Self {
        Self { view, keyring, is_verify_open }
    }

    /// Reads the `authorization` header of a call from `address`.
    ///
    /// # Errors
    /// When there is one that is no bearer token, or none of ours.
    pub fn credential(&self, headers: &HeaderMap, address: Option<IpAddr>) -> Result<Credential, Failure> {
        let Some(value) = headers.get(AUTHORIZATION) else { return Ok(Credential { digests: None, address }) };
        let text = value.to_str().map_err(|_| Failure::CallerUnknown("the authorization header is not ASCII text"))?;
        let token = match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => return Err(Failure::CallerUnknown("the authorization header is not of the form Bearer <token>")),
        };
        let token = Token::parse(token).map_err(|_malformed| UNKNOWN)?;
        Ok(Credential { digests: Some(self.keyring.digests(token).collect()), address })
    }

    /// Whether anybody whom this replica knows calls, as far as can be told before the request is read: what they may do is
    /// judged when it is. It is no use of the key.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, or that this replica cannot tell.
    pub fn know(&self, credential: &Credential) -> Result<(), Failure> {
        let Some(digests) = &credential.digests else {
            return if self.is_verify_open { Ok(()) } else { Err(MISSING) };
        };
        let moment = self.view.moment()?;
        let secret = self.view.find(moment, digests.iter().copied()).ok_or(UNKNOWN)?;
        let question = Question { account: Some(SYSTEM_ACCOUNT), client_ip: credential.address, ..Question::default() };
        match decide(Some(&secret.standing()), &question, moment.now()) {
            Verdict::Valid | Verdict::ProjectDenied | Verdict::NetworkDenied => Ok(()),
            _ => Err(UNKNOWN),
        }
    }

    /// The right to ask about tokens.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, `PERMISSION_DENIED`, or that this replica cannot tell.
    pub fn permit_verify(&self, credential: &Credential) -> Result<Permit, Failure> {
        self.permit_any(credential, &[Permission::Verify])
    }

    /// The right to do what any of the `permissions` is for. They are tried in turn; the first is named when none is held.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, `PERMISSION_DENIED`, or that this replica cannot tell.
    pub fn permit_any(&self, credential: &Credential, permissions: &[Permission]) -> Result<Permit, Failure> {
        let Some(digests) = &credential.digests else {
            return if self.is_verify_open && permissions == [Permission::Verify] {
                Ok(Permit { holder: None, moment: self.view.moment()? })
            } else {
                Err(MISSING)
            };
        };
        let moment = self.view.moment()?;
        let Some(secret) = self.view.find(moment, digests.iter().copied()) else { return Err(UNKNOWN) };
        let mut missing = None;
        for permission in permissions {
            let question = Question {
                account: Some(SYSTEM_ACCOUNT),
                scopes: &[permission.as_str()],
                client_ip: credential.address,
                ..Question::default()
            };
            match decide(Some(&secret.standing()), &question, moment.now()) {
                Verdict::Valid => {
                    self.view.note_use(&secret, moment.now());
                    return Ok(Permit { holder: Some(secret), moment });
                }
                Verdict::ScopeDenied => {
                    missing.get_or_insert(*permission);
                }
                Verdict::ProjectDenied => return Err(Failure::NoAccounts),
                Verdict::NetworkDenied => return Err(Failure::CallerNetworkDenied),
                Verdict::Malformed
                | Verdict::Unknown
                | Verdict::Disabled
                | Verdict::Revoked
                | Verdict::Expired
                | Verdict::AccountSuspended => return Err(UNKNOWN),
            }
        }
        Err(missing.map_or(UNKNOWN, Failure::PermissionMissing))
    }
}
