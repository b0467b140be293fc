//! The audit log: the filters of a listing, and the conversion of events to protobuf.

use key_authority_domain::audit::{Action, LoggedEvent};
use key_authority_domain::id::{AccountId, Actor, KeyId, Subject};
use key_authority_domain::text::ValidationError;
use key_authority_domain::time::Timestamp;
use key_authority_proto::v1;
use key_authority_storage::audit_read::EventOrder;
use prost_types::value::Kind;

use super::check::Check;
use super::page::{FILTER_ITEMS_MAX, page_size};
use super::revision;
use super::time::{timestamp, timestamp_to_proto};
use super::violations::Violations;

/// The filter of a listing of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditFilter {
    /// The account; `None` for all accounts that the caller may act on.
    pub account: Option<AccountId>,
    /// The key.
    pub key_id: Option<KeyId>,
    /// The actor.
    pub actor: Option<Actor>,
    /// The actions; empty for all.
    pub actions: Vec<Action>,
    /// The earliest time.
    pub start: Option<Timestamp>,
    /// The time before which the events lie.
    pub end: Option<Timestamp>,
    /// The order of the events.
    pub order: EventOrder,
    /// The maximum number of events.
    pub page_size: u32,
}

/// Reads the filter of a listing of events. [`super::page::open_page`] opens the page token.
///
/// # Errors
/// The violations of the request.
pub(crate) fn list_events(request: &v1::ListAuditEventsRequest) -> Result<AuditFilter, Violations> {
    let mut check = Check::new();
    let account = check.optional("account", &request.account, AccountId::new);
    let key_id = check.optional("key_id", &request.key_id, KeyId::new);
    let actor = check.optional("actor", &request.actor, Actor::new);
    let actions = actions(&mut check, &request.actions);
    let start = request.start_time.as_ref().and_then(|time| check.field("start_time", timestamp(time)));
    let end = request.end_time.as_ref().and_then(|time| check.field("end_time", timestamp(time)));
    let order = check.field("order_by", order(&request.order_by));
    let page_size = check.field("page_size", page_size(request.page_size));
    check.finish(|| {
        let (order, page_size) = (order?, page_size?);
        Some(AuditFilter { account, key_id, actor, actions, start, end, order, page_size })
    })
}

fn order(text: &str) -> Result<EventOrder, ValidationError> {
    match text {
        "" | "revision" => Ok(EventOrder::Oldest),
        "revision desc" => Ok(EventOrder::Newest),
        _ => Err(ValidationError::new("must be `revision` or `revision desc`")),
    }
}

fn actions(check: &mut Check, numbers: &[i32]) -> Vec<Action> {
    if numbers.len() > FILTER_ITEMS_MAX {
        check.violation("actions", format!("must be at most {FILTER_ITEMS_MAX}"));
        return Vec::new();
    }
    let mut actions = Vec::new();
    for (index, number) in numbers.iter().enumerate() {
        match Action::from_number(*number) {
            Some(action) if !actions.contains(&action) => actions.push(action),
            Some(_) => {}
            None => check.violation(format_args!("actions[{index}]"), "must be a recorded action"),
        }
    }
    actions
}

/// Converts an event.
#[must_use]
pub(crate) fn event_to_proto(logged: &LoggedEvent) -> v1::AuditEvent {
    let event = &logged.event;
    v1::AuditEvent {
        revision: revision::number(logged.revision),
        time: Some(timestamp_to_proto(logged.time)),
        actor: event.actor.as_str().to_owned(),
        action: event.action.number(),
        account: event.account.as_str().to_owned(),
        key_id: event.key_id.as_ref().map(KeyId::as_str).unwrap_or_default().to_owned(),
        request_id: event.request.as_ref().map(|key| key.id.as_str()).unwrap_or_default().to_owned(),
        before: event.before.as_deref().and_then(document),
        after: event.after.as_deref().and_then(document),
        hash: logged.hash.0.to_vec(),
        subject: event.subject.as_ref().map(Subject::as_str).unwrap_or_default().to_owned(),
    }
}

/// Parses a JSON object. Other text is left out: the log shows what can be parsed, and the hash chain proves the rest.
fn document(text: &str) -> Option<prost_types::Struct> {
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(fields)) => Some(object(fields)),
        _ => None,
    }
}

fn object(fields: serde_json::Map<String, serde_json::Value>) -> prost_types::Struct {
    prost_types::Struct { fields: fields.into_iter().map(|(name, field)| (name, value(field))).collect() }
}

/// Converts a JSON value. The parser has limited the depth.
fn value(value: serde_json::Value) -> prost_types::Value {
    use serde_json::Value;
    let kind = match value {
        Value::Null => Kind::NullValue(prost_types::NullValue::NullValue as i32),
        Value::Bool(value) => Kind::BoolValue(value),
        // A `google.protobuf.Value` has no other number type.
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        Value::String(value) => Kind::StringValue(value),
        Value::Array(values) => {
            Kind::ListValue(prost_types::ListValue { values: values.into_iter().map(self::value).collect() })
        }
        Value::Object(fields) => Kind::StructValue(object(fields)),
    };
    prost_types::Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use key_authority_domain::audit::{AuditEvent, ChainHash, IdempotencyKey};
    use key_authority_domain::id::{RequestId, Revision};
    use proptest::prelude::*;

    fn wrong(request: &v1::ListAuditEventsRequest) -> String {
        list_events(request).unwrap_err().into_iter().map(|violation| violation.field).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_empty_filter_matches_everything() {
        let filter = list_events(&v1::ListAuditEventsRequest::default()).unwrap();
        let AuditFilter { account, key_id, actor, actions, start, end, order, page_size } = filter;
        assert_eq!(order, EventOrder::Oldest);
        assert_eq!((account, key_id, actor, actions, start, end), (None, None, None, vec![], None, None));
        assert_eq!(page_size, 50);
    }

    #[test]
    fn every_filter_is_checked() {
        let request = v1::ListAuditEventsRequest {
            account: "no account".into(),
            key_id: "a".repeat(65),
            actor: "é".into(),
            actions: vec![1, 0, 17, 99, i32::MIN],
            start_time: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }),
            end_time: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
            page_size: 1001,
            page_token: String::new(),
            order_by: "time".into(),
        };
        let fields = "account key_id actor actions[1] actions[3] actions[4] start_time end_time order_by page_size";
        assert_eq!(wrong(&request), fields);
    }

    #[test]
    fn the_order_is_that_of_revisions() {
        let of = |order_by: &str| v1::ListAuditEventsRequest { order_by: order_by.into(), ..Default::default() };
        assert_eq!(list_events(&of("revision")).unwrap().order, EventOrder::Oldest);
        assert_eq!(list_events(&of("revision desc")).unwrap().order, EventOrder::Newest);
        for order in ["revision asc", "REVISION", "revision  desc", " ", "time desc"] {
            assert_eq!(wrong(&of(order)), "order_by");
        }
    }

    #[test]
    fn a_filter_takes_a_hundred_actions_and_merges_repeats() {
        let of = |count| v1::ListAuditEventsRequest { actions: vec![5; count], ..Default::default() };
        assert_eq!(list_events(&of(100)).unwrap().actions, [Action::RevokeKey]);
        assert_eq!(wrong(&of(101)), "actions");
    }

    #[test]
    fn every_action_has_the_same_number_on_the_wire() {
        for action in Action::ALL {
            let name = format!("ACTION_{}", action.as_str().to_uppercase());
            assert_eq!(v1::Action::from_str_name(&name).map(|action| action as i32), Some(action.number()), "{name}");
        }
        let known = (1..100).filter(|number| v1::Action::try_from(*number).is_ok()).count();
        assert_eq!(known, Action::ALL.len());
    }

    #[test]
    fn an_event_is_converted_without_unreadable_snapshots() {
        let event = AuditEvent {
            actor: Actor::bootstrap(),
            subject: Subject::new("ada").ok(),
            action: Action::UpdateKey,
            account: AccountId::new("acme").unwrap(),
            key_id: KeyId::new("key_1").ok(),
            request: Some(IdempotencyKey { id: RequestId::new("r1").unwrap(), digest: [1; 32] }),
            before: Some("not JSON".into()),
            after: Some(r#"{"a":[1,null,true,{"b":"c"}]}"#.into()),
        };
        let logged = LoggedEvent {
            revision: Revision(7),
            time: Timestamp::from_micros(1),
            event,
            secret_version: 1,
            hash: ChainHash([2; 32]),
        };
        let shown = event_to_proto(&logged);
        assert_eq!((shown.revision, shown.action, shown.request_id.as_str()), (7, v1::Action::UpdateKey as i32, "r1"));
        assert_eq!(shown.subject, "ada");
        assert_eq!((shown.key_id.as_str(), shown.before, shown.hash), ("key_1", None, vec![2; 32]));
        let Some(Kind::ListValue(list)) = shown.after.unwrap().fields["a"].kind.clone() else { panic!("a list") };
        assert_eq!(list.values[0].kind, Some(Kind::NumberValue(1.0)));
        assert_eq!(list.values[1].kind, Some(Kind::NullValue(0)));
        assert_eq!(list.values[2].kind, Some(Kind::BoolValue(true)));
        assert!(matches!(&list.values[3].kind, Some(Kind::StructValue(inner)) if inner.fields.contains_key("b")));
    }

    #[test]
    fn text_that_is_no_object_is_left_out() {
        for text in [
            "",
            "[]",
            "1",
            "null",
            "{",
            &"{\"a\":".repeat(100_000),
            &format!("{}1{}", "[".repeat(200), "]".repeat(200)),
        ] {
            assert_eq!(document(text), None);
        }
        assert!(document("{}").unwrap().fields.is_empty());
    }

    proptest! {
        #[test]
        fn documents_are_total(
            text in any::<String>(),
            json in r#"\{"[a-z]{0,2}":([0-9]{1,4}|\[\]|null|-1e[0-9]{1,3})\}"#,
        ) {
            let _ = (document(&text), document(&json));
        }
    }
}
