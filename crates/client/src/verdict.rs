//! The verdicts of the authority.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use key_authority_proto::v1;

use crate::error::Error;

/// The answer to a [`Question`](crate::Question). It is valid for the moment of the answer: use it at once, and do not
/// cache it.
///
/// It is deliberately exhaustive. There will be no third verdict, and a `match` needs no wildcard arm that could grant
/// access by mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The token is valid, and its key meets all conditions.
    Allowed(KeyIdentity),
    /// The token is not valid, or its key does not meet a condition.
    Denied(Denial),
}

/// The key of an allowed token. The layer `RequireKey` puts it into the extensions of each request that it lets
/// through.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyIdentity {
    /// The ID of the key.
    pub key_id: String,
    /// The ID of the account that owns the key.
    pub account: String,
    /// All scopes of the key, not only those in the question.
    pub scopes: Vec<String>,
    /// The labels of the key.
    pub labels: BTreeMap<String, String>,
    /// When the token expires. `None` means never.
    pub expire_time: Option<SystemTime>,
}

impl KeyIdentity {
    /// Creates an identity without scopes, labels and expiry, for tests of services that read it.
    #[must_use]
    pub fn new(key_id: impl Into<String>, account: impl Into<String>) -> Self {
        Self {
            key_id: key_id.into(),
            account: account.into(),
            scopes: Vec::new(),
            labels: BTreeMap::new(),
            expire_time: None,
        }
    }
}

/// Why a token is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Denial {
    /// The first reason that applies.
    pub reason: Reason,
    /// The ID of the key. `None` when no key matches the token, the question and the caller.
    pub key_id: Option<String>,
    /// The ID of the account that owns the key. `None` when there is no key.
    pub account: Option<String>,
    /// The scopes in the question that the key lacks. Only for [`Reason::ScopeDenied`].
    pub missing_scopes: Vec<String>,
}

impl Denial {
    /// Creates a denial that names no key.
    #[must_use]
    pub fn new(reason: Reason) -> Self {
        Self { reason, key_id: None, account: None, missing_scopes: Vec::new() }
    }
}

/// The reason of a denial. `Display` writes a text that the holder of the token may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The text cannot be a token.
    Malformed,
    /// No key has this token, or none that this caller and this question may see.
    Unknown,
    /// The key is disabled. It can be enabled again.
    Disabled,
    /// The key is revoked permanently.
    Revoked,
    /// The key has expired, or a renewal has replaced this token.
    Expired,
    /// The account that owns the key is suspended.
    AccountSuspended,
    /// The key does not cover the project in the question, or covers no project.
    ProjectDenied,
    /// The key lacks a scope in the question.
    ScopeDenied,
    /// The key is restricted to networks, and the client's address is outside of them or not in the question.
    NetworkDenied,
    /// A verdict of a newer authority, by its number in the API.
    Other(i32),
}

impl Reason {
    /// Returns true when the token itself is the problem, so that another token may be allowed. Respond with 401 then,
    /// and with 403 otherwise.
    #[must_use]
    pub fn is_about_token(&self) -> bool {
        match self {
            Self::Malformed
            | Self::Unknown
            | Self::Disabled
            | Self::Revoked
            | Self::Expired
            | Self::AccountSuspended => true,
            Self::ProjectDenied | Self::ScopeDenied | Self::NetworkDenied | Self::Other(_) => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the token is malformed",
            Self::Unknown => "the token is unknown",
            Self::Disabled => "the key is disabled",
            Self::Revoked => "the key is revoked",
            Self::Expired => "the token has expired",
            Self::AccountSuspended => "the account of the key is suspended",
            Self::ProjectDenied => "the key does not cover this project",
            Self::ScopeDenied => "the key lacks the required scopes",
            Self::NetworkDenied => "the key may not be used from this address",
            Self::Other(_) => "the key is denied",
        })
    }
}

impl TryFrom<v1::VerifyResponse> for Verdict {
    type Error = Error;

    fn try_from(response: v1::VerifyResponse) -> Result<Self, Error> {
        let number = response.verdict;
        let reason = match v1::Verdict::try_from(number) {
            Ok(v1::Verdict::Valid) => return allowed(response).map(Self::Allowed),
            // The authority never sends it, so the response comes from something else. It must not become a denial.
            Ok(v1::Verdict::Unspecified) => {
                return Err(Error::InvalidResponse { message: "the verdict is missing" });
            }
            Ok(v1::Verdict::Malformed) => Reason::Malformed,
            Ok(v1::Verdict::Unknown) => Reason::Unknown,
            Ok(v1::Verdict::Disabled) => Reason::Disabled,
            Ok(v1::Verdict::Revoked) => Reason::Revoked,
            Ok(v1::Verdict::Expired) => Reason::Expired,
            Ok(v1::Verdict::AccountSuspended) => Reason::AccountSuspended,
            Ok(v1::Verdict::ProjectDenied) => Reason::ProjectDenied,
            Ok(v1::Verdict::ScopeDenied) => Reason::ScopeDenied,
            Ok(v1::Verdict::NetworkDenied) => Reason::NetworkDenied,
            // The API's contract: clients treat an unknown verdict as a denial.
            Err(_unknown) => Reason::Other(number),
        };
        let non_empty = |text: String| (!text.is_empty()).then_some(text);
        let v1::VerifyResponse { key_id, account, missing_scopes, .. } = response;
        Ok(Self::Denied(Denial { reason, key_id: non_empty(key_id), account: non_empty(account), missing_scopes }))
    }
}

fn allowed(response: v1::VerifyResponse) -> Result<KeyIdentity, Error> {
    let v1::VerifyResponse { key_id, account, scopes, labels, expire_time, .. } = response;
    let expire_time = expire_time.map(SystemTime::try_from).transpose();
    let expire_time = expire_time.map_err(|_| Error::InvalidResponse { message: "expire_time is out of range" })?;
    Ok(KeyIdentity { key_id, account, scopes, labels, expire_time })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(number: i32) -> Result<Verdict, Error> {
        v1::VerifyResponse { verdict: number, ..v1::VerifyResponse::default() }.try_into()
    }

    #[test]
    fn only_valid_is_allowed_and_an_unknown_verdict_is_denied() {
        assert!(matches!(verdict(0), Err(Error::InvalidResponse { .. })), "a missing verdict is no denial");
        assert!(matches!(verdict(1), Ok(Verdict::Allowed(_))));
        for number in (2..=12).chain([99, -1]) {
            let Ok(Verdict::Denied(denial)) = verdict(number) else { panic!("{number} is not denied") };
            let is_known = v1::Verdict::try_from(number).is_ok();
            assert_eq!(denial.reason == Reason::Other(number), !is_known, "{number}");
        }
    }
}
