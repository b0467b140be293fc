//! One key: what it is, and editing it.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use key_authority_domain::id::SYSTEM_ACCOUNT;
use key_authority_domain::permission::Permission;
use key_authority_proto::v1::key_authority_server::KeyAuthority as _;
use key_authority_proto::v1::{Key, KeyPolicy, UpdateKeyRequest};
use prost::Message as _;
use prost_types::FieldMask;

use super::accounts::suspended_accounts;
use super::create::request_id;
use super::edit_own;
use super::events::{Trail, trail};
use super::key_fields::{typed_labels, typed_name, typed_projects};
use super::key_form::{Field, KeyForm, offered, policy_of};
use super::key_view::KeyView;
use super::overlap::{OverlapChoice, overlaps};
use super::scope_choice::{chosen_lines, typed_scopes};
use crate::console::answer::{Answer, finish, page_with, redirect, redirect_with};
use crate::console::failure::Failure;
use crate::console::fields::{Fields, query};
use crate::console::frame::Frame;
use crate::console::notice::Notice;
use crate::console::show;
use crate::console::visit::{Ability, Visit};

/// The notice for a form that does not differ from the key, although the key was changed after the form was opened.
const SAVED_ALREADY: &str = "This is saved already: every field is as you sent it.";

/// A field that somebody else changed in between.
struct Conflict {
    field: &'static str,
    theirs: String,
    yours: String,
}

#[expect(clippy::struct_excessive_bools, reason = "the template asks each question by its name")]
#[derive(Template)]
#[template(path = "console/key.html")]
struct KeyPage {
    frame: Frame,
    key: KeyView,
    /// The page of the account; empty for a visitor who may not see it.
    account_href: String,
    audit_href: String,
    /// The events by the caller that this key is; empty for no caller.
    caller_href: String,
    form: KeyForm,
    etag: String,
    request_id: String,
    overlaps: Vec<OverlapChoice>,
    conflicts: Vec<Conflict>,
    /// What the confirmation of a revocation contained.
    confirm: Field,
    reason: Field,
    may_update: bool,
    may_disable: bool,
    may_renew: bool,
    may_revoke: bool,
    may_delete: bool,
    may_reveal: bool,
    trail: Option<Trail>,
}

/// What the page shows beside the key itself.
#[derive(Default)]
pub(super) struct Extras {
    form: Option<KeyForm>,
    conflicts: Vec<Conflict>,
    confirm: Field,
    reason: Field,
}

impl Extras {
    /// The page after a revocation that was not confirmed, or has a wrong reason.
    pub(super) fn of_revocation(confirm: Field, reason: Field) -> Self {
        Self { confirm, reason, ..Self::default() }
    }
}

/// `GET /console/keys/{key}`
pub(in crate::console) async fn show(Extension(visit): Extension<Arc<Visit>>, Path(id): Path<String>) -> Answer {
    let key = visit.key(&id).await?;
    let policy = policy_of(&visit, &key).await?;
    page_of(&visit, StatusCode::OK, &key, &policy, Extras::default()).await
}

/// Redirects to the page of the key, for the addresses of its forms.
pub(in crate::console) async fn to_page(Path(id): Path<String>) -> Response {
    redirect(&show::path(&["keys", &id]))
}

/// Returns the page of a key.
pub(super) async fn page_of(
    visit: &Visit,
    status: StatusCode,
    key: &Key,
    policy: &KeyPolicy,
    extras: Extras,
) -> Answer {
    let form = match extras.form {
        Some(form) => form,
        None => KeyForm::of_key(key, policy, offered(visit, &key.account).await),
    };
    let is_suspended = !suspended_accounts(visit, std::slice::from_ref(key)).await?.is_empty();
    let view = KeyView::new(key, visit.now).in_account(is_suspended);
    let is_open = !view.is_revoked;
    page_with(
        status,
        &KeyPage {
            frame: Frame::new(visit, show::isolated(&view.name)),
            account_href: if visit.has(Permission::AccountsRead) {
                show::path(&["accounts", &key.account])
            } else {
                String::new()
            },
            audit_href: format!("/console/audit?{}", query([("key", key.id.as_str())])),
            caller_href: if key.account == SYSTEM_ACCOUNT {
                format!("/console/audit?{}", query([("actor", key.id.as_str())]))
            } else {
                String::new()
            },
            form,
            etag: form_etag(key),
            request_id: request_id()?,
            overlaps: overlaps(policy, ""),
            conflicts: extras.conflicts,
            confirm: extras.confirm,
            reason: extras.reason,
            may_update: visit.may(Ability::Update),
            may_disable: is_open && visit.may(Ability::Disable),
            may_renew: is_open && visit.may(Ability::Renew),
            may_revoke: is_open && visit.may(Ability::Revoke),
            may_delete: visit.may(Ability::Delete),
            may_reveal: policy.recoverable && visit.may(Ability::Reveal),
            trail: trail(visit, &key.id).await?,
            key: view,
        },
    )
}

/// `POST /console/keys/{key}`: saves the fields that differ.
pub(in crate::console) async fn save(Extension(visit): Extension<Arc<Visit>>, Path(id): Path<String>) -> Answer {
    if !visit.may(Ability::Update) {
        return Err(Failure::not_permitted("You may not change keys here."));
    }
    let current = visit.key(&id).await?;
    let policy = policy_of(&visit, &current).await?;
    let typed = &visit.fields;
    let labels = typed_labels(typed, &current.labels);
    let wanted = wanted(typed, &current, labels.as_ref().ok());
    let page = show::path(&["keys", &current.id]);
    let paths = differing(&current, &wanted);
    if typed.get("etag") != form_etag(&current) {
        // The answer to this form was lost, or somebody else saved the same.
        if paths.is_empty() && labels.is_ok() {
            let notice = Notice::plain(SAVED_ALREADY);
            return redirect_with(&visit, &page, &notice);
        }
        return conflict(&visit, &current, &policy).await;
    }
    if let Err(error) = labels {
        return again(&visit, &current, &policy, None, Some(&error)).await;
    }
    if paths.is_empty() {
        return redirect_with(&visit, &page, &Notice::plain("Nothing was changed: every field is as it was."));
    }
    if let Some(question) = edit_own::ask_before(&visit, &current, &wanted) {
        return question;
    }
    let request = UpdateKeyRequest {
        key: Some(wanted.clone()),
        update_mask: Some(FieldMask { paths }),
        etag: current.etag.clone(),
        request_id: typed.get("request_id").to_owned(),
    };
    let saved = visit.ask(visit.admin().update_key(visit.request(request))).await;
    match saved {
        Err(failure) if failure.reason == "ETAG_MISMATCH" => {
            let current = visit.key(&id).await?;
            if differing(&current, &wanted).is_empty() {
                let notice = Notice::plain(SAVED_ALREADY);
                return redirect_with(&visit, &page, &notice);
            }
            conflict(&visit, &current, &policy).await
        }
        Err(failure)
            if failure.pending_revision().is_none() && !failure.is_outage() && !failure.is_unauthenticated() =>
        {
            again(&visit, &current, &policy, Some(&failure), None).await
        }
        saved => finish(&visit, &page, "Saved.", saved.map(|saved| saved.propagation)),
    }
}

/// Returns what a form contains to find out whether somebody has changed the key since. It is not the etag of the API:
/// from that, users of a portal could read how many changes all accounts make.
fn form_etag(key: &Key) -> String {
    // What changes by itself is left out.
    let (etag, state, last_used_time, use_count, secrets) = (String::new(), 0, None, 0, Vec::new());
    let content = Key { etag, state, last_used_time, use_count, secrets, ..key.clone() };
    blake3::hash(&content.encode_to_vec()).to_hex().to_string()
}

/// Returns the key as a form wants it. What the form lacks stays as it is: no networks would mean that the key may be
/// used from everywhere.
fn wanted(typed: &Fields, current: &Key, labels: Option<&BTreeMap<String, String>>) -> Key {
    let text = |name: &str, current: &str| if typed.has(name) { typed.get(name) } else { current }.to_owned();
    let list = |name: &str, current: &[String]| if typed.has(name) { typed.lines(name) } else { current.to_vec() };
    let name = if typed.has("name") { typed_name(typed, &current.display_name) } else { &current.display_name };
    let projects = current.projects.clone();
    Key {
        id: current.id.clone(),
        display_name: name.to_owned(),
        description: text("description", &current.description),
        scopes: if typed.has("scopes") { typed_scopes(typed) } else { current.scopes.clone() },
        projects: typed_projects(typed, &projects.clone().unwrap_or_default()).or(projects),
        labels: labels.filter(|_| typed.has("labels")).unwrap_or(&current.labels).clone(),
        allowed_networks: list("networks", &current.allowed_networks),
        ..Key::default()
    }
}

/// Returns the fields that differ, as an update names them.
fn differing(current: &Key, wanted: &Key) -> Vec<String> {
    let sorted = |values: &[String]| {
        let mut values = values.to_vec();
        values.sort_unstable();
        values.dedup();
        values
    };
    let projects = |key: &Key| {
        let projects = key.projects.clone().unwrap_or_default();
        (projects.all, sorted(&projects.only))
    };
    let checks = [
        ("display_name", current.display_name != wanted.display_name),
        ("description", current.description != wanted.description),
        ("scopes", sorted(&current.scopes) != sorted(&wanted.scopes)),
        ("projects", projects(current) != projects(wanted)),
        ("labels", current.labels != wanted.labels),
        ("allowed_networks", sorted(&current.allowed_networks) != sorted(&wanted.allowed_networks)),
    ];
    checks.into_iter().filter(|(_, differs)| *differs).map(|(path, _)| path.to_owned()).collect()
}

/// Shows the form again, with its errors and with all that was typed.
async fn again(
    visit: &Visit,
    key: &Key,
    policy: &KeyPolicy,
    failure: Option<&Failure>,
    labels: Option<&str>,
) -> Answer {
    let offered = offered(visit, &key.account).await;
    let mut form = KeyForm::of_fields(&visit.fields, key, policy, offered);
    if let Some(failure) = failure {
        form.place(failure, None);
    }
    if let Some(error) = labels {
        form.add("labels", error, None);
    }
    form.check_name();
    form.mark_first(None);
    let extras = Extras { form: Some(form), ..Extras::default() };
    page_of(visit, StatusCode::UNPROCESSABLE_ENTITY, key, policy, extras).await
}

/// Shows what somebody else changed since the form was opened. The typed text stays, and saving again overwrites.
async fn conflict(visit: &Visit, current: &Key, policy: &KeyPolicy) -> Answer {
    let offered = offered(visit, &current.account).await;
    let theirs = KeyForm::of_key(current, policy, offered.clone());
    let yours = KeyForm::of_fields(&visit.fields, current, policy, offered);
    let projects = |form: &KeyForm| {
        let chosen = form.projects.offered.iter().filter(|choice| choice.is_chosen).map(|choice| choice.name.as_str());
        let all = if form.projects.is_all { "all" } else { "" };
        [all].into_iter().chain(chosen).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
    };
    let scopes = |form: &KeyForm| match &form.scope_choices {
        Some(choices) => chosen_lines(choices),
        None => form.scopes.value.clone(),
    };
    let pairs = [
        ("Name", theirs.name.value.clone(), yours.name.value.clone()),
        ("Description", theirs.description.value.clone(), yours.description.value.clone()),
        ("Scopes", scopes(&theirs), scopes(&yours)),
        ("Projects", projects(&theirs), projects(&yours)),
        ("Networks", theirs.networks.value.clone(), yours.networks.value.clone()),
        ("Labels", theirs.labels.value.clone(), yours.labels.value.clone()),
    ];
    let conflicts = pairs
        .into_iter()
        .filter(|(_, theirs, yours)| theirs.trim() != yours.trim())
        .map(|(field, theirs, yours)| Conflict { field, theirs, yours });
    let extras = Extras { conflicts: conflicts.collect(), form: Some(yours), ..Extras::default() };
    page_of(visit, StatusCode::CONFLICT, current, policy, extras).await
}
