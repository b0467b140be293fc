//! `keyauthority.v1.KeyAuthority`: each RPC with the permission it takes and the handler that does it; and the one of
//! `envoy.service.auth.v3.Authorization`.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use http::HeaderMap;
use key_authority_domain::id::Actor;
use key_authority_domain::permission::Permission;
#[cfg(feature = "ext-authz")]
use key_authority_proto::ext_authz::{CheckRequest, CheckResponse, authorization_server::Authorization};
use key_authority_proto::v1;
use key_authority_proto::v1::key_authority_server::KeyAuthority;
use prost::Message;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::import_stream::Imports;
use crate::admin::Admin;
use crate::auth::permit::{Callers, Credential, Permit};
#[cfg(feature = "ext-authz")]
use crate::ext_authz;
use crate::observability::metrics::SharedMetrics;
use crate::rpc::deadline::Deadline;
use crate::rpc::decode_errors;
use crate::rpc::errors::RpcError;
use crate::verify::Verifier;
use crate::verify::message::unframed;

/// The service. Clones are the same one.
#[derive(Clone)]
pub struct Service {
    pub(super) callers: Arc<Callers>,
    verifier: Arc<Verifier>,
    pub(super) admin: Admin,
    metrics: SharedMetrics,
    /// Cancelled when the server ends: then its streams end as well, in order.
    pub(super) ending: CancellationToken,
    #[cfg(feature = "ext-authz")]
    misroutes: Arc<ext_authz::Misroutes>,
}

impl Service {
    /// A service of these parts.
    #[must_use]
    pub fn new(
        callers: Arc<Callers>,
        verifier: Arc<Verifier>,
        admin: Admin,
        metrics: SharedMetrics,
        ending: CancellationToken,
    ) -> Self {
        Self {
            callers,
            verifier,
            admin,
            metrics,
            ending,
            #[cfg(feature = "ext-authz")]
            misroutes: Arc::default(),
        }
    }

    /// Whether anybody who is known calls, by the headers of a call.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, or that this replica cannot tell.
    pub fn know(&self, headers: &HeaderMap) -> Result<(), RpcError> {
        self.callers.know(&self.callers.credential(headers, None)?)
    }

    fn permit<T>(&self, request: &Request<T>, permissions: &'static [Permission]) -> Result<Permit, RpcError> {
        self.callers.authorize_any(&self.credential(request)?, permissions)
    }

    fn credential<T>(&self, request: &Request<T>) -> Result<Credential, RpcError> {
        self.callers.credential(request.metadata().as_ref(), address(request))
    }

    /// Turns the outcome of an admin call into its answer. Refused calls are logged and counted; what is our fault, or the
    /// database's, is no refusal, and is logged where it becomes a status.
    fn answer<T>(
        &self,
        method: &'static str,
        caller: &Caller,
        outcome: Result<T, RpcError>,
    ) -> Result<Response<T>, Status> {
        self.outcome(method, caller, outcome).map(Response::new)
    }

    pub(super) fn outcome<T>(
        &self,
        method: &'static str,
        caller: &Caller,
        outcome: Result<T, RpcError>,
    ) -> Result<T, Status> {
        outcome.map_err(|failure| {
            let (code, reason) = failure.code();
            if failure.is_refusal() {
                self.metrics.admin_refused(reason);
                let Caller { actor, address } = caller;
                tracing::info!(method, ?code, reason, ?actor, ?address, "refused");
            }
            failure.into()
        })
    }
}

/// Who called, as far as that is known, for the log.
pub(super) struct Caller {
    pub(super) actor: Option<Actor>,
    pub(super) address: Option<IpAddr>,
}

fn address<T>(request: &Request<T>) -> Option<IpAddr> {
    request.remote_addr().map(|address| address.ip())
}

/// One admin RPC: `name: Request => Response, permissions, handler`. The handler gets the permit and the request.
macro_rules! admin {
    ($self:ident, $request:ident, $method:literal, [$($permission:ident),+], $handler:ident) => {{
        let permit = $self.permit(&$request, &[$(Permission::$permission),+]);
        let actor = permit.as_ref().ok().and_then(|permit| permit.actor().ok());
        let caller = Caller { actor, address: address(&$request) };
        let outcome = match permit {
            Ok(permit) => {
                let deadline = $request.extensions().get::<Deadline>().copied();
                $self.admin.until(deadline).$handler(&permit, $request.into_inner()).await
            }
            Err(failure) => Err(failure),
        };
        $self.answer($method, &caller, outcome)
    }};
}

#[tonic::async_trait]
impl KeyAuthority for Service {
    // The three questions come here only while calls are traced: see `verify::door`, which answers them by the same functions.

    async fn verify(&self, request: Request<v1::VerifyRequest>) -> Result<Response<v1::VerifyResponse>, Status> {
        let permit = self.permit(&request, &[Permission::Verify])?;
        let mut answer = Vec::new();
        self.verifier.verify(&permit, &request.get_ref().encode_to_vec(), &mut answer)?;
        Ok(Response::new(message(&answer)?))
    }

    async fn batch_verify(
        &self,
        request: Request<v1::BatchVerifyRequest>,
    ) -> Result<Response<v1::BatchVerifyResponse>, Status> {
        let permit = self.permit(&request, &[Permission::Verify])?;
        let mut answer = Vec::new();
        self.verifier.batch_verify(&permit, &request.get_ref().encode_to_vec(), &mut answer)?;
        Ok(Response::new(message(&answer)?))
    }

    type VerifyStreamStream = Pin<Box<dyn Stream<Item = Result<v1::VerifyStreamResponse, Status>> + Send>>;

    async fn verify_stream(
        &self,
        request: Request<Streaming<v1::VerifyStreamRequest>>,
    ) -> Result<Response<Self::VerifyStreamStream>, Status> {
        let credential = self.credential(&request)?;
        self.callers.authorize_verify(&credential)?;
        let Self { callers, verifier, .. } = self.clone();
        let answers = request.into_inner().map(move |question| {
            let question = question.map_err(|status| decode_errors::failure(&status).map_or(status, Status::from))?;
            let mut answer = Vec::new();
            verifier.verify_on_stream(&callers, &credential, &[&question.encode_to_vec()], &mut answer)?;
            message(unframed(&answer))
        });
        Ok(Response::new(Box::pin(answers.take_until(self.ending.clone().cancelled_owned()))))
    }

    async fn create_key(
        &self,
        request: Request<v1::CreateKeyRequest>,
    ) -> Result<Response<v1::CreateKeyResponse>, Status> {
        admin!(self, request, "CreateKey", [KeysWrite], create_key)
    }

    type ImportKeysStream = Pin<Box<dyn Stream<Item = Result<v1::ImportKeysResponse, Status>> + Send>>;

    async fn import_keys(
        &self,
        request: Request<Streaming<v1::ImportKeysRequest>>,
    ) -> Result<Response<Self::ImportKeysStream>, Status> {
        let caller = Caller { actor: None, address: address(&request) };
        let permitted = self.credential(&request).and_then(|credential| {
            self.callers.authorize_any(&credential, &[Permission::KeysWrite])?;
            Ok(credential)
        });
        let credential = self.outcome("ImportKeys", &caller, permitted)?;
        let deadline = request.extensions().get::<Deadline>().copied();
        let imports = Imports { service: self.clone(), credential, caller, deadline, messages: request.into_inner() };
        Ok(Response::new(Box::pin(imports.answers())))
    }

    async fn get_key(&self, request: Request<v1::GetKeyRequest>) -> Result<Response<v1::Key>, Status> {
        admin!(self, request, "GetKey", [KeysRead], get_key)
    }

    async fn list_keys(&self, request: Request<v1::ListKeysRequest>) -> Result<Response<v1::ListKeysResponse>, Status> {
        admin!(self, request, "ListKeys", [KeysRead], list_keys)
    }

    async fn update_key(
        &self,
        request: Request<v1::UpdateKeyRequest>,
    ) -> Result<Response<v1::UpdateKeyResponse>, Status> {
        admin!(self, request, "UpdateKey", [KeysWrite], update_key)
    }

    async fn disable_key(
        &self,
        request: Request<v1::DisableKeyRequest>,
    ) -> Result<Response<v1::DisableKeyResponse>, Status> {
        admin!(self, request, "DisableKey", [KeysWrite], disable_key)
    }

    async fn enable_key(
        &self,
        request: Request<v1::EnableKeyRequest>,
    ) -> Result<Response<v1::EnableKeyResponse>, Status> {
        admin!(self, request, "EnableKey", [KeysWrite], enable_key)
    }

    async fn revoke_key(
        &self,
        request: Request<v1::RevokeKeyRequest>,
    ) -> Result<Response<v1::RevokeKeyResponse>, Status> {
        admin!(self, request, "RevokeKey", [KeysWrite, KeysRevoke], revoke_key)
    }

    async fn renew_key(&self, request: Request<v1::RenewKeyRequest>) -> Result<Response<v1::RenewKeyResponse>, Status> {
        admin!(self, request, "RenewKey", [KeysWrite], renew_key)
    }

    async fn delete_key(
        &self,
        request: Request<v1::DeleteKeyRequest>,
    ) -> Result<Response<v1::DeleteKeyResponse>, Status> {
        admin!(self, request, "DeleteKey", [KeysWrite], delete_key)
    }

    async fn reveal_token(
        &self,
        request: Request<v1::RevealTokenRequest>,
    ) -> Result<Response<v1::RevealTokenResponse>, Status> {
        admin!(self, request, "RevealToken", [TokensReveal], reveal_token)
    }

    async fn get_connect_instructions(
        &self,
        request: Request<v1::GetConnectInstructionsRequest>,
    ) -> Result<Response<v1::GetConnectInstructionsResponse>, Status> {
        admin!(self, request, "GetConnectInstructions", [KeysRead], get_connect_instructions)
    }

    async fn create_account(
        &self,
        request: Request<v1::CreateAccountRequest>,
    ) -> Result<Response<v1::CreateAccountResponse>, Status> {
        admin!(self, request, "CreateAccount", [AccountsWrite], create_account)
    }

    async fn get_account(&self, request: Request<v1::GetAccountRequest>) -> Result<Response<v1::Account>, Status> {
        admin!(self, request, "GetAccount", [AccountsRead], get_account)
    }

    async fn list_accounts(
        &self,
        request: Request<v1::ListAccountsRequest>,
    ) -> Result<Response<v1::ListAccountsResponse>, Status> {
        admin!(self, request, "ListAccounts", [AccountsRead], list_accounts)
    }

    async fn update_account(
        &self,
        request: Request<v1::UpdateAccountRequest>,
    ) -> Result<Response<v1::UpdateAccountResponse>, Status> {
        admin!(self, request, "UpdateAccount", [AccountsWrite], update_account)
    }

    async fn suspend_account(
        &self,
        request: Request<v1::SuspendAccountRequest>,
    ) -> Result<Response<v1::SuspendAccountResponse>, Status> {
        admin!(self, request, "SuspendAccount", [AccountsWrite], suspend_account)
    }

    async fn resume_account(
        &self,
        request: Request<v1::ResumeAccountRequest>,
    ) -> Result<Response<v1::ResumeAccountResponse>, Status> {
        admin!(self, request, "ResumeAccount", [AccountsWrite], resume_account)
    }

    async fn delete_account(
        &self,
        request: Request<v1::DeleteAccountRequest>,
    ) -> Result<Response<v1::DeleteAccountResponse>, Status> {
        admin!(self, request, "DeleteAccount", [AccountsWrite], delete_account)
    }

    async fn list_audit_events(
        &self,
        request: Request<v1::ListAuditEventsRequest>,
    ) -> Result<Response<v1::ListAuditEventsResponse>, Status> {
        admin!(self, request, "ListAuditEvents", [AuditRead], list_audit_events)
    }

    async fn await_revision(
        &self,
        request: Request<v1::AwaitRevisionRequest>,
    ) -> Result<Response<v1::AwaitRevisionResponse>, Status> {
        admin!(self, request, "AwaitRevision", [KeysRead], await_revision)
    }

    async fn accept_restore(
        &self,
        request: Request<v1::AcceptRestoreRequest>,
    ) -> Result<Response<v1::AcceptRestoreResponse>, Status> {
        admin!(self, request, "AcceptRestore", [Operate], accept_restore)
    }

    async fn get_authority_status(
        &self,
        request: Request<v1::GetAuthorityStatusRequest>,
    ) -> Result<Response<v1::GetAuthorityStatusResponse>, Status> {
        admin!(self, request, "GetAuthorityStatus", [Operate], get_authority_status)
    }
}

/// What a proxy asks about a request. The caller is judged as a caller of Verify is.
#[cfg(feature = "ext-authz")]
#[tonic::async_trait]
impl Authorization for Service {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let permit = self.permit(&request, &[Permission::Verify])?;
        Ok(Response::new(ext_authz::check(&self.verifier, &permit, &self.misroutes, request.get_ref())))
    }
}

/// An answer of ours as the type that tonic writes.
fn message<M: Message + Default>(bytes: &[u8]) -> Result<M, Status> {
    M::decode(bytes).map_err(|error| Status::internal(format!("an answer that is none: {error}")))
}
