//! Renewing a key: the same key with a new token.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::Path;
use http::StatusCode;
use key_authority_proto::v1::create_key_request::Expiry;
use key_authority_proto::v1::key_authority_server::KeyAuthority as _;
use key_authority_proto::v1::renew_key_request::Expiry as RenewExpiry;
use key_authority_proto::v1::{Key, KeyPolicy, RenewKeyRequest};

use super::create::request_id;
use super::created::{self, Issued};
use super::expiry::ExpiryMenu;
use super::key_form::policy_of;
use super::key_view::KeyView;
use super::lost;
use super::overlap::{OverlapChoice, overlaps};
use crate::console::answer::{Answer, page_with};
use crate::console::failure::Failure;
use crate::console::frame::Frame;
use crate::console::show::When;
use crate::console::visit::{Ability, Visit};

/// What happens to the old token without an overlap.
const ENDED: &str = "The old token has ended.";

#[derive(Template)]
#[template(path = "console/renew.html")]
struct RenewPage {
    frame: Frame,
    key: KeyView,
    overlaps: Vec<OverlapChoice>,
    expiry: ExpiryMenu,
    request_id: String,
    errors: Vec<String>,
}

fn check(visit: &Visit) -> Result<(), Failure> {
    let message = "You may not renew the keys of this account.";
    if visit.may(Ability::Renew) { Ok(()) } else { Err(Failure::not_permitted(message)) }
}

/// `GET /console/keys/{key}/renew`
pub(in crate::console) async fn ask(Extension(visit): Extension<Arc<Visit>>, Path(id): Path<String>) -> Answer {
    check(&visit)?;
    let key = visit.key(&id).await?;
    let policy = policy_of(&visit, &key).await?;
    form(&visit, &key, &policy, None)
}

fn form(visit: &Visit, key: &Key, policy: &KeyPolicy, failure: Option<&Failure>) -> Answer {
    let view = KeyView::new(key, visit.now);
    let current = match &view.expires {
        None => Some("never"),
        Some(expires) if expires.is_past => None,
        Some(expires) => Some(expires.exact.as_str()),
    };
    let typed = failure.map(|_| &visit.fields);
    let mut expiry = ExpiryMenu::of_renewal(policy, current, typed);
    let mut errors = Vec::new();
    match failure {
        Some(failure) if ["LIFETIME_NOT_ALLOWED", "KEY_EXPIRED"].contains(&failure.reason.as_str()) => {
            expiry.error = failure.sentence();
            expiry.is_first_error = true;
        }
        Some(failure) => errors.push(failure.sentence()),
        None => {}
    }
    let status = if failure.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    page_with(
        status,
        &RenewPage {
            frame: Frame::new(visit, "Renew key"),
            overlaps: overlaps(policy, visit.fields.get("overlap")),
            expiry,
            request_id: request_id()?,
            errors,
            key: view,
        },
    )
}

/// `POST /console/keys/{key}/renew`
pub(in crate::console) async fn submit(Extension(visit): Extension<Arc<Visit>>, Path(id): Path<String>) -> Answer {
    check(&visit)?;
    // Everything that can fail is read before the renewal. It may end the token of this session, and only this answer
    // has the new one.
    let key = visit.key(&id).await?;
    let policy = policy_of(&visit, &key).await?;
    let typed = &visit.fields;
    let expiry = match ExpiryMenu::chosen(typed) {
        Ok(expiry) => expiry,
        Err(error) => {
            let failure = Failure::wrong_expiry(&error);
            return form(&visit, &key, &policy, Some(&failure));
        }
    };
    // No overlap ends the old token at once, so it must have been chosen.
    let Ok(seconds) = typed.get("overlap").parse() else {
        let failure =
            Failure::wrong_field("The overlap must be an entry of the menu: how long the old token still works.");
        return form(&visit, &key, &policy, Some(&failure));
    };
    let request = RenewKeyRequest {
        key_id: id.clone(),
        overlap: Some(prost_types::Duration { seconds, nanos: 0 }),
        expiry: expiry.map(|expiry| match expiry {
            Expiry::Lifetime(lifetime) => RenewExpiry::Lifetime(lifetime),
            Expiry::ExpireTime(time) => RenewExpiry::ExpireTime(time),
            Expiry::NeverExpires(never) => RenewExpiry::NeverExpires(never),
        }),
        request_id: typed.get("request_id").to_owned(),
        ..Default::default()
    };
    match visit.ask(visit.admin().renew_key(visit.request(request))).await {
        Ok(renewed) => {
            let key = renewed.key.unwrap_or_default();
            let old_token = if seconds == 0 { ENDED.to_owned() } else { old_token(&visit, &key) };
            created::show(
                &visit,
                Issued {
                    title: "Key renewed",
                    token: renewed.token,
                    propagation: renewed.propagation,
                    old_token,
                    is_recoverable: policy.recoverable,
                    key,
                },
            )
        }
        Err(failure) if failure.pending_revision().is_some() => {
            lost::after_renewal(&visit, &key, seconds == 0, &failure)
        }
        Err(failure) if failure.is_outage() || failure.is_unauthenticated() => Err(failure),
        Err(failure) => form(&visit, &key, &policy, Some(&failure)),
    }
}

/// Returns what happens to the token before the newest one.
fn old_token(visit: &Visit, key: &Key) -> String {
    let old = key.secrets.get(1).and_then(|old| When::of(old.retire_time.as_ref(), visit.now));
    match old {
        Some(end) if !end.is_past => format!("The old token works until {} ({}).", end.exact, end.relative),
        _ => ENDED.to_owned(),
    }
}
