//! `keyauthority.v1.KeyAuthority` as tonic serves it: each admin RPC with its permissions and its handler. The raw
//! transport serves the Verify methods ([`crate::verify::methods`]).
//!
//! To add an RPC:
//!
//! 1. `proto/keyauthority/v1/key_authority.proto`: the method. Its comment has a sentence about the effect, the line
//!    `Permission:`, and the errors.
//! 2. `wire/`: the rules of its fields, as one function that returns all violations at once, with a row in
//!    `wire/tests.rs`.
//! 3. A handler on [`Admin`] in the file of its subject. A read calls `self.store`; a change calls [`Admin::mutate`].
//! 4. Its line below: `self.read` for a read; `self.call` for anything else, in which [`Admin::begin_reading`] reads.
//! 5. `tests/e2e/coverage/table.rs`: its row, which tests permission, tenancy and event. Then tests of its behaviour in
//!    `tests/e2e/api`, and of its bad input in `tests/e2e/input`.
//! 6. `keyctl`, if people use it by hand: a command, its test, and `docs/keyctl.md`. Then `CHANGELOG.md`.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use key_authority_domain::account::Account;
use key_authority_domain::permission::Permission;
use key_authority_domain::portal::PortalAction;
use key_authority_proto::v1;
use key_authority_proto::v1::key_authority_server::KeyAuthority;
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::context::Admin;
use super::import_stream::ImportStream;
use crate::auth::call::{Call, CallAuthorizer, CallContext};
use crate::auth::portal::PortalGrant;
use crate::rpc::errors::RpcError;
use crate::transport::connection::ConnectionContext;

/// The service. Clones share one state.
#[derive(Clone)]
pub(crate) struct AdminService {
    admin: Arc<Admin>,
    calls: CallAuthorizer,
}

impl AdminService {
    /// Serves `admin` to the callers that `calls` authorizes.
    pub(crate) fn new(admin: Arc<Admin>, calls: CallAuthorizer) -> Self {
        Self { admin, calls }
    }

    /// Starts the portal session of a code, whose credential is in `context`, in the browser with this digest. Returns
    /// its account.
    ///
    /// # Errors
    /// `ALREADY_EXISTS` if it has started before in another browser.
    pub(crate) async fn start_portal_session(
        &self,
        context: &CallContext,
        grant: &PortalGrant,
        browser: &[u8; 32],
    ) -> Result<Account, Status> {
        self.answer(context, &PortalAction::READS, async |admin, call| {
            admin.start_portal_session(call, grant, browser).await
        })
        .await
    }

    /// Answers an admin RPC by its handler, if the caller has any of the `permissions`.
    async fn call<Q, R>(
        &self,
        request: Request<Q>,
        permissions: &'static [Permission],
        handler: impl AsyncFnOnce(&Admin, &Call, Q) -> Result<R, RpcError>,
    ) -> Result<Response<R>, Status> {
        let context = CallContext::of(&request);
        let handle = async |admin: &Admin, call: &Call| handler(admin, call, request.into_inner()).await;
        self.answer(&context, permissions, handle).await.map(Response::new)
    }

    /// Answers an admin RPC that reads from the database, in its turn among the reads of its caller.
    async fn read<Q: Message, R>(
        &self,
        request: Request<Q>,
        permissions: &'static [Permission],
        handler: impl AsyncFnOnce(&Admin, &Call, Q) -> Result<R, RpcError>,
    ) -> Result<Response<R>, Status> {
        let _turn = match self.calls.caller(&CallContext::of(&request)) {
            Some(caller) => {
                // What waits is in memory, and no rule about its fields has been applied.
                let mut waiting = request.extensions().get().map(|c: &ConnectionContext| c.budget.request());
                let charged = waiting.as_mut().map_or(Ok(()), |charge| charge.set(request.get_ref().encoded_len()));
                charged.map_err(RpcError::from)?;
                self.admin.reads.acquire(caller).await
            }
            None => None,
        };
        // Authorized after the wait, in which the caller may have ended.
        self.call(request, permissions, handler).await
    }

    async fn answer<R>(
        &self,
        context: &CallContext,
        permissions: &'static [Permission],
        handler: impl AsyncFnOnce(&Admin, &Call) -> Result<R, RpcError>,
    ) -> Result<R, Status> {
        let outcome = match self.calls.authorize(context, permissions) {
            // Boxed, since the futures of some handlers have 16 KiB.
            Ok(call) => Box::pin(handler(&self.admin, &call)).await,
            Err(error) => Err(error),
        };
        self.calls.answer(context, outcome)
    }
}

/// Returns the error of a method that the raw transport must intercept before tonic's routes.
fn served_raw<T>() -> Result<T, Status> {
    Err(Status::unimplemented("this method is served by the raw transport"))
}

#[tonic::async_trait]
impl KeyAuthority for AdminService {
    async fn verify(&self, _: Request<v1::VerifyRequest>) -> Result<Response<v1::VerifyResponse>, Status> {
        served_raw()
    }

    async fn batch_verify(
        &self,
        _: Request<v1::BatchVerifyRequest>,
    ) -> Result<Response<v1::BatchVerifyResponse>, Status> {
        served_raw()
    }

    type VerifyStreamStream = futures_util::stream::Empty<Result<v1::VerifyStreamResponse, Status>>;

    async fn verify_stream(
        &self,
        _: Request<Streaming<v1::VerifyStreamRequest>>,
    ) -> Result<Response<Self::VerifyStreamStream>, Status> {
        served_raw()
    }

    async fn create_key(
        &self,
        request: Request<v1::CreateKeyRequest>,
    ) -> Result<Response<v1::CreateKeyResponse>, Status> {
        self.call(request, &[Permission::KeysWrite], Admin::create_key).await
    }

    type ImportKeysStream = Pin<Box<dyn Stream<Item = Result<v1::ImportKeysResponse, Status>> + Send>>;

    async fn import_keys(
        &self,
        request: Request<Streaming<v1::ImportKeysRequest>>,
    ) -> Result<Response<Self::ImportKeysStream>, Status> {
        let context = CallContext::of(&request);
        let authorized = self.calls.authorize(&context, &[Permission::KeysWrite]);
        self.calls.answer(&context, authorized)?;
        let (admin, calls) = (Arc::clone(&self.admin), self.calls.clone());
        let import = ImportStream { admin, calls, context, messages: request.into_inner() };
        Ok(Response::new(Box::pin(import.responses())))
    }

    async fn get_key(&self, request: Request<v1::GetKeyRequest>) -> Result<Response<v1::Key>, Status> {
        self.read(request, &[Permission::KeysRead], Admin::get_key).await
    }

    async fn list_keys(&self, request: Request<v1::ListKeysRequest>) -> Result<Response<v1::ListKeysResponse>, Status> {
        self.read(request, &[Permission::KeysRead], Admin::list_keys).await
    }

    async fn update_key(
        &self,
        request: Request<v1::UpdateKeyRequest>,
    ) -> Result<Response<v1::UpdateKeyResponse>, Status> {
        self.call(request, &[Permission::KeysWrite], Admin::update_key).await
    }

    async fn disable_key(
        &self,
        request: Request<v1::DisableKeyRequest>,
    ) -> Result<Response<v1::DisableKeyResponse>, Status> {
        self.call(request, &[Permission::KeysWrite], Admin::disable_key).await
    }

    async fn enable_key(
        &self,
        request: Request<v1::EnableKeyRequest>,
    ) -> Result<Response<v1::EnableKeyResponse>, Status> {
        self.call(request, &[Permission::KeysWrite], Admin::enable_key).await
    }

    async fn revoke_key(
        &self,
        request: Request<v1::RevokeKeyRequest>,
    ) -> Result<Response<v1::RevokeKeyResponse>, Status> {
        self.call(request, &[Permission::KeysWrite, Permission::KeysRevoke], Admin::revoke_key).await
    }

    async fn revoke_keys(
        &self,
        request: Request<v1::RevokeKeysRequest>,
    ) -> Result<Response<v1::RevokeKeysResponse>, Status> {
        self.call(request, &[Permission::KeysRevoke], Admin::revoke_keys).await
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        self.call(request, &[Permission::KeysRevoke, Permission::Verify], Admin::revoke_token).await
    }

    async fn renew_key(&self, request: Request<v1::RenewKeyRequest>) -> Result<Response<v1::RenewKeyResponse>, Status> {
        self.call(request, &[Permission::KeysWrite], Admin::renew_key).await
    }

    async fn renew_token(
        &self,
        request: Request<v1::RenewTokenRequest>,
    ) -> Result<Response<v1::RenewTokenResponse>, Status> {
        self.call(request, &[Permission::Verify], Admin::renew_token).await
    }

    async fn delete_key(
        &self,
        request: Request<v1::DeleteKeyRequest>,
    ) -> Result<Response<v1::DeleteKeyResponse>, Status> {
        self.call(request, &[Permission::KeysWrite], Admin::delete_key).await
    }

    async fn reveal_token(
        &self,
        request: Request<v1::RevealTokenRequest>,
    ) -> Result<Response<v1::RevealTokenResponse>, Status> {
        self.call(request, &[Permission::TokensReveal], Admin::reveal_token).await
    }

    async fn prepare_connection(
        &self,
        request: Request<v1::PrepareConnectionRequest>,
    ) -> Result<Response<v1::PrepareConnectionResponse>, Status> {
        self.call(request, &[Permission::KeysRead], Admin::prepare_connection).await
    }

    async fn create_account(
        &self,
        request: Request<v1::CreateAccountRequest>,
    ) -> Result<Response<v1::CreateAccountResponse>, Status> {
        self.call(request, &[Permission::AccountsWrite], Admin::create_account).await
    }

    async fn get_account(&self, request: Request<v1::GetAccountRequest>) -> Result<Response<v1::Account>, Status> {
        self.read(request, &[Permission::AccountsRead], Admin::get_account).await
    }

    async fn list_accounts(
        &self,
        request: Request<v1::ListAccountsRequest>,
    ) -> Result<Response<v1::ListAccountsResponse>, Status> {
        self.read(request, &[Permission::AccountsRead], Admin::list_accounts).await
    }

    async fn update_account(
        &self,
        request: Request<v1::UpdateAccountRequest>,
    ) -> Result<Response<v1::UpdateAccountResponse>, Status> {
        self.call(request, &[Permission::AccountsWrite], Admin::update_account).await
    }

    async fn suspend_account(
        &self,
        request: Request<v1::SuspendAccountRequest>,
    ) -> Result<Response<v1::SuspendAccountResponse>, Status> {
        self.call(request, &[Permission::AccountsWrite], Admin::suspend_account).await
    }

    async fn resume_account(
        &self,
        request: Request<v1::ResumeAccountRequest>,
    ) -> Result<Response<v1::ResumeAccountResponse>, Status> {
        self.call(request, &[Permission::AccountsWrite], Admin::resume_account).await
    }

    async fn delete_account(
        &self,
        request: Request<v1::DeleteAccountRequest>,
    ) -> Result<Response<v1::DeleteAccountResponse>, Status> {
        self.call(request, &[Permission::AccountsWrite], Admin::delete_account).await
    }

    async fn list_audit_events(
        &self,
        request: Request<v1::ListAuditEventsRequest>,
    ) -> Result<Response<v1::ListAuditEventsResponse>, Status> {
        self.read(request, &[Permission::AuditRead], Admin::list_audit_events).await
    }

    async fn create_portal_session(
        &self,
        request: Request<v1::CreatePortalSessionRequest>,
    ) -> Result<Response<v1::CreatePortalSessionResponse>, Status> {
        self.call(request, &[Permission::PortalWrite], Admin::create_portal_session).await
    }

    async fn await_revision(
        &self,
        request: Request<v1::AwaitRevisionRequest>,
    ) -> Result<Response<v1::AwaitRevisionResponse>, Status> {
        self.call(request, &[Permission::KeysRead], Admin::await_revision).await
    }

    async fn accept_restore(
        &self,
        request: Request<v1::AcceptRestoreRequest>,
    ) -> Result<Response<v1::AcceptRestoreResponse>, Status> {
        self.call(request, &[Permission::Operate], Admin::accept_restore).await
    }

    async fn get_authority_status(
        &self,
        request: Request<v1::GetAuthorityStatusRequest>,
    ) -> Result<Response<v1::GetAuthorityStatusResponse>, Status> {
        self.read(request, &[Permission::Operate], Admin::get_authority_status).await
    }
}
