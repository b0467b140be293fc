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
//! 4. Its line below: `admin_read!` for a read, `admin!` for anything else.
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
use tonic::{Request, Response, Status, Streaming};

use super::context::Admin;
use super::import_stream::ImportStream;
use crate::auth::call::{CallAuthorizer, CallContext};
use crate::auth::portal::PortalGrant;

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
        let outcome = match self.calls.authorize(context, &PortalAction::READS) {
            Ok(call) => self.admin.start_portal_session(&call, grant, browser).await,
            Err(error) => Err(error),
        };
        self.calls.answer(context, outcome)
    }
}

/// One admin RPC: its permissions, of which any is enough, and its handler.
macro_rules! admin {
    ($self:ident, $request:ident, [$($permission:ident),+], $handler:ident) => {{
        let context = CallContext::of(&$request);
        let outcome = match $self.calls.authorize(&context, &[$(Permission::$permission),+]) {
            Ok(call) => $self.admin.$handler(&call, $request.into_inner()).await,
            Err(error) => Err(error),
        };
        $self.calls.answer(&context, outcome).map(Response::new)
    }};
}

/// One admin RPC that reads from the database: the same, with a turn among the reads of its caller.
macro_rules! admin_read {
    ($self:ident, $request:ident, [$permission:ident], $handler:ident) => {{
        let context = CallContext::of(&$request);
        let _turn = match $self.calls.caller(&context) {
            Some(caller) => Some($self.admin.reads.turn(caller).await),
            None => None,
        };
        // Authorized after the wait, in which the caller may have ended.
        let outcome = match $self.calls.authorize(&context, &[Permission::$permission]) {
            Ok(call) => $self.admin.$handler(&call, $request.into_inner()).await,
            Err(error) => Err(error),
        };
        $self.calls.answer(&context, outcome).map(Response::new)
    }};
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
        admin!(self, request, [KeysWrite], create_key)
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
        admin_read!(self, request, [KeysRead], get_key)
    }

    async fn list_keys(&self, request: Request<v1::ListKeysRequest>) -> Result<Response<v1::ListKeysResponse>, Status> {
        admin_read!(self, request, [KeysRead], list_keys)
    }

    async fn update_key(
        &self,
        request: Request<v1::UpdateKeyRequest>,
    ) -> Result<Response<v1::UpdateKeyResponse>, Status> {
        admin!(self, request, [KeysWrite], update_key)
    }

    async fn disable_key(
        &self,
        request: Request<v1::DisableKeyRequest>,
    ) -> Result<Response<v1::DisableKeyResponse>, Status> {
        admin!(self, request, [KeysWrite], disable_key)
    }

    async fn enable_key(
        &self,
        request: Request<v1::EnableKeyRequest>,
    ) -> Result<Response<v1::EnableKeyResponse>, Status> {
        admin!(self, request, [KeysWrite], enable_key)
    }

    async fn revoke_key(
        &self,
        request: Request<v1::RevokeKeyRequest>,
    ) -> Result<Response<v1::RevokeKeyResponse>, Status> {
        admin!(self, request, [KeysWrite, KeysRevoke], revoke_key)
    }

    async fn revoke_keys(
        &self,
        request: Request<v1::RevokeKeysRequest>,
    ) -> Result<Response<v1::RevokeKeysResponse>, Status> {
        admin!(self, request, [KeysRevoke], revoke_keys)
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        admin!(self, request, [KeysRevoke, Verify], revoke_token)
    }

    async fn renew_key(&self, request: Request<v1::RenewKeyRequest>) -> Result<Response<v1::RenewKeyResponse>, Status> {
        admin!(self, request, [KeysWrite], renew_key)
    }

    async fn renew_token(
        &self,
        request: Request<v1::RenewTokenRequest>,
    ) -> Result<Response<v1::RenewTokenResponse>, Status> {
        admin!(self, request, [Verify], renew_token)
    }

    async fn delete_key(
        &self,
        request: Request<v1::DeleteKeyRequest>,
    ) -> Result<Response<v1::DeleteKeyResponse>, Status> {
        admin!(self, request, [KeysWrite], delete_key)
    }

    async fn reveal_token(
        &self,
        request: Request<v1::RevealTokenRequest>,
    ) -> Result<Response<v1::RevealTokenResponse>, Status> {
        admin!(self, request, [TokensReveal], reveal_token)
    }

    async fn prepare_connection(
        &self,
        request: Request<v1::PrepareConnectionRequest>,
    ) -> Result<Response<v1::PrepareConnectionResponse>, Status> {
        admin!(self, request, [KeysRead], prepare_connection)
    }

    async fn create_account(
        &self,
        request: Request<v1::CreateAccountRequest>,
    ) -> Result<Response<v1::CreateAccountResponse>, Status> {
        admin!(self, request, [AccountsWrite], create_account)
    }

    async fn get_account(&self, request: Request<v1::GetAccountRequest>) -> Result<Response<v1::Account>, Status> {
        admin_read!(self, request, [AccountsRead], get_account)
    }

    async fn list_accounts(
        &self,
        request: Request<v1::ListAccountsRequest>,
    ) -> Result<Response<v1::ListAccountsResponse>, Status> {
        admin_read!(self, request, [AccountsRead], list_accounts)
    }

    async fn update_account(
        &self,
        request: Request<v1::UpdateAccountRequest>,
    ) -> Result<Response<v1::UpdateAccountResponse>, Status> {
        admin!(self, request, [AccountsWrite], update_account)
    }

    async fn suspend_account(
        &self,
        request: Request<v1::SuspendAccountRequest>,
    ) -> Result<Response<v1::SuspendAccountResponse>, Status> {
        admin!(self, request, [AccountsWrite], suspend_account)
    }

    async fn resume_account(
        &self,
        request: Request<v1::ResumeAccountRequest>,
    ) -> Result<Response<v1::ResumeAccountResponse>, Status> {
        admin!(self, request, [AccountsWrite], resume_account)
    }

    async fn delete_account(
        &self,
        request: Request<v1::DeleteAccountRequest>,
    ) -> Result<Response<v1::DeleteAccountResponse>, Status> {
        admin!(self, request, [AccountsWrite], delete_account)
    }

    async fn list_audit_events(
        &self,
        request: Request<v1::ListAuditEventsRequest>,
    ) -> Result<Response<v1::ListAuditEventsResponse>, Status> {
        admin_read!(self, request, [AuditRead], list_audit_events)
    }

    async fn create_portal_session(
        &self,
        request: Request<v1::CreatePortalSessionRequest>,
    ) -> Result<Response<v1::CreatePortalSessionResponse>, Status> {
        admin!(self, request, [PortalWrite], create_portal_session)
    }

    async fn await_revision(
        &self,
        request: Request<v1::AwaitRevisionRequest>,
    ) -> Result<Response<v1::AwaitRevisionResponse>, Status> {
        admin!(self, request, [KeysRead], await_revision)
    }

    async fn accept_restore(
        &self,
        request: Request<v1::AcceptRestoreRequest>,
    ) -> Result<Response<v1::AcceptRestoreResponse>, Status> {
        admin!(self, request, [Operate], accept_restore)
    }

    async fn get_authority_status(
        &self,
        request: Request<v1::GetAuthorityStatusRequest>,
    ) -> Result<Response<v1::GetAuthorityStatusResponse>, Status> {
        admin_read!(self, request, [Operate], get_authority_status)
    }
}
