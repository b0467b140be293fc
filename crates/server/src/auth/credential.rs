//! The credential of a call: read once, where the call arrives.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use key_authority_domain::secret::Keyring;
use key_authority_domain::token::{Token, TokenDigest};
use key_authority_http_credential::{self as http_credential, Scheme};

/// Who a call says that it is. It can be authorized again and again: that of a stream is, for every message.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Under each version of the authority secret; none for a call without a token. The token itself is not kept.
    pub(super) digests: Option<Arc<[TokenDigest]>>,
    pub(super) address: Option<IpAddr>,
}

/// A header that cannot be a credential of ours. The text says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unauthenticated(pub(crate) &'static str);

/// The answer to a token that no caller has.
pub(super) const UNKNOWN: Unauthenticated = Unauthenticated("the caller's token is not valid");
/// The answer to a call without a token.
pub(super) const MISSING: Unauthenticated = Unauthenticated("the authorization header is missing");
const NOT_BEARER: Unauthenticated = Unauthenticated("the authorization header is not of the form Bearer <token>");
const SEVERAL: Unauthenticated = Unauthenticated("the call has more than one authorization header");

/// What the transport passes on of a call's caller: to a raw method as its argument, to a tonic handler as a request
/// extension.
pub type Authentication = Result<Credential, Unauthenticated>;

/// Reads the credentials of one connection's calls.
pub struct Authenticator {
    keyring: Arc<Keyring>,
    address: Option<IpAddr>,
    /// The last header and what it was: nearly all calls of a connection are of one caller.
    last: Mutex<Option<(HeaderValue, Credential)>>,
}

impl Authenticator {
    /// For a connection from `address`.
    #[must_use]
    pub fn new(keyring: Arc<Keyring>, address: Option<IpAddr>) -> Self {
        Self { keyring, address, last: Mutex::new(None) }
    }

    /// The credential of a call with these headers.
    ///
    /// # Errors
    /// When there is a header that is no bearer token, or no token of ours.
    pub fn authenticate(&self, headers: &HeaderMap) -> Authentication {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(Credential { digests: None, address: self.address }) };
        if values.next().is_some() {
            return Err(SEVERAL);
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, credential)) = last.as_ref().filter(|(known, _)| known == value) {
            return Ok(credential.clone());
        }
        let credential = self.read(value)?;
        *last = Some((value.clone(), credential.clone()));
        Ok(credential)
    }

    fn read(&self, value: &HeaderValue) -> Authentication {
        let bearer = http_credential::credential(value.as_bytes()).filter(|found| found.scheme == Scheme::Bearer);
        let token = std::str::from_utf8(bearer.ok_or(NOT_BEARER)?.value).map_err(|_not_text| UNKNOWN)?;
        let token = Token::parse(token).map_err(|_malformed| UNKNOWN)?;
        Ok(Credential { digests: Some(self.keyring.digests(token).collect()), address: self.address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authenticate(values: &[&'static str]) -> Result<bool, &'static str> {
        let keyring = Arc::new(Keyring::parse(&Keyring::file_text(&[7; 32])).unwrap());
        let headers = values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_static(value))).collect();
        let read = Authenticator::new(keyring, None).authenticate(&headers);
        read.map(|credential| credential.digests.is_some()).map_err(|Unauthenticated(why)| why)
    }

    #[test]
    fn a_call_without_a_header_has_no_token() {
        assert_eq!(authenticate(&[]), Ok(false));
    }

    #[test]
    fn what_is_no_bearer_token_of_ours_is_refused() {
        for value in ["Basic aWQ6dA==", "t", "Digest x"] {
            assert_eq!(authenticate(&[value]), Err(NOT_BEARER.0), "{value}");
        }
        for value in ["Bearer", "Bearer t", "bearer t u"] {
            assert_eq!(authenticate(&[value]), Err(UNKNOWN.0), "{value}");
        }
        assert_eq!(authenticate(&["Bearer t", "Bearer t"]), Err(SEVERAL.0));
    }
}
