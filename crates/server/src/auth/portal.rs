//! The grant of a portal session, and the one-time code that stands for it in a link.
//!
//! Both are sealed with the authority secret, so each replica can open them and nobody else can. The grant names the
//! token of the caller that gave it by its digest, never by its text, and [`super::permit`] authorizes that caller
//! again for every request.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use key_authority_domain::access::Scope;
use key_authority_domain::audit::{Action, IdempotencyKey};
use key_authority_domain::id::{AccountId, Actor, Subject};
use key_authority_domain::portal::PortalAction;
use key_authority_domain::seal::{SealContext, UnsealError};
use key_authority_domain::secret::{Keyring, SecretVersion};
use key_authority_domain::text::ValidationError;
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::TokenDigest;
use serde::{Deserialize, Serialize};

use crate::entropy::{self, EntropyError};
use crate::rpc::errors::RpcError;

/// How long the code in a link is valid.
pub(crate) const CODE_AGE_MAX: Duration = Duration::from_mins(1);
/// The longest code, in bytes. A code with every field at its limit has about 2,600.
const CODE_LEN_MAX: usize = 4096;
/// The context of sealed codes.
const CODE: SealContext<'static> = SealContext::Console { purpose: "portal code" };

/// What a caller allows one user of its product.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub(crate) struct PortalGrant {
    /// A random number, which names the session in the audit log. A code is redeemed once for each.
    pub(crate) id: [u8; 16],
    /// The digest of the caller's token.
    pub(crate) caller: TokenDigest,
    /// The address from which the caller called. The networks of its key are compared with this one: the user's browser
    /// never has the token.
    pub(crate) address: Option<IpAddr>,
    pub(crate) account: AccountId,
    pub(crate) subject: Subject,
    pub(crate) may: BTreeSet<PortalAction>,
    /// The scopes that changes may add to keys; `None`: any.
    pub(crate) allowed_scopes: Option<BTreeSet<Scope>>,
    pub(crate) end: Timestamp,
}

/// The user of a product that a grant is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PortalUser {
    caller: TokenDigest,
    account: AccountId,
    subject: Subject,
}

/// Why a code opens no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodeError {
    /// It is too old, or not a code of this authority.
    Invalid,
    /// This replica lacks the version of the authority secret that sealed it.
    SecretMissing(SecretVersion),
}

impl PortalGrant {
    /// Returns the user that the grant is for.
    pub(crate) fn user(&self) -> PortalUser {
        PortalUser { caller: self.caller, account: self.account.clone(), subject: self.subject.clone() }
    }

    /// Returns the ID of the session as text.
    pub(crate) fn session_id(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.id))
    }

    /// Returns the scopes out of `added` that no change in the session may add to a key.
    pub(crate) fn excess_scopes(&self, added: &BTreeSet<Scope>) -> Vec<Scope> {
        self.allowed_scopes.as_ref().map_or_else(Vec::new, |allowed| added.difference(allowed).cloned().collect())
    }

    /// Returns the code that stands for the grant before `until`.
    pub(crate) fn seal_code(&self, keyring: &Keyring, until: Timestamp) -> Result<String, EntropyError> {
        let content = serde_json::to_vec(&(self, until.micros())).unwrap_or_default();
        Ok(BASE64_URL_SAFE_NO_PAD.encode(keyring.seal(CODE, &content, entropy::bytes()?)))
    }

    /// Returns the grant of a code.
    ///
    /// # Errors
    /// [`CodeError`].
    pub(crate) fn open_code(keyring: &Keyring, code: &str, now: Timestamp) -> Result<Self, CodeError> {
        let (grant, until) = Self::open_any(keyring, code)?;
        if now.is_past(Some(until)) { Err(CodeError::Invalid) } else { Ok(grant) }
    }

    /// Returns the grant of a code, even if the code has expired. It must start no session.
    pub(crate) fn open_code_ignoring_expiry(keyring: &Keyring, code: &str) -> Option<Self> {
        Self::open_any(keyring, code).ok().map(|(grant, _)| grant)
    }

    fn open_any(keyring: &Keyring, code: &str) -> Result<(Self, Timestamp), CodeError> {
        let code = Some(code).filter(|code| code.len() <= CODE_LEN_MAX);
        let sealed = code.and_then(|code| BASE64_URL_SAFE_NO_PAD.decode(code).ok()).ok_or(CodeError::Invalid)?;
        let opened = keyring.open(CODE, &sealed).map_err(|error| match error {
            UnsealError::Altered => CodeError::Invalid,
            UnsealError::SecretMissing(version) => CodeError::SecretMissing(version),
        })?;
        let (grant, until): (Self, i64) = serde_json::from_slice(&opened).map_err(|_| CodeError::Invalid)?;
        Ok((grant, Timestamp::from_micros(until)))
    }
}

/// A grant as it is sealed.
///
/// A replica of an earlier build ignores `limited`, which it does not know. So a grant with `allowed_scopes` has its
/// actions there, and an empty `may`: such a replica lets its user only read, and never choose scopes without limit.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    id: [u8; 16],
    caller: [u8; 32],
    address: Option<IpAddr>,
    account: String,
    subject: String,
    may: Vec<i32>,
    end: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limited: Option<Limited>,
}

/// The actions of a grant with `allowed_scopes`, and these scopes, separated by spaces.
#[derive(Clone, Serialize, Deserialize)]
struct Limited {
    may: Vec<i32>,
    scopes: String,
}

impl From<PortalGrant> for Stored {
    fn from(grant: PortalGrant) -> Self {
        let may = grant.may.into_iter().map(|action| action as i32).collect();
        let (may, limited) = match grant.allowed_scopes {
            None => (may, None),
            Some(allowed) => {
                let scopes = allowed.iter().map(Scope::as_str).collect::<Vec<_>>().join(" ");
                (Vec::new(), Some(Limited { may, scopes }))
            }
        };
        Self {
            id: grant.id,
            caller: grant.caller.0,
            address: grant.address,
            account: grant.account.as_str().to_owned(),
            subject: grant.subject.as_str().to_owned(),
            may,
            end: grant.end.micros(),
            limited,
        }
    }
}

impl TryFrom<Stored> for PortalGrant {
    type Error = ValidationError;

    fn try_from(stored: Stored) -> Result<Self, ValidationError> {
        let (may, allowed_scopes) = match stored.limited {
            None => (stored.may, None),
            Some(Limited { may, scopes }) => {
                (may, Some(scopes.split_terminator(' ').map(Scope::new).collect::<Result<_, _>>()?))
            }
        };
        Ok(Self {
            id: stored.id,
            caller: TokenDigest(stored.caller),
            address: stored.address,
            account: AccountId::new(&stored.account)?,
            subject: Subject::new(&stored.subject)?,
            // An action that this build does not know is not allowed.
            may: may.into_iter().filter_map(PortalAction::from_number).collect(),
            allowed_scopes,
            end: Timestamp::from_micros(stored.end),
        })
    }
}

/// The author of an event: a caller, or a user for whom it acts in a portal session.
#[derive(Debug, Clone)]
pub(crate) struct Author {
    pub(crate) actor: Actor,
    pub(super) portal: Option<Arc<PortalGrant>>,
}

impl Author {
    /// Returns the user for whom the caller acts.
    pub(crate) fn subject(&self) -> Option<&Subject> {
        self.portal.as_ref().map(|grant| &grant.subject)
    }

    /// Returns the idempotency key of a request by the author, as the log has it. Those of a user in a portal session
    /// are apart from those of the caller, and of other sessions.
    pub(crate) fn idempotency_key(&self, key: &IdempotencyKey) -> IdempotencyKey {
        match &self.portal {
            Some(grant) => IdempotencyKey { id: key.id.in_portal_session(&grant.id), digest: key.digest },
            None => key.clone(),
        }
    }

    /// Checks that the author may make a change whose event has this action, and which adds these scopes to a key. It
    /// limits portal sessions; other callers are limited by the permissions of the call.
    ///
    /// # Errors
    /// `PERMISSION_MISSING` or `SCOPES_NOT_ALLOWED`.
    pub(crate) fn check_change(&self, action: Action, added_scopes: &BTreeSet<Scope>) -> Result<(), RpcError> {
        let Some(grant) = &self.portal else { return Ok(()) };
        if !PortalAction::allows(&grant.may, action) {
            return Err(RpcError::PortalMayNot);
        }
        let excess = grant.excess_scopes(added_scopes);
        if excess.is_empty() { Ok(()) } else { Err(RpcError::ScopesNotAllowed(excess)) }
    }
}

#[cfg(test)]
impl PortalGrant {
    /// A grant of the largest size, until second 9.
    pub(crate) fn example() -> Self {
        Self {
            id: [0xab; 16],
            caller: TokenDigest([3; 32]),
            address: Some([192, 0, 2, 1].into()),
            account: AccountId::new(&"a".repeat(64)).unwrap(),
            subject: Subject::new(&"\u{10ffff}".repeat(128)).unwrap(),
            may: PortalAction::ALL.into(),
            allowed_scopes: Some(
                (10..19).map(|number| Scope::new(&format!("{number}{}", "x".repeat(97))).unwrap()).collect(),
            ),
            end: Timestamp::from_micros(9_000_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> PortalGrant {
        PortalGrant::example()
    }

    #[test]
    fn a_code_is_valid_until_its_end_and_only_as_it_was_made() {
        let ring = Keyring::parse(&"07".repeat(32)).unwrap();
        let (start, end) = (Timestamp::from_micros(1), Timestamp::from_micros(60_000_001));
        let code = grant().seal_code(&ring, end).unwrap();
        let opened = PortalGrant::open_code(&ring, &code, start).unwrap();
        assert_eq!(format!("{opened:?}"), format!("{:?}", grant()));
        assert_eq!(opened.session_id(), "ab".repeat(16));
        assert!(PortalGrant::open_code(&ring, &code, Timestamp::from_micros(60_000_000)).is_ok());
        let open = |ring: &Keyring, code: &str, now| PortalGrant::open_code(ring, code, now).unwrap_err();
        assert_eq!(open(&ring, &code, end), CodeError::Invalid);
        for other in ["", "x", "%", &code[..code.len() - 1], &code.repeat(20)] {
            assert_eq!(open(&ring, other, start), CodeError::Invalid, "{other}");
        }
        assert_eq!(open(&Keyring::parse(&"08".repeat(32)).unwrap(), &code, start), CodeError::Invalid);
        let session = ring.seal(SealContext::Console { purpose: "session" }, b"[]", [9; 24]);
        assert_eq!(open(&ring, &BASE64_URL_SAFE_NO_PAD.encode(session), start), CodeError::Invalid);
        assert!(code.len() < 3000, "{}", code.len());
    }

    #[test]
    fn a_grant_is_opened_as_it_was_sealed() {
        let scopes = |texts: &[&str]| texts.iter().map(|text| Scope::new(text).unwrap()).collect::<BTreeSet<_>>();
        for allowed_scopes in [None, Some(scopes(&[])), Some(scopes(&["read"])), Some(scopes(&["\"", "read", "\\"]))] {
            let sealed =
                serde_json::to_string(&PortalGrant { allowed_scopes: allowed_scopes.clone(), ..grant() }).unwrap();
            let opened: PortalGrant = serde_json::from_str(&sealed).unwrap();
            assert_eq!((opened.may, opened.allowed_scopes), (PortalAction::ALL.into(), allowed_scopes), "{sealed}");
        }
    }

    #[test]
    fn a_build_that_does_not_know_allowed_scopes_only_reads() {
        let may = |grant| serde_json::to_value(grant).unwrap()["may"].as_array().unwrap().len();
        assert_eq!(may(grant()), 0);
        assert_eq!(may(PortalGrant { allowed_scopes: None, ..grant() }), 7);
    }

    #[test]
    fn only_scopes_beyond_the_allowed_ones_are_in_excess() {
        let scopes = |texts: &[&str]| texts.iter().map(|text| Scope::new(text).unwrap()).collect::<BTreeSet<_>>();
        let excess = |allowed: Option<&[&str]>, added: &[&str]| {
            let grant = PortalGrant { allowed_scopes: allowed.map(scopes), ..grant() };
            grant.excess_scopes(&scopes(added)).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(excess(None, &["a", "b"]), "");
        assert_eq!(excess(Some(&["a"]), &["a"]), "");
        assert_eq!(excess(Some(&["a"]), &["a", "b", "c"]), "b c");
        assert_eq!(excess(Some(&[]), &["a"]), "a");
        assert_eq!(excess(Some(&[]), &[]), "");
    }

    #[test]
    fn a_grant_shows_no_digest() {
        assert!(!format!("{:?}", grant()).contains("3, 3"));
    }
}
