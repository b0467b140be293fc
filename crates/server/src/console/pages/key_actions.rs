//! Disabling, enabling, revoking, revealing and deleting a key, and waiting for a change.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use key_authority_proto::v1::key_authority_server::KeyAuthority as _;
use key_authority_proto::v1::{
    AwaitRevisionRequest, DeleteKeyRequest, DisableKeyRequest, EnableKeyRequest, Key, RevealTokenRequest,
    RevokeKeyRequest,
};

use super::create::request_id;
use super::key::{Extras, page_of};
use super::key_form::{Field, policy_of};
use super::key_view::KeyView;
use crate::console::answer::{Answer, finish, local, page, page_with};
use crate::console::failure::{Failure, sentence};
use crate::console::frame::Frame;
use crate::console::show::{self, When};
use crate::console::visit::{Ability, Visit};

/// The time within which the deletion of a used key is warned about, whatever the policy says.
const RECENT: std::time::Duration = std::time::Duration::from_hours(24);

fn check(visit: &Visit, ability: Ability) -> Result<(), Failure> {
    let message = "You may not do this with the keys of this account.";
    if visit.may(ability) { Ok(()) } else { Err(Failure::not_permitted(message)) }
}

/// Returns where a form wants to return to: the list, or the page of the key.
fn back(visit: &Visit, key: &str) -> String {
    let back = visit.fields.get("back");
    if back.is_empty() { show::path(&["keys", key]) } else { local(back).to_owned() }
}

/// Asks before somebody disables the key that the session needs.
#[derive(Template)]
#[template(path = "console/disable_own.html")]
struct DisableOwnPage {
    frame: Frame,
    key: KeyView,
    request_id: String,
    back: String,
}

/// `POST /console/keys/{key}/disable`
pub(in crate::console) async fn disable(Extension(visit): Extension<Arc<Visit>>, Path(id): Path<String>) -> Answer {
    check(&visit, Ability::Disable)?;
    let frame = Frame::new(&visit, "Disable your own key");
    if frame.is_signed_in_with(&id) && visit.fields.get("own") != "yes" {
        let key = KeyView::new(&visit.key(&id).await?, visit.now);
        let page = DisableOwnPage { frame, request_id: request_id()?, back: back(&visit, &id), key };
        return page_with(StatusCode::CONFLICT, &page);
    }
    let request_id = visit.fields.get("request_id").to_owned();
    let request = DisableKeyRequest { key_id: id.clone(), request_id };
    let done = visit.ask(visit.admin().disable_key(visit.request(request))).await;
    let what = done.as_ref().ok().and_then(|done| done.key.as_ref()).map_or_else(
        || "Disabled.".to_owned(),
        |key| format!("“{}” is disabled.", show::isolated(&KeyView::new(key, visit.now).name)),
    );
    finish(&visit, &back(&visit, &id), &what, done.map(|done| done.propagation))
}

/// `POST /console/keys/{key}/enable`
pub(in crate::console) async fn enable(Extension(visit): Extension<Arc<Visit>>, Path(id): Path<String>) -> Answer {
    check(&visit, Ability::Disable)?;
    let request_id = visit.fields.get("request_id").to_owned();
    let request = EnableKeyRequest { key_id: id.clone(), request_id };
    let done = visit.ask(visit.admin().enable_key(visit.request(request))).await;
    let what = done.as_ref().ok().and_then(|done| done.key.as_ref()).map_or_else(
        || "Enabled.".to_owned(),
        |key| format!("“{}” is enabled.", show::isolated(&KeyView::new(key, visit.now).name)),
    );
    finish(&visit, &back(&visit, &id), &what, done.map(|done| done.propagation))
}

/// `POST /console/keys/{key}/revoke`
pub(in crate::console) async fn revoke(Extension(visit): Extension<Arc<Visit>>, Path(id): Path<String>) -> Answer {
    check(&visit, Ability::Revoke)?;
    let key = visit.key(&id).await?;
    let typed = &visit.fields;
    let mut confirm = Field::new(typed.get("confirm"), "");
    let mut reason = Field::new(typed.get("reason"), "");
    if confirm.value.trim() != KeyView::new(&key, visit.now).name.trim() {
        confirm.add_error("Type the name of the key exactly as it stands above.");
        confirm.is_first_error = true;
        return revoke_again(&visit, &key, confirm, reason).await;
    }
    let request_id = typed.get("request_id").to_owned();
    let request = RevokeKeyRequest { key_id: id.clone(), reason: reason.value.clone(), request_id };
    let done = visit.ask(visit.admin().revoke_key(visit.request(request))).await;
    if let Err(failure) = &done
        && let Some((_, rule)) = failure.violations.iter().find(|(field, _)| field == "reason")
    {
        reason.add_error(&sentence(rule));
        reason.is_first_error = true;
        return revoke_again(&visit, &key, confirm, reason).await;
    }
    finish(&visit, &back(&visit, &id), "Revoked.", done.map(|done| done.propagation))
}

async fn revoke_again(visit: &Visit, key: &Key, confirm: Field, reason: Field) -> Answer {
    let policy = policy_of(visit, key).await?;
    let extras = Extras::of_revocation(confirm, reason);
    page_of(visit, StatusCode::UNPROCESSABLE_ENTITY, key, &policy, extras).await
}

#[derive(Template)]
#[template(path = "console/revealed.html")]
struct RevealedPage {
    frame: Frame,
    key: KeyView,
    token: String,
}

/// `POST /console/keys/{key}/reveal`: shows a stored token.
pub(in crate::console) async fn reveal(Extension(visit): Extension<Arc<Visit>>, Path(id): Path<String>) -> Answer {
    check(&visit, Ability::Reveal)?;
    // Read before the token: the session may end meanwhile, and its page says that its form did nothing.
    let key = KeyView::new(&visit.key(&id).await?, visit.now);
    let request = visit.request(RevealTokenRequest { key_id: id });
    let token = visit.ask(visit.admin().reveal_token(request)).await?.token;
    if visit.wants_text {
        let mut response = Response::new(Body::from(token));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        return Ok(response);
    }
    page(&RevealedPage { frame: Frame::new(&visit, show::isolated(&key.name)), key, token })
}

#[derive(Template)]
#[template(path = "console/delete.html")]
struct DeletePage {
    frame: Frame,
    key: KeyView,
    account_href: String,
    request_id: String,
    /// When the key was last used, if that was lately.
    used: Option<When>,
    /// Whether the deletion has to be insisted on.
    is_guarded: bool,
    /// Whether it was tried without that.
    is_refused: bool,
    error: String,
}

/// `GET /console/keys/{key}/delete`
pub(in crate::console) async fn ask_delete(Extension(visit): Extension<Arc<Visit>>, Path(id): Path<String>) -> Answer {
    check(&visit, Ability::Delete)?;
    let key = visit.key(&id).await?;
    delete_page(&visit, StatusCode::OK, &key, None).await
}

async fn delete_page(visit: &Visit, status: StatusCode, key: &Key, failure: Option<&Failure>) -> Answer {
    let policy = policy_of(visit, key).await?;
    let window = policy.recently_used_window.as_ref().map(show::duration).unwrap_or_default();
    let used = key.last_used_time.as_ref().and_then(show::timestamp);
    let is_recent = |within| used.is_some_and(|used| visit.now.since(used) < within);
    let is_refused = failure.is_some_and(|failure| failure.reason == "KEY_RECENTLY_USED");
    page_with(
        status,
        &DeletePage {
            frame: Frame::new(visit, "Delete key"),
            account_href: visit.list_href(&key.account),
            request_id: request_id()?,
            used: used.filter(|_| is_recent(window.max(RECENT)) || is_refused).map(|used| When::new(used, visit.now)),
            is_guarded: is_refused || is_recent(window),
            error: failure.filter(|_| !is_refused).map(Failure::sentence).unwrap_or_default(),
            is_refused,
            key: KeyView::new(key, visit.now),
        },
    )
}

/// `POST /console/keys/{key}/delete`
pub(in crate::console) async fn delete(Extension(visit): Extension<Arc<Visit>>, Path(id): Path<String>) -> Answer {
    check(&visit, Ability::Delete)?;
    let fields = &visit.fields;
    let request = DeleteKeyRequest {
        key_id: id.clone(),
        allow_recently_used: fields.get("allow_recently_used") == "yes",
        request_id: fields.get("request_id").to_owned(),
    };
    let done = visit.ask(visit.admin().delete_key(visit.request(request))).await;
    match done {
        Err(failure) if failure.reason == "KEY_RECENTLY_USED" => {
            let key = visit.key(&id).await?;
            delete_page(&visit, StatusCode::CONFLICT, &key, Some(&failure)).await
        }
        done => {
            let to = local(fields.get("back"));
            finish(&visit, to, "Deleted.", done.map(|done| done.propagation))
        }
    }
}

/// `POST /console/wait`: continues the wait for a change.
pub(in crate::console) async fn wait(Extension(visit): Extension<Arc<Visit>>) -> Answer {
    let revision = visit.fields.get("revision").parse();
    let revision = revision.map_err(|_| Failure::wrong_field("The revision must be a number."))?;
    let request = visit.request(AwaitRevisionRequest { revision });
    let done = visit.ask(visit.admin().await_revision(request)).await;
    let what = format!("Revision {}.", show::count(revision));
    finish(&visit, local(visit.fields.get("back")), &what, done.map(|done| done.propagation))
}
