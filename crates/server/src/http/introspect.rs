//! `POST /introspect`: the state of a token (RFC 7662). It is a Verify whose answer is in the terms of OAuth.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use key_authority_domain::permission::Permission;
use key_authority_domain::verdict::Verdict;
use key_authority_replica::index::KeyRecord;
use serde_json::{Value, json};

use super::caller::{authorize, oauth_failed};
use super::form::Form;
use super::reply::reply;
use super::session::{Session, Shared};
use crate::auth::credential::CallerToken;
use crate::auth::permit::Permit;
use crate::rpc::errors::RpcError;
use crate::verify::VerifyRequestRef;

/// The parameters: those of the standard, and the conditions of a Verify.
const PARAMETERS: [&str; 6] = ["token", "token_type_hint", "scope", "account", "project", "client_ip"];

pub(super) async fn introspect(
    State(shared): State<Arc<Shared>>,
    Extension(session): Extension<Session>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    // Nothing is read from a stranger.
    let place = ("/introspect", CallerToken::AuthorizationOrBasic);
    let permit = match authorize(&shared, &session, &parts.headers, place, &[Permission::Verify]) {
        Ok(caller) => caller.call.permit,
        Err(error) => return oauth_failed(error),
    };
    let answer = async {
        let form = Form::read(&parts.headers, body, session.connection.budget.request(), &PARAMETERS).await?;
        let token = form.required("token")?;
        // There is one type of token, so that a hint changes nothing.
        decide(&shared, &permit, token, &form).map_err(oauth_failed)
    };
    answer.await.map_or_else(|response| response, |answer| reply(StatusCode::OK, &answer))
}

fn decide(shared: &Shared, permit: &Permit, token: &str, form: &Form) -> Result<Value, RpcError> {
    let request = VerifyRequestRef {
        token,
        project: form.get("project"),
        scopes: form.get("scope").split(' ').filter(|scope| !scope.is_empty()).collect(),
        client_ip: form.get("client_ip"),
        account: form.get("account"),
        key_id: "",
    };
    if !form.get("scope").is_empty() && request.scopes.is_empty() {
        return Err(RpcError::invalid("scope", "must not be empty; omit it if nothing is required"));
    }
    let question = request.question()?;
    let index = shared.verifier.read();
    let decision = shared.verifier.decide(&index, permit, token, &question)?;
    shared.verifier.count(permit, &decision);
    let record = decision.key.filter(|_| decision.verdict == Verdict::Valid);
    // The standard wants no reason: a caller that wants one calls Verify.
    Ok(record.map_or_else(|| json!({ "active": false }), |record| active(record)))
}

fn active(record: &KeyRecord) -> Value {
    let scopes: Vec<_> = record.access().scopes.iter().map(key_authority_domain::access::Scope::as_str).collect();
    let mut answer = json!({
        "active": true,
        "token_type": "Bearer",
        "client_id": record.id().as_str(),
        "sub": record.account().as_str(),
    });
    if let Some(fields) = answer.as_object_mut() {
        if !scopes.is_empty() {
            fields.insert("scope".to_owned(), scopes.join(" ").into());
        }
        if let Some(end) = record.end() {
            // Rounded down: the token is not valid any more at the end of that second.
            fields.insert("exp".to_owned(), end.micros().div_euclid(1_000_000).into());
        }
    }
    answer
}
