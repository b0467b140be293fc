//! Creating a key.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::Path;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::StatusCode;
use key_authority_domain::id::SYSTEM_ACCOUNT;
use key_authority_proto::v1::key_authority_server::KeyAuthority as _;
use key_authority_proto::v1::{Account, CreateKeyRequest, Key, ProjectAccess, ProjectRule};

use super::accounts::{Room, room};
use super::created::{self, Issued};
use super::expiry::ExpiryMenu;
use super::key_fields::{typed_labels, typed_projects};
use super::key_form::{KeyForm, offered, policy};
use super::lost;
use super::scope_choice::typed_scopes;
use crate::console::answer::{Answer, page_with};
use crate::console::failure::Failure;
use crate::console::frame::Frame;
use crate::console::show;
use crate::console::visit::{Ability, Visit};
use crate::entropy;
use crate::rpc::errors::RpcError;

#[derive(Template)]
#[template(path = "console/create.html")]
struct CreatePage {
    frame: Frame,
    account: String,
    account_href: String,
    form: KeyForm,
    expiry: ExpiryMenu,
    is_active: bool,
    request_id: String,
    room: Room,
}

/// Returns a new idempotency key for a form.
pub(super) fn request_id() -> Result<String, Failure> {
    let bytes: [u8; 16] = entropy::bytes().map_err(RpcError::from)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// `GET /console/accounts/{account}/create`
pub(in crate::console) async fn form(Extension(visit): Extension<Arc<Visit>>, Path(account): Path<String>) -> Answer {
    let account = visit.account(&account).await?;
    check_may_create(&visit)?;
    let offered = offered(&visit, &account.id).await;
    let key = Key { account: account.id.clone(), projects: Some(first_projects(&account)), ..Key::default() };
    let form = KeyForm::of_key(&key, &policy(&account), offered);
    let expiry = ExpiryMenu::new(&policy(&account), None);
    ask(&visit, StatusCode::OK, &account, (form, expiry), true, request_id()?).await
}

fn check_may_create(visit: &Visit) -> Result<(), Failure> {
    if visit.may(Ability::Create) { Ok(()) } else { Err(Failure::not_permitted("You may not create keys here.")) }
}

/// Returns the projects of a form that nobody has filled in.
fn first_projects(account: &Account) -> ProjectAccess {
    let all = policy(account).project_rule() != ProjectRule::Chosen && account.id != SYSTEM_ACCOUNT;
    ProjectAccess { all, only: Vec::new() }
}

async fn ask(
    visit: &Visit,
    status: StatusCode,
    account: &Account,
    (form, expiry): (KeyForm, ExpiryMenu),
    is_active: bool,
    request_id: String,
) -> Answer {
    page_with(
        status,
        &CreatePage {
            frame: Frame::new(visit, "Create key"),
            account: account.id.clone(),
            account_href: show::path(&["accounts", &account.id]),
            form,
            expiry,
            is_active,
            request_id,
            room: room(visit, account).await?,
        },
    )
}

/// `POST /console/accounts/{account}/create`
pub(in crate::console) async fn submit(Extension(visit): Extension<Arc<Visit>>, Path(account): Path<String>) -> Answer {
    let account = visit.account(&account).await?;
    check_may_create(&visit)?;
    let typed = &visit.fields;
    let (labels, expiry) = (typed_labels(typed, &BTreeMap::new()), ExpiryMenu::chosen(typed));
    let is_nameless = typed.get("name").trim().is_empty();
    let request = CreateKeyRequest {
        account: account.id.clone(),
        display_name: typed.get("name").trim().to_owned(),
        description: typed.get("description").to_owned(),
        scopes: typed_scopes(typed),
        projects: typed_projects(typed, &ProjectAccess::default()),
        labels: labels.clone().unwrap_or_default(),
        allowed_networks: typed.lines("networks"),
        expiry: expiry.clone().ok().flatten(),
        disabled: typed.get("active") != "yes",
        request_id: typed.get("request_id").to_owned(),
        ..Default::default()
    };
    // A caller without accounts cannot make any call.
    let covers_none = |projects: &ProjectAccess| !projects.all && projects.only.is_empty();
    let is_without_account = account.id == SYSTEM_ACCOUNT && request.projects.as_ref().is_some_and(covers_none);
    if labels.is_ok() && expiry.is_ok() && !is_nameless && !is_without_account {
        let created = visit.ask(visit.admin().create_key(visit.request(request))).await;
        return match created {
            Ok(created) => created::show(
                &visit,
                Issued {
                    title: "Key created",
                    key: created.key.unwrap_or_default(),
                    token: created.token,
                    propagation: created.propagation,
                    old_token: String::new(),
                    is_recoverable: policy(&account).recoverable,
                },
            ),
            Err(failure) if failure.pending_revision().is_some() => lost::after_creation(&visit, &account.id, &failure),
            Err(failure) if failure.is_outage() || failure.is_unauthenticated() => Err(failure),
            Err(failure) => again(&visit, &account, Some(&failure), &[]).await,
        };
    }
    let mut errors = Vec::new();
    if is_nameless {
        errors.push(("display_name", "Enter a name, so that people know which key this is.".to_owned()));
    }
    if is_without_account {
        errors.push(("projects", "Choose at least one account.".to_owned()));
    }
    errors.extend(labels.err().map(|error| ("labels", error)));
    errors.extend(expiry.err().map(|error| ("lifetime", error)));
    // The other fields are checked as well, so that all errors are shown at once.
    let failure = check_rest(&visit, &account).await;
    again(&visit, &account, failure.as_ref(), &errors).await
}

/// Checks the fields that the API can check without those that cannot be sent.
async fn check_rest(visit: &Visit, account: &Account) -> Option<Failure> {
    let typed = &visit.fields;
    // An ID that is not valid makes sure that this request creates nothing.
    let request = CreateKeyRequest {
        account: account.id.clone(),
        key_id: "!".to_owned(),
        display_name: typed.get("name").trim().to_owned(),
        description: typed.get("description").to_owned(),
        scopes: typed_scopes(typed),
        projects: typed_projects(typed, &ProjectAccess::default()),
        allowed_networks: typed.lines("networks"),
        ..Default::default()
    };
    let mut failure = visit.ask(visit.admin().create_key(visit.request(request))).await.err()?;
    failure.violations.retain(|(field, _)| field != "key_id");
    (!failure.violations.is_empty()).then_some(failure)
}

/// Shows the form again, with its errors and with all that was typed.
async fn again(visit: &Visit, account: &Account, failure: Option<&Failure>, errors: &[(&str, String)]) -> Answer {
    let policy = policy(account);
    let typed = &visit.fields;
    let offered = offered(visit, &account.id).await;
    let key = Key { account: account.id.clone(), ..Key::default() };
    let mut form = KeyForm::of_fields(typed, &key, &policy, offered);
    let mut expiry = ExpiryMenu::new(&policy, Some(typed));
    for (path, error) in errors {
        form.add(path, error, Some(&mut expiry));
    }
    let mut id = typed.get("request_id").to_owned();
    match failure {
        Some(failure) if failure.reason == "REQUEST_ID_REUSED" => {
            form.errors
                .push("This form was sent before, and made a key then. Send it again to make another one.".into());
            id = request_id()?;
        }
        Some(failure) => {
            form.place(failure, Some(&mut expiry));
            if failure.reason == "KEY_LIMIT_REACHED" {
                form.errors.push(advice(&room(visit, account).await?).to_owned());
            }
        }
        None => {}
    }
    form.check_name();
    form.mark_first(Some(&mut expiry));
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    ask(visit, status, account, (form, expiry), typed.get("active") == "yes", id).await
}

/// Returns how to make room for a key.
pub(super) const fn advice(room: &Room) -> &'static str {
    if room.counts_active {
        "Revoke, disable or delete a key that nobody needs, and send the form again."
    } else {
        "Keys in every state count. Delete one that nobody needs, and send the form again."
    }
}
