//! The credential of a call, read once when the call arrives.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use key_authority_domain::secret::Keyring;
use key_authority_domain::token::{Token, TokenDigest};
use key_authority_http_credential::{self as http_credential, Scheme};

use super::portal::PortalGrant;

/// The claimed identity of a caller. It can be authorized repeatedly: a stream authorizes it for every message.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The digests under each version of the authority secret; `None` for a call without a token. The token itself is
    /// not kept.
    pub(super) digests: Option<Arc<[TokenDigest]>>,
    pub(super) address: Option<IpAddr>,
    /// The key that the token must belong to, if the caller names one.
    pub(super) key_id: Option<Arc<str>>,
    /// The portal session for which the caller's rights are narrowed.
    pub(super) portal: Option<Arc<PortalGrant>>,
}

impl Credential {
    /// Returns the credential of a token from this address.
    ///
    /// # Errors
    /// When the text is no token of the authority.
    pub(crate) fn of_token(keyring: &Keyring, token: &str, address: Option<IpAddr>) -> Authentication {
        let token = Token::parse(token).map_err(|_malformed| UNKNOWN)?;
        Ok(Self { digests: Some(keyring.digests(token).collect()), address, key_id: None, portal: None })
    }

    /// Makes the credential of a session, which keeps the digests of a token that was presented before.
    pub(crate) fn of_session(digests: Arc<[TokenDigest]>, address: Option<IpAddr>) -> Self {
        Self { digests: Some(digests), address, key_id: None, portal: None }
    }

    /// Makes the credential of a portal session: that of its caller, narrowed.
    pub(crate) fn of_portal(grant: Arc<PortalGrant>) -> Self {
        Self { digests: Some(Arc::new([grant.caller])), address: grant.address, key_id: None, portal: Some(grant) }
    }

    /// Returns the grant of a portal session; `None` for a caller itself.
    pub(crate) fn portal_grant(&self) -> Option<&PortalGrant> {
        self.portal.as_deref()
    }

    /// Returns the digests of the token under each version of the authority secret; `None` without a token.
    pub(crate) fn digests(&self) -> Option<&Arc<[TokenDigest]>> {
        self.digests.as_ref()
    }
}

/// Where a caller presents its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CallerToken {
    /// `Authorization: Bearer`.
    Authorization,
    /// The same, or `Authorization: Basic` with the ID of the key as user and the token as password.
    AuthorizationOrBasic,
    /// `X-Key-Authority-Caller: Bearer`, for a request whose `Authorization` belongs to somebody else.
    OwnHeader,
}

/// The header of [`CallerToken::OwnHeader`].
const OWN_HEADER: HeaderName = HeaderName::from_static("x-key-authority-caller");

impl CallerToken {
    const fn header(self) -> HeaderName {
        match self {
            Self::Authorization | Self::AuthorizationOrBasic => AUTHORIZATION,
            Self::OwnHeader => OWN_HEADER,
        }
    }
}

/// The reason why a header is no credential of the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unauthenticated(pub(crate) &'static str);

/// The error for a token that belongs to no caller.
pub(super) const UNKNOWN: Unauthenticated = Unauthenticated("the caller's token is not valid");
/// The error for a portal session whose caller may not have it any more.
pub(super) const PORTAL_ENDED: Unauthenticated = Unauthenticated("the portal session has ended");
/// The error for a call without a token.
pub(super) const MISSING: Unauthenticated = Unauthenticated("the authorization header is missing");
const NOT_BEARER: Unauthenticated = Unauthenticated("the authorization header is not of the form Bearer <token>");
const SEVERAL: Unauthenticated = Unauthenticated("the call has more than one authorization header");

/// The authentication of a call, as the transport passes it on: an argument for a raw method, a request extension for a
/// tonic handler.
pub type Authentication = Result<Credential, Unauthenticated>;

/// Authenticates the calls of one connection.
pub struct Authenticator {
    keyring: Arc<Keyring>,
    address: Option<IpAddr>,
    /// The tag of the last header, and its credential: nearly all calls of a connection come from one caller. The tag
    /// is a keyed hash, so that the token itself is not kept. Another header has the same tag with a probability of
    /// 2⁻⁶⁴, and nobody can compute one, since the key is random for each connection.
    last: Mutex<Option<(u64, Credential)>>,
    tag_key: RandomState,
}

impl Authenticator {
    /// Makes the authenticator of a connection from `address`.
    #[must_use]
    pub fn new(keyring: Arc<Keyring>, address: Option<IpAddr>) -> Self {
        Self { keyring, address, last: Mutex::new(None), tag_key: RandomState::new() }
    }

    /// Returns the credential of a call with these headers.
    ///
    /// # Errors
    /// When a header is no bearer token, or not a token of the authority.
    pub fn authenticate(&self, headers: &HeaderMap) -> Authentication {
        self.authenticate_by(headers, CallerToken::Authorization)
    }

    /// Returns the credential of a call that presents its token in this place.
    ///
    /// # Errors
    /// As [`Self::authenticate`].
    pub(crate) fn authenticate_by(&self, headers: &HeaderMap, place: CallerToken) -> Authentication {
        let mut values = headers.get_all(place.header()).iter();
        let Some(value) = values.next() else {
            return Ok(Credential { digests: None, address: self.address, key_id: None, portal: None });
        };
        if values.next().is_some() {
            return Err(SEVERAL);
        }
        let tag = self.tag_key.hash_one((place, value.as_bytes()));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, credential)) = last.as_ref().filter(|(known, _)| *known == tag) {
            return Ok(credential.clone());
        }
        let credential = self.read(value, place)?;
        *last = Some((tag, credential.clone()));
        Ok(credential)
    }

    fn read(&self, value: &HeaderValue, place: CallerToken) -> Authentication {
        let found = http_credential::credential(value.as_bytes()).ok_or(NOT_BEARER)?;
        let (key_id, token) = match found.scheme {
            Scheme::Bearer => (None, String::from_utf8(found.value.to_vec()).map_err(|_not_text| UNKNOWN)?),
            Scheme::Basic if place == CallerToken::AuthorizationOrBasic => {
                let (user, token) = found.user_and_password();
                (Some(user).filter(|user| !user.is_empty()), token)
            }
            Scheme::Basic => return Err(NOT_BEARER),
        };
        let credential = Credential::of_token(&self.keyring, &token, self.address)?;
        Ok(Credential { key_id: key_id.map(Arc::from), ..credential })
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
