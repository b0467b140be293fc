//! The audit log.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use key_authority_domain::permission::Permission;
use key_authority_proto::v1::key_authority_server::KeyAuthority as _;
use key_authority_proto::v1::{Action, ListAuditEventsRequest};

use super::events::{EventView, NEWEST_FIRST, words};
use crate::console::answer::{Answer, page};
use crate::console::failure::Failure;
use crate::console::fields::query;
use crate::console::frame::Frame;
use crate::console::show;
use crate::console::visit::Visit;

/// The number of events on a page.
const PAGE: i32 = 100;
/// An entry of the filter by action.
struct ActionChoice {
    value: &'static str,
    label: String,
    is_selected: bool,
}

#[derive(Template)]
#[template(path = "console/audit.html")]
struct AuditPage {
    frame: Frame,
    account: String,
    key: String,
    actor: String,
    actions: Vec<ActionChoice>,
    from: String,
    until: String,
    events: Vec<EventView>,
    /// Whether the page links to accounts.
    may_read_accounts: bool,
    /// The query without times, before another parameter.
    all: String,
    next: String,
}

/// `GET /console/audit`
pub(in crate::console) async fn list(Extension(visit): Extension<Arc<Visit>>) -> Answer {
    let typed = &visit.fields;
    let (account, key, actor) = (typed.get("account").trim(), typed.get("key").trim(), typed.get("actor").trim());
    let (action, from, until) = (typed.get("action"), typed.get("from"), typed.get("until"));
    let request = ListAuditEventsRequest {
        account: account.to_owned(),
        key_id: key.to_owned(),
        actor: actor.to_owned(),
        actions: chosen_actions(action)?,
        start_time: time(from)?,
        end_time: time(until)?,
        page_size: PAGE,
        page_token: typed.get("page").to_owned(),
        order_by: NEWEST_FIRST.to_owned(),
    };
    let listed = visit.ask(visit.admin().list_audit_events(visit.request(request))).await?;
    let filters = [("account", account), ("key", key), ("actor", actor), ("action", action)];
    let all = query(filters);
    let next =
        query(filters.into_iter().chain([("from", from), ("until", until), ("page", listed.next_page_token.as_str())]));
    page(&AuditPage {
        frame: Frame::new(&visit, "Audit"),
        account: account.to_owned(),
        key: key.to_owned(),
        actor: actor.to_owned(),
        actions: choices(action),
        from: from.to_owned(),
        until: until.to_owned(),
        events: listed.events.iter().map(|event| EventView::new(event, visit.now)).collect(),
        may_read_accounts: visit.has(Permission::AccountsRead),
        all: if all.is_empty() { all } else { format!("{all}&") },
        next: if listed.next_page_token.is_empty() { String::new() } else { format!("/console/audit?{next}") },
    })
}

/// Reads the filter by action. What cannot be read is an error: without it, the page would show more than was asked
/// for.
fn chosen_actions(name: &str) -> Result<Vec<i32>, Failure> {
    if name.is_empty() {
        return Ok(Vec::new());
    }
    let action = Action::from_str_name(name).map(i32::from);
    action.map(|action| vec![action]).ok_or_else(|| Failure::wrong_field("The action must be an entry of the menu."))
}

fn time(text: &str) -> Result<Option<prost_types::Timestamp>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let rule = "A time must be a date and a time of day, such as 2026-11-30T15:00.";
    show::field_time(text).map(Some).ok_or_else(|| Failure::wrong_field(rule))
}

fn choices(selected: &str) -> Vec<ActionChoice> {
    let all = (1..).map_while(|number| Action::try_from(number).ok());
    let choice = |action: Action| {
        let value = action.as_str_name();
        ActionChoice { value, label: words(action), is_selected: value == selected }
    };
    all.map(choice).collect()
}
