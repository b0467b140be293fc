//! `POST /revoke`: the end of a key by possession of its token (RFC 7009). It is a `RevokeToken` whose answer is in the
//! terms of OAuth.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use key_authority_domain::permission::Permission;
use key_authority_proto::v1::RevokeTokenRequest;

use super::caller::{authorize, oauth_failed};
use super::form::Form;
use super::session::{Session, Shared};
use crate::auth::credential::CallerToken;
use crate::rpc::errors::RpcError;

/// The parameters of the standard.
const PARAMETERS: [&str; 2] = ["token", "token_type_hint"];
/// Any of them is enough; the second one only if the policy of the account allows it.
const PERMISSIONS: &[Permission] = &[Permission::KeysRevoke, Permission::Verify];

pub(super) async fn revoke(
    State(shared): State<Arc<Shared>>,
    Extension(session): Extension<Session>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    // Nothing is read from a stranger.
    let place = ("/revoke", CallerToken::AuthorizationOrBasic);
    let caller = match authorize(&shared, &session, &parts.headers, place, PERMISSIONS) {
        Ok(caller) => caller,
        Err(error) => return oauth_failed(error),
    };
    let form = match Form::read(&parts.headers, body, session.connection.budget.request(), &PARAMETERS).await {
        Ok(form) => form,
        Err(response) => return response,
    };
    // There is one type of token, so that a hint changes nothing.
    let token = match form.required("token") {
        Ok(token) => token.to_owned(),
        Err(response) => return response,
    };
    match shared.admin.revoke_token(&caller.call, RevokeTokenRequest { token, ..RevokeTokenRequest::default() }).await {
        // Section 2.2: a text that is no token of a key is no error, since the client cannot handle one. Only the token
        // can be invalid here.
        Ok(_) | Err(RpcError::KeyNotFound | RpcError::Invalid(_)) => Response::new(Body::empty()),
        Err(error) => oauth_failed(caller.refused(&shared, error)),
    }
}
