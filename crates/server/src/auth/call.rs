//! The context of a call: its authentication, deadline and peer, the rights of its caller, and the log of refusals.

use std::net::IpAddr;
use std::sync::Arc;

use key_authority_domain::permission::Permission;
use tonic::{Request, Status};

use super::credential::Authentication;
use super::permit::{Authorizer, Permit};
use crate::observability::metrics::{CallSeries, SharedMetrics};
use crate::rpc::deadline::Deadline;
use crate::rpc::errors::RpcError;

/// The part of a call beside its message.
#[derive(Clone)]
pub(crate) struct CallContext {
    /// `None` only if the transport in front does not authenticate; then nothing is permitted.
    authentication: Option<Authentication>,
    series: Option<CallSeries>,
    deadline: Option<Deadline>,
    peer: Option<IpAddr>,
}

impl CallContext {
    /// Reads the context of a request that the connection's service has passed on.
    pub(crate) fn of<T>(request: &Request<T>) -> Self {
        Self {
            authentication: request.extensions().get().cloned(),
            series: request.extensions().get().cloned(),
            deadline: request.extensions().get().copied(),
            peer: request.remote_addr().map(|address| address.ip()),
        }
    }
}

/// A call whose caller is authorized: the context of every handler.
pub(crate) struct Call {
    /// The rights of the caller.
    pub(crate) permit: Permit,
    /// The caller's deadline.
    pub(crate) deadline: Option<Deadline>,
}

/// Authorizes calls, and records refused ones. Clones share one state.
#[derive(Clone)]
pub(crate) struct CallAuthorizer {
    authorizer: Arc<Authorizer>,
    metrics: SharedMetrics,
}

impl CallAuthorizer {
    pub(crate) fn new(authorizer: Arc<Authorizer>, metrics: SharedMetrics) -> Self {
        Self { authorizer, metrics }
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
        let authentication =
            context.authentication.as_ref().ok_or(RpcError::Unauthenticated("the call has no credential"))?;
        let permit = self.authorizer.authorize_any(authentication, permissions)?;
        Ok(Call { permit, deadline: context.deadline })
    }

    /// Turns the outcome of a call into its answer. Refused calls are logged and counted. An outage or an internal
    /// error is no refusal; it is logged where it becomes a status.
    pub(crate) fn answer<T>(&self, context: &CallContext, outcome: Result<T, RpcError>) -> Result<T, Status> {
        outcome.map_err(|error| {
            let (code, reason) = error.code();
            if error.is_refusal() {
                self.metrics.admin_refused(reason);
                let actor = context.authentication.as_ref().and_then(|caller| self.authorizer.presented_key(caller));
                let method = context.series.as_ref().and_then(CallSeries::method).map(|method| method.name.as_str());
                tracing::info!(method, ?code, reason, ?actor, peer = ?context.peer, "admin call refused");
            }
            error.into()
        })
    }
}
