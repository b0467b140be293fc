//! Events of the audit log, as pages show them.

use std::collections::BTreeSet;

use key_authority_domain::id::Actor;
use key_authority_domain::permission::Permission;
use key_authority_domain::time::Timestamp;
use key_authority_proto::v1::key_authority_server::KeyAuthority as _;
use key_authority_proto::v1::{Action, AuditEvent, ListAuditEventsRequest};
use prost_types::value::Kind;
use prost_types::{Struct, Value};

use crate::console::failure::Failure;
use crate::console::show::{self, When};
use crate::console::visit::Visit;

/// The number of events that the trail of a key reads at once.
const TRAIL_READ: i32 = 1000;
/// How often it reads. The newest events are the last ones.
const TRAIL_READS_MAX: usize = 20;
/// The number of events that it shows.
const TRAIL_SHOWN: usize = 50;

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

/// Returns a value as text.
fn text(value: &Value) -> String {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => String::new(),
        Some(Kind::StringValue(text)) => text.clone(),
        Some(Kind::BoolValue(value)) => if *value { "yes" } else { "no" }.to_owned(),
        Some(Kind::NumberValue(number)) => number.to_string(),
        Some(Kind::ListValue(list)) => list.values.iter().map(text).collect::<Vec<_>>().join(", "),
        Some(Kind::StructValue(fields)) => {
            let pair = |(name, value): (&String, &Value)| format!("{}: {}", name.replace('_', " "), text(value));
            fields.fields.iter().map(pair).collect::<Vec<_>>().join("; ")
        }
    }
}

/// The trail of one key.
pub(super) struct Trail {
    /// The newest first.
    pub(super) events: Vec<EventView>,
    /// Whether there are more events than are shown.
    pub(super) has_more: bool,
}

/// Returns the events of a key; `None` for a visitor who may not read the audit log.
pub(super) async fn trail(visit: &Visit, key: &str) -> Result<Option<Trail>, Failure> {
    if !visit.has(Permission::AuditRead) {
        return Ok(None);
    }
    let mut request = ListAuditEventsRequest { key_id: key.to_owned(), page_size: TRAIL_READ, ..Default::default() };
    let (mut events, mut has_more) = (Vec::new(), false);
    for _ in 0..TRAIL_READS_MAX {
        let listed = visit.ask(visit.admin().list_audit_events(visit.request(request.clone()))).await?;
        events.extend(listed.events);
        let surplus = events.len().saturating_sub(TRAIL_SHOWN);
        events.drain(..surplus);
        has_more |= surplus > 0;
        request.page_token = listed.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let newest = events.iter().rev().map(|event| EventView::new(event, visit.now));
    Ok(Some(Trail { events: newest.collect(), has_more }))
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
