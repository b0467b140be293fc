//! A request of somebody who is signed in.

use std::sync::Arc;

use http::Method;
use key_authority_domain::permission::Permission;
pub(super) use key_authority_domain::portal::PortalAction as Ability;
use key_authority_domain::time::Timestamp;
use key_authority_proto::v1::key_authority_server::KeyAuthority as _;
use key_authority_proto::v1::{Account, GetAccountRequest, GetKeyRequest, Key};
use tonic::{Response, Status};

use super::failure::Failure;
use super::fields::Fields;
use super::notice::Notice;
use super::session::Session;
use super::shared::Shared;
use super::show;
use crate::admin::service::AdminService;
use crate::auth::call::RequestPath;
use crate::auth::credential::Authentication;
use crate::auth::permit::{Permit, Rights as _};
use crate::rpc::deadline::Deadline;
use crate::rpc::errors::RpcError;
use crate::transport::connection::ConnectionContext;

/// A request of somebody who is signed in.
pub(super) struct Visit {
    pub(super) shared: Arc<Shared>,
    pub(super) session: Session,
    pub(super) method: Method,
    /// The path with the query.
    pub(super) path: String,
    /// The path as its route has it.
    pub(super) route: RequestPath,
    /// The form of a POST; the query of any other request.
    pub(super) fields: Fields,
    /// The time of the authority.
    pub(super) now: Timestamp,
    /// What the last change did.
    pub(super) notice: Option<Notice>,
    pub(super) is_secure: bool,
    /// Whether a script asks for the bare value.
    pub(super) wants_text: bool,
    pub(super) permit: Permit,
    pub(super) authentication: Authentication,
    pub(super) connection: ConnectionContext,
    pub(super) deadline: Option<Deadline>,
}

impl Visit {
    /// Returns the service that answers calls of the API.
    pub(super) fn admin(&self) -> &AdminService {
        &self.shared.admin
    }

    /// Makes a call of the API by the visitor, as the transport of gRPC does.
    pub(super) fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let extensions = request.extensions_mut();
        extensions.insert(self.authentication.clone());
        extensions.insert(self.connection.clone());
        extensions.insert(self.route.clone());
        if let Some(deadline) = self.deadline {
            extensions.insert(deadline);
        }
        request
    }

    /// Waits for a call of the API, until its deadline.
    pub(super) async fn ask<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Failure> {
        let remaining = self.deadline.map_or(self.shared.patience, |deadline| deadline.remaining());
        match tokio::time::timeout(remaining, call).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_elapsed) => Err(RpcError::DeadlineExceeded.into()),
        }
    }

    /// Reads a key.
    pub(super) async fn key(&self, id: &str) -> Result<Key, Failure> {
        let request = GetKeyRequest { key_id: id.to_owned() };
        self.ask(self.admin().get_key(self.request(request))).await
    }

    /// Reads an account.
    pub(super) async fn account(&self, id: &str) -> Result<Account, Failure> {
        let request = GetAccountRequest { account: id.to_owned() };
        self.ask(self.admin().get_account(self.request(request))).await
    }

    /// Whether the visitor may do this, with keys that it may see. The call itself is authorized again.
    pub(super) fn may(&self, ability: Ability) -> bool {
        let is_allowed = self.session.portal().is_none_or(|portal| portal.grant.may.contains(&ability));
        is_allowed && ability.permissions().iter().any(|permission| self.permit.has(*permission))
    }

    /// Returns the page of an account, or the list of all keys for a visitor who may not see it.
    pub(super) fn list_href(&self, account: &str) -> String {
        if self.has(Permission::AccountsRead) { show::path(&["accounts", account]) } else { "/console/keys".to_owned() }
    }

    /// Whether the visitor has a permission.
    pub(super) fn has(&self, permission: Permission) -> bool {
        self.permit.has(permission)
    }

    /// Returns who the visitor is, for the page.
    pub(super) fn who(&self) -> String {
        self.permit.actor().map(|actor| actor.as_str().to_owned()).unwrap_or_default()
    }
}
