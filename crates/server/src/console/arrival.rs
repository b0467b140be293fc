//! A request before its visitor is known, and the forms that it may contain.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::rejection::ExtensionRejection;
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use key_authority_domain::permission::Permission;
use key_authority_domain::time::Timestamp;
use percent_encoding::percent_decode;

use super::failure::Failure;
use super::fields::Fields;
use super::origin::{is_by_own_page, is_same_origin};
use super::session::{Cookie, ENTRANCE_COOKIE, SIGN_IN_COOKIE, Session};
use super::shared::Shared;
use crate::auth::call::CallContext;
use crate::auth::credential::Authentication;
use crate::auth::permit::Permit;
use crate::entropy::EntropyError;
use crate::http::{CollectError, Session as Connected, collect, visitor};
use crate::rpc::deadline::{Deadline, Deadlines};
use crate::rpc::errors::RpcError;
use crate::transport::connection::ConnectionContext;

/// The largest form, in bytes: a key with every field at its limit fits.
const FORM_BYTES_MAX: usize = 256 * 1024;
/// The largest form of somebody who is not signed in, in bytes: a token, and a form that is kept.
pub(super) const SIGN_IN_BYTES_MAX: usize = 60 * 1024;
/// The largest form that is kept while somebody signs in, in bytes. The sign-in form contains it encoded once more.
pub(super) const KEPT_BYTES_MAX: usize = 16 * 1024;
/// The share of the remaining time of a request that is left for its page.
const PAGE_SHARE: u32 = 10;
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A request before its visitor is known.
pub(super) struct Arrival {
    pub(super) shared: Arc<Shared>,
    pub(super) connected: Connected,
    pub(super) now: Timestamp,
    /// When the door ends the request.
    end: Option<Deadline>,
    /// Whether the browser uses TLS.
    pub(super) is_secure: bool,
    /// The address that sign-ins are counted by.
    pub(super) address: IpAddr,
}

impl FromRequestParts<Arc<Shared>> for Arrival {
    type Rejection = ExtensionRejection;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Self::Rejection> {
        let Extension(connected) = Extension::from_request_parts(parts, shared).await?;
        Ok(Self::new(Arc::clone(shared), connected, &parts.headers))
    }
}

impl Arrival {
    fn new(shared: Arc<Shared>, connected: Connected, headers: &HeaderMap) -> Self {
        let peer = connected.connection.peer.address();
        let trusts = |address: IpAddr| shared.trusted_proxies.iter().any(|network| network.contains(address));
        let by_proxy =
            peer.is_some_and(trusts) && headers.get(&FORWARDED_PROTO).is_some_and(|scheme| scheme == "https");
        let address = visitor(headers, peer, &shared.trusted_proxies).or(peer);
        let address = address.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
        let (is_secure, now) = (shared.is_tls || by_proxy, shared.replica.time());
        let end = deadline_in(shared.request_timeout);
        Self { shared, connected, now, end, is_secure, address }
    }

    /// Returns the session of the request.
    pub(super) fn session(&self, headers: &HeaderMap) -> Option<Session> {
        let session = Session::open(&self.shared.keyring, headers, self.is_secure, self.now)?;
        (!self.shared.ended.contains(&session)).then_some(session)
    }

    /// Whether the request is of a portal session, even of one that is over.
    pub(super) fn is_of_portal(&self, headers: &HeaderMap) -> bool {
        Session::is_of_portal(&self.shared.keyring, headers, self.is_secure)
    }

    /// Returns the session of the sign-in page.
    pub(super) fn sign_in_session(&self, headers: &HeaderMap) -> Option<Session> {
        self.session_of_nobody(SIGN_IN_COOKIE, headers)
    }

    /// Returns the session of the page behind a link to a portal.
    pub(super) fn entrance_session(&self, headers: &HeaderMap) -> Option<Session> {
        self.session_of_nobody(ENTRANCE_COOKIE, headers)
    }

    fn session_of_nobody(&self, cookie: Cookie, headers: &HeaderMap) -> Option<Session> {
        Session::open_of_nobody(cookie, &self.shared.keyring, headers, self.is_secure, self.now)
    }

    /// Returns a session of nobody for a page that is shown now: the one that the browser has, or a new one.
    pub(super) fn begun(&self, session: Option<Session>) -> Result<Session, EntropyError> {
        session.map_or_else(
            || Session::of_nobody(self.now),
            |mut session| {
                session.touch(self.now);
                Ok(session)
            },
        )
    }

    /// Authorizes a caller with any permission, by the state in memory.
    pub(super) fn authorize(&self, authentication: &Authentication) -> Result<Permit, RpcError> {
        let context = CallContext::new(authentication.clone(), "/console/", &self.connected.connection);
        Ok(self.shared.calls.authorize(&context, &Permission::ALL)?.permit)
    }

    /// Returns how long a call of this request may take from now on.
    pub(super) fn remaining(&self) -> Duration {
        self.deadline().map_or(self.shared.patience, |deadline| deadline.remaining())
    }

    /// Returns the deadline of the calls that this request makes from now on. It leaves time for the page, which
    /// says whether a change is committed.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        let remaining = self.end.map_or(Duration::MAX, |end| end.remaining());
        deadline_in(self.shared.patience.min(remaining.saturating_sub(remaining / PAGE_SHARE)))
    }
}

fn deadline_in(time: Duration) -> Option<Deadline> {
    Deadlines::new(time).of(&HeaderMap::new(), false).call
}

/// Returns the form of a request, of at most `bytes_max`.
///
/// # Errors
/// When it is too large or incomplete, or the connection holds too much.
pub(super) async fn form(body: Body, connection: &ConnectionContext, bytes_max: usize) -> Result<Fields, Failure> {
    let body = collect(body, connection.budget.request(), bytes_max).await.map_err(|error| match error {
        CollectError::Incomplete => tonic::Status::cancelled("the form is incomplete"),
        CollectError::TooLarge => tonic::Status::out_of_range(format!("the form is larger than {bytes_max} bytes")),
        CollectError::OverBudget(over) => RpcError::from(over).into(),
    })?;
    if percent_decode(&body).decode_utf8().is_err() {
        return Err(Failure::wrong_field("The form must be UTF-8."));
    }
    Ok(Fields::parse(&body))
}

/// Returns a form that was sent without a session, to keep it. `None` if it cannot be read, is larger than
/// [`KEPT_BYTES_MAX`], or may come from another site: that must not be offered as one's own.
pub(super) async fn form_without_session(arrival: &Arrival, headers: &HeaderMap, body: Body) -> Option<Fields> {
    if !is_by_own_page(headers) {
        return None;
    }
    form(body, &arrival.connected.connection, KEPT_BYTES_MAX).await.ok()
}

/// Returns the form of a change, if it comes from this session.
pub(super) async fn checked_form(
    arrival: &Arrival,
    session: &Session,
    parts: &Parts,
    body: Body,
) -> Result<Fields, Failure> {
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let refused = || {
        Failure::foreign_form(
            "This form does not belong to your session, so nothing was changed. Maybe somebody else has signed in, or \
             opened their keys, in this browser since you opened the page. Open the page again, and repeat the change \
             there.",
        )
    };
    if !is_same_origin(&parts.headers, authority) {
        return Err(refused());
    }
    let connection = &arrival.connected.connection;
    let bytes_max = if connection.place.is_known() { FORM_BYTES_MAX } else { SIGN_IN_BYTES_MAX };
    let fields = form(body, connection, bytes_max).await?;
    if session.is_form_token(fields.get("form_token")) { Ok(fields) } else { Err(refused()) }
}
