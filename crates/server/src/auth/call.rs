//! The context of a call: its authentication, deadline and peer, the rights of its caller, and the log of refusals.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::Extensions;
use key_authority_domain::id::Actor;
use key_authority_domain::permission::Permission;
use key_authority_replica::clock::boottime;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};

use super::credential::{Authentication, MISSING};
use super::permit::{Authorizer, Permit};
use super::portal::PortalGrant;
use crate::observability::line_limit::LineLimit;
use crate::observability::metrics::{CallSeries, SharedMetrics};
use crate::rpc::deadline::Deadline;
use crate::rpc::errors::RpcError;
use crate::transport::connection::ConnectionContext;
use crate::transport::places::Place;

/// The path of a request that is not a gRPC call, as its route has it. The calls that it makes are logged with it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RequestPath(pub(crate) Cow<'static, str>);

impl From<&'static str> for RequestPath {
    fn from(path: &'static str) -> Self {
        Self(path.into())
    }
}

/// The part of a call beside its message.
#[derive(Clone)]
pub(crate) struct CallContext {
    /// `None` only if the transport in front does not authenticate; then nothing is permitted.
    authentication: Option<Authentication>,
    series: Option<CallSeries>,
    path: Option<RequestPath>,
    deadline: Option<Deadline>,
    peer: Option<IpAddr>,
    closing: CancellationToken,
}

impl CallContext {
    /// Reads the context of a request that the connection's service has passed on.
    pub(crate) fn of<T>(request: &Request<T>) -> Self {
        Self::from_extensions(request.extensions())
    }

    /// Reads the context from the extensions of a request.
    pub(crate) fn from_extensions(extensions: &Extensions) -> Self {
        let connection = extensions.get::<ConnectionContext>();
        Self {
            authentication: extensions.get().cloned(),
            series: extensions.get().cloned(),
            path: extensions.get().cloned(),
            deadline: extensions.get().copied(),
            peer: connection.and_then(|connection| connection.peer.address()),
            closing: connection.map(|connection| connection.closing.clone()).unwrap_or_default(),
        }
    }

    /// Makes the context of a request to this path, which is not a gRPC call.
    pub(crate) fn new(
        authentication: Authentication,
        path: impl Into<RequestPath>,
        connection: &ConnectionContext,
    ) -> Self {
        Self {
            authentication: Some(authentication),
            series: None,
            path: Some(path.into()),
            deadline: None,
            peer: connection.peer.address(),
            closing: connection.closing.clone(),
        }
    }

    /// Returns the token that is cancelled when the connection is to end.
    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    fn authentication(&self) -> Result<&Authentication, RpcError> {
        self.authentication.as_ref().ok_or(RpcError::Unauthenticated("the call has no credential"))
    }
}

/// A call whose caller is authorized: the context of every handler.
pub(crate) struct Call {
    /// The rights of the caller.
    pub(crate) permit: Permit,
    /// The caller's deadline.
    pub(crate) deadline: Option<Deadline>,
}

/// The maximum number of log lines in a second about refused calls without a valid token.
const STRANGERS_LINES: u32 = 10;
/// The maximum number of log lines in a second about refused calls with a valid token.
const CALLERS_LINES: u32 = 100;

/// Authorizes calls, and records refused ones. Clones share one state.
#[derive(Clone)]
pub(crate) struct CallAuthorizer {
    authorizer: Arc<Authorizer>,
    metrics: SharedMetrics,
    strangers: Arc<LineLimit>,
    callers: Arc<LineLimit>,
}

impl CallAuthorizer {
    pub(crate) fn new(authorizer: Arc<Authorizer>, metrics: SharedMetrics) -> Self {
        let (strangers, callers) = (LineLimit::new(STRANGERS_LINES), LineLimit::new(CALLERS_LINES));
        Self { authorizer, metrics, strangers: strangers.into(), callers: callers.into() }
    }

    /// Authorizes a call for which any of the `permissions` is enough.
    ///
    /// # Errors
    /// As [`Authorizer::authorize_any`].
    pub(crate) fn authorize(
        &self,
        context: &CallContext,
        permissions: &'static [Permission],
    ) -> Result<Call, RpcError> {
        let permit = self.authorizer.authorize_any(context.authentication()?, permissions)?;
        Ok(Call { permit, deadline: context.deadline })
    }

    /// Returns the key whose token the caller presented, whether or not it is accepted.
    pub(crate) fn caller(&self, context: &CallContext) -> Option<Actor> {
        self.authorizer.presented_key(context.authentication.as_ref()?)
    }

    /// Checks that the caller is known, with any permissions: enough to read its request. With `needs_token`, an
    /// anonymous caller is not.
    ///
    /// # Errors
    /// As [`Authorizer::identify`].
    pub(crate) fn identify(&self, context: &CallContext, needs_token: bool) -> Result<(), RpcError> {
        let authentication = context.authentication()?;
        if needs_token && authentication.as_ref().is_ok_and(|credential| credential.digests.is_none()) {
            return Err(MISSING.into());
        }
        self.authorizer.identify(authentication)
    }

    /// Makes the place of a connection that of this caller, whose token was accepted.
    pub(crate) fn promote(&self, place: &Place, caller: &Authentication) {
        if !place.is_known() {
            place.promote(self.authorizer.presented_key(caller), self.authorizer.has_ended(caller));
        }
    }

    /// Turns the outcome of a call into its answer, and records a refused call.
    pub(crate) fn answer<T>(&self, context: &CallContext, outcome: Result<T, RpcError>) -> Result<T, Status> {
        outcome.map_err(|error| {
            self.note_refusal(context, &error);
            error.into()
        })
    }

    /// Logs and counts a refused call. An outage or an internal error is no refusal; it is logged where it becomes a
    /// status.
    pub(crate) fn note_refusal(&self, context: &CallContext, error: &RpcError) {
        if error.is_refusal() {
            let (code, reason) = error.code();
            self.record_refusal(context, code, reason);
        }
    }

    /// Logs and counts a refusal.
    pub(crate) fn record_refusal(&self, context: &CallContext, code: Code, reason: &'static str) {
        self.metrics.admin_refused(reason);
        let actor = self.caller(context);
        let method = context.series.as_ref().and_then(CallSeries::method).map(|method| method.name.as_str());
        let method = method.or(context.path.as_ref().map(|path| &*path.0));
        // The key of a token that is revoked or expired is known, and its holder is a stranger.
        let is_known = context.authentication.as_ref().is_some_and(|caller| self.authorizer.is_known(caller));
        let limit = if is_known { &self.callers } else { &self.strangers };
        let Some(left_out) = limit.admit(boottime()) else { return };
        let left_out = (left_out > 0).then_some(left_out);
        // Debug output would write `Some(…)`.
        let actor = actor.as_ref().map(Actor::as_str);
        let peer = context.peer.map(tracing::field::display);
        let grant = context.authentication.as_ref().and_then(|caller| caller.as_ref().ok()?.portal_grant());
        let session = grant.map(PortalGrant::session_id);
        let account = grant.map(|grant| grant.account.as_str());
        let subject = grant.map(|grant| grant.subject.as_str());
        tracing::info!(left_out, method, ?code, reason, actor, session, account, subject, peer, "admin call refused");
    }
}
