//! Events of the audit log, as pages show them.

use std::collections::BTreeSet;

use http::Method;
use key_authority_domain::id::Actor;
use key_authority_domain::permission::Permission;
use key_authority_domain::time::Timestamp;
use key_authority_proto::v1::key_authority_server::KeyAuthority as _;
use key_authority_proto::v1::{Action, AuditEvent, ListAuditEventsRequest};
use prost_types::value::Kind;
use prost_types::{Struct, Value};

use crate::console::failure::Failure;
use crate::console::fields::query;
use crate::console::show::{self, When};
use crate::console::visit::Visit;

/// The order in which pages list events: the newest first. What was done last is what visitors look for, and nobody can
/// push it off the page with changes that came before.
pub(super) const NEWEST_FIRST: &str = "revision desc";
/// The number of events on a page of the trail of a key.
const TRAIL: i32 = 50;

/// A field that an event changed.
pub(super) struct Change {
    pub(super) field: String,
    pub(super) before: String,
    pub(super) after: String,
}

/// An event.
pub(super) struct EventView {
    pub(super) revision: String,
    pub(super) time: Option<When>,
    pub(super) actor: String,
    /// The page of the key that the actor is; empty for none.
    pub(super) actor_href: String,
    pub(super) subject: String,
    pub(super) action: String,
    pub(super) account: String,
    pub(super) account_href: String,
    pub(super) key: String,
    pub(super) key_href: String,
    pub(super) changes: Vec<Change>,
}

impl EventView {
    pub(super) fn new(event: &AuditEvent, now: Timestamp) -> Self {
        Self {
            revision: show::count(event.revision),
            time: When::of(event.time.as_ref(), now),
            actor: event.actor.clone(),
            subject: event.subject.clone(),
            actor_href: actor_href(&event.actor),
            action: words(event.action()),
            account: event.account.clone(),
            account_href: show::path(&["accounts", &event.account]),
            key: event.key_id.clone(),
            key_href: show::path(&["keys", &event.key_id]),
            changes: changes(event.before.as_ref(), event.after.as_ref()),
        }
    }
}

/// Returns the page of the key that made a change; empty for the bootstrap, which has none.
pub(super) fn actor_href(actor: &str) -> String {
    if actor == Actor::bootstrap().as_str() { String::new() } else { show::path(&["keys", actor]) }
}

/// Returns an action in words: "Renew key".
pub(super) fn words(action: Action) -> String {
    let name = action.as_str_name().trim_start_matches("ACTION_").replace('_', " ").to_lowercase();
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// Returns the fields that differ.
fn changes(before: Option<&Struct>, after: Option<&Struct>) -> Vec<Change> {
    let names: BTreeSet<_> = [before, after].into_iter().flatten().flat_map(|side| side.fields.keys()).collect();
    let text =
        |side: Option<&Struct>, name: &str| side.and_then(|side| side.fields.get(name)).map(text).unwrap_or_default();
    let change =
        |name: &String| Change { field: name.replace('_', " "), before: text(before, name), after: text(after, name) };
    names.into_iter().map(change).filter(|change| change.before != change.after).collect()
}

/// Returns a value as text among others.
fn isolated(value: &Value) -> String {
    show::isolated(&text(value)).into_owned()
}

/// Returns a value as text.
fn text(value: &Value) -> String {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => String::new(),
        Some(Kind::StringValue(text)) => text.clone(),
        Some(Kind::BoolValue(value)) => if *value { "yes" } else { "no" }.to_owned(),
        Some(Kind::NumberValue(number)) => number.to_string(),
        Some(Kind::ListValue(list)) => list.values.iter().map(isolated).collect::<Vec<_>>().join(", "),
        Some(Kind::StructValue(fields)) => {
            let pair = |(name, value): (&String, &Value)| {
                format!("{}: {}", show::isolated(&name.replace('_', " ")), isolated(value))
            };
            fields.fields.iter().map(pair).collect::<Vec<_>>().join("; ")
        }
    }
}

/// A part of the trail of one key.
pub(super) struct Trail {
    /// The newest first.
    pub(super) events: Vec<EventView>,
    /// The page of the key with the events before these; empty if there are none.
    pub(super) older: String,
    /// Whether these are not the newest events.
    pub(super) is_continued: bool,
}

/// Returns events of a key, from where the visitor has read on; `None` for a visitor who may not read the audit log.
pub(super) async fn trail(visit: &Visit, key: &str) -> Result<Option<Trail>, Failure> {
    if !visit.has(Permission::AuditRead) {
        return Ok(None);
    }
    let page_token = if visit.method == Method::POST { "" } else { visit.fields.get("trail") };
    let request = ListAuditEventsRequest {
        key_id: key.to_owned(),
        page_size: TRAIL,
        page_token: page_token.to_owned(),
        order_by: NEWEST_FIRST.to_owned(),
        ..Default::default()
    };
    let listed = visit.ask(visit.admin().list_audit_events(visit.request(request))).await?;
    let next = listed.next_page_token.as_str();
    let older = format!("{}?{}#trail-heading", show::path(&["keys", key]), query([("trail", next)]));
    Ok(Some(Trail {
        events: listed.events.iter().map(|event| EventView::new(event, visit.now)).collect(),
        older: if next.is_empty() { String::new() } else { older },
        is_continued: !page_token.is_empty(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, Kind)]) -> Struct {
        let pair = |(name, kind): &(&str, Kind)| ((*name).to_owned(), Value { kind: Some(kind.clone()) });
        Struct { fields: pairs.iter().map(pair).collect() }
    }

    #[test]
    fn only_what_differs_is_shown() {
        let text = |text: &str| Kind::StringValue(text.into());
        let before =
            fields(&[("display_name", text("a")), ("state", text("ACTIVE")), ("disabled", Kind::BoolValue(false))]);
        let after =
            fields(&[("display_name", text("b")), ("state", text("ACTIVE")), ("disabled", Kind::BoolValue(true))]);
        let found: Vec<_> = changes(Some(&before), Some(&after))
            .into_iter()
            .map(|change| (change.field, change.before, change.after))
            .collect();
        let expected = [("disabled", "no", "yes"), ("display name", "a", "b")];
        assert_eq!(found, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
        assert_eq!(words(Action::PrepareDeleteKey), "Prepare delete key");
    }
}
