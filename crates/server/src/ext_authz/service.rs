//! `envoy.service.auth.v3.Authorization` as tonic serves it.

use std::sync::Arc;

use key_authority_domain::permission::Permission;
use key_authority_proto::ext_authz::authorization_server::Authorization;
use key_authority_proto::ext_authz::{CheckRequest, CheckResponse};
use tonic::{Request, Response, Status};

use super::check::check;
use crate::auth::call::{CallAuthorizer, CallContext};
use crate::proxied::Misroutes;
use crate::rpc::errors::RpcError;
use crate::verify::Verifier;

/// The service. Clones share one state.
#[derive(Clone)]
pub(crate) struct AuthorizationService {
    calls: CallAuthorizer,
    verifier: Arc<Verifier>,
    misroutes: Arc<Misroutes>,
}

impl AuthorizationService {
    /// Makes the service, which decides by `verifier`, for callers that may verify.
    pub(crate) fn new(calls: CallAuthorizer, verifier: Arc<Verifier>) -> Self {
        Self { calls, verifier, misroutes: Arc::default() }
    }
}

#[tonic::async_trait]
impl Authorization for AuthorizationService {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let call = self.calls.authorize(&CallContext::of(&request), &[Permission::Verify])?;
        let checked = check(&self.verifier, &call.permit, &self.misroutes, request.get_ref());
        Ok(Response::new(checked.map_err(RpcError::from)?))
    }
}
