//! What is answered.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use key_authority_proto::v1;

use crate::error::Error;

/// The answer to a [`crate::Question`]. It holds for the moment at which it was made: use it, and do not keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The holder may do what was asked.
    Allowed(KeyIdentity),
    /// The holder may not.
    Denied(Denial),
}

/// Whose key it is. [`crate::RequireKey`] leaves it in the extensions of each request that it lets through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyIdentity {
    /// The ID of the key.
    pub key_id: String,
    /// The ID of the account that owns it.
    pub account: String,
    /// All scopes of the key, not only those asked for.
    pub scopes: Vec<String>,
    /// The labels of the key.
    pub labels: BTreeMap<String, String>,
    /// When the token ends. None: never.
    pub expire_time: Option<SystemTime>,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The first reason that holds.
    pub reason: Reason,
    /// The ID of the key. None where no key has this token, as far as the question and its caller go.
    pub key_id: Option<String>,
    /// The ID of the account that owns it, where there is a key.
    pub account: Option<String>,
    /// The scopes asked for that the key has not. Only for [`Reason::ScopeDenied`].
    pub missing_scopes: Vec<String>,
}

impl Denial {
    /// Of a text that cannot be a token.
    pub(crate) fn malformed() -> Self {
        Self { reason: Reason::Malformed, key_id: None, account: None, missing_scopes: Vec::new() }
    }
}

/// The reason of a denial. `Display` says it in words that the token's holder may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The text cannot be a token.
    Malformed,
    /// There is no such token, for this caller and this question.
    Unknown,
    /// The key is disabled; it may be enabled again.
    Disabled,
    /// The key is revoked, for good.
    Revoked,
    /// The key has expired, or a renewal has ended this token of it.
    Expired,
    /// The account that owns the key is suspended.
    AccountSuspended,
    /// The key does not cover the project asked for, or covers none.
    ProjectDenied,
    /// The key lacks a scope that was asked for.
    ScopeDenied,
    /// The key may not be used from this address, or no address was told.
    NetworkDenied,
    /// A reason of a newer authority, by its number on the wire.
    Other(i32),
}

impl Reason {
    /// Whether another token might do: what is wrong is with the token, not with what its holder wants.
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
            Self::Malformed => "this is no token",
            Self::Unknown => "there is no such key",
            Self::Disabled => "the key is disabled",
            Self::Revoked => "the key is revoked",
            Self::Expired => "the key has expired",
            Self::AccountSuspended => "the account of the key is suspended",
            Self::ProjectDenied => "the key does not cover this project",
            Self::ScopeDenied => "the key lacks a scope",
            Self::NetworkDenied => "the key may not be used from this address",
            Self::Other(_) => "the key may not be used for this",
        })
    }
}

impl TryFrom<v1::VerifyResponse> for Verdict {
    type Error = Error;

    fn try_from(response: v1::VerifyResponse) -> Result<Self, Error> {
        let number = response.verdict;
        let reason = match v1::Verdict::try_from(number) {
            Ok(v1::Verdict::Valid) => return allowed(response).map(Self::Allowed),
            // Never sent, so this is no answer of an authority, and nobody is denied by it.
            Ok(v1::Verdict::Unspecified) => return Err(Error::Garbled("an answer without a verdict")),
            Ok(v1::Verdict::Malformed) => Reason::Malformed,
            Ok(v1::Verdict::Unknown) => Reason::Unknown,
            Ok(v1::Verdict::Disabled) => Reason::Disabled,
            Ok(v1::Verdict::Revoked) => Reason::Revoked,
            Ok(v1::Verdict::Expired) => Reason::Expired,
            Ok(v1::Verdict::AccountSuspended) => Reason::AccountSuspended,
            Ok(v1::Verdict::ProjectDenied) => Reason::ProjectDenied,
            Ok(v1::Verdict::ScopeDenied) => Reason::ScopeDenied,
            Ok(v1::Verdict::NetworkDenied) => Reason::NetworkDenied,
            // The contract: a value that the caller does not know is a refusal.
            Err(_unknown) => Reason::Other(number),
        };
        let some = |text: String| (!text.is_empty()).then_some(text);
        let v1::VerifyResponse { key_id, account, missing_scopes, .. } = response;
        Ok(Self::Denied(Denial { reason, key_id: some(key_id), account: some(account), missing_scopes }))
    }
}

fn allowed(response: v1::VerifyResponse) -> Result<KeyIdentity, Error> {
    let v1::VerifyResponse { key_id, account, scopes, labels, expire_time, .. } = response;
    let expire_time = expire_time.map(SystemTime::try_from).transpose();
    let expire_time = expire_time.map_err(|_| Error::Garbled("a time that no clock can show"))?;
    Ok(KeyIdentity { key_id, account, scopes, labels, expire_time })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(number: i32) -> Result<Verdict, Error> {
        v1::VerifyResponse { verdict: number, ..v1::VerifyResponse::default() }.try_into()
    }

    #[test]
    fn only_valid_is_allowed_and_what_is_unknown_is_denied() {
        assert!(matches!(verdict(0), Err(Error::Garbled(_))), "no verdict is no denial");
        assert!(matches!(verdict(1), Ok(Verdict::Allowed(_))));
        for number in (2..=12).chain([99, -1]) {
            let Ok(Verdict::Denied(denial)) = verdict(number) else { panic!("{number} is not denied") };
            let is_known = v1::Verdict::try_from(number).is_ok();
            assert_eq!(denial.reason == Reason::Other(number), !is_known, "{number}");
        }
    }
}
