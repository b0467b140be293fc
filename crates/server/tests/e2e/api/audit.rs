//! `ListAuditEvents`: the log, its filters and its pages.

use key_authority_proto::v1::*;
use tonic::Code;

use crate::support::client::{key_for, mask};
use crate::support::{Authority, Client, invalid, nanos_between, on_every_database, refused};

fn all() -> ListAuditEventsRequest {
    ListAuditEventsRequest::default()
}

/// Makes changes by two callers in two accounts; returns the second caller's key ID.
async fn history(authority: &Authority) -> String {
    let root = authority.client();
    for account in ["acme", "other"] {
        root.new_account(account, KeyPolicy::default()).await;
    }
    let (second, operator) = authority.new_caller(&["keys.write"], None).await;
    for account in ["acme", "other"] {
        let key_id = format!("{account}-key");
        operator.new_key(CreateKeyRequest { key_id: key_id.clone(), ..key_for(account) }).await;
        root.disable_key(DisableKeyRequest { key_id: key_id.clone(), request_id: "off".to_owned() + account })
            .await
            .unwrap();
        operator.enable_key(EnableKeyRequest { key_id: key_id.clone(), ..Default::default() }).await.unwrap();
        root.delete_key(DeleteKeyRequest { key_id, ..Default::default() }).await.unwrap();
    }
    root.delete_account(DeleteAccountRequest { account: "other".into(), ..Default::default() }).await.unwrap();
    second.id()
}

async fn the_log_holds_every_change_in_the_order_of_commits(authority: Authority) {
    use Action::{Bootstrap, CreateAccount, CreateKey, DeleteAccount, DeleteKey, DisableKey, EnableKey};
    let client = authority.client();
    let operator = history(&authority).await;
    let root = authority.root_id().await;
    let events = client.events(all()).await;
    let told: Vec<_> = events
        .iter()
        .map(|event| (event.action(), event.actor.as_str(), event.account.as_str(), event.key_id.as_str()))
        .collect();
    let (root, operator) = (root.as_str(), operator.as_str());
    let expected = [
        (Bootstrap, "bootstrap", "system", root),
        (CreateAccount, root, "acme", ""),
        (CreateAccount, root, "other", ""),
        (CreateKey, root, "system", operator),
        (CreateKey, operator, "acme", "acme-key"),
        (DisableKey, root, "acme", "acme-key"),
        (EnableKey, operator, "acme", "acme-key"),
        (DeleteKey, root, "acme", "acme-key"),
        (CreateKey, operator, "other", "other-key"),
        (DisableKey, root, "other", "other-key"),
        (EnableKey, operator, "other", "other-key"),
        (DeleteKey, root, "other", "other-key"),
        (DeleteAccount, root, "other", ""),
    ];
    assert_eq!(told, expected);
    assert_is_whole(&events);
    assert_eq!(events[5].request_id, "offacme");
    let state = |part: &Option<prost_types::Struct>| part.as_ref().unwrap().fields["state"].clone();
    assert_ne!(state(&events[5].before), state(&events[5].after), "before and after, by the names of Key");
    assert!(events[4].before.is_none() && events[7].after.is_none());
}

/// Fails unless the events are a log: revisions from 1 without a gap, in time, each with a hash of its own.
fn assert_is_whole(events: &[AuditEvent]) {
    let revisions: Vec<_> = events.iter().map(|event| event.revision).collect();
    assert_eq!(revisions, (1..=events.len() as u64).collect::<Vec<_>>(), "no gaps");
    let hashes: std::collections::BTreeSet<_> = events.iter().map(|event| event.hash.clone()).collect();
    assert_eq!(hashes.len(), events.len());
    assert!(hashes.iter().all(|hash| hash.len() == 32));
    for pair in events.windows(2) {
        assert!(nanos_between(pair[0].time, pair[1].time) >= 0, "{pair:?}");
    }
}

async fn the_newest_events_are_listed_first_if_asked(authority: Authority) {
    let client = authority.client();
    history(&authority).await;
    let mut expected = client.events(all()).await;
    expected.reverse();
    let newest = ListAuditEventsRequest { order_by: "revision desc".into(), page_size: 4, ..all() };
    let first = client.list_audit_events(newest.clone()).await.unwrap();
    assert_eq!(first.events, expected[..4]);
    let other = ListAuditEventsRequest { page_token: first.next_page_token, order_by: "revision".into(), ..all() };
    invalid(client.list_audit_events(other).await, "page_token");
    assert_eq!(client.events(newest).await, expected);
    let of_key = ListAuditEventsRequest { key_id: "acme-key".into(), order_by: "revision desc".into(), ..all() };
    expected.retain(|event| event.key_id == "acme-key");
    assert_eq!(client.events(of_key).await, expected);
    let wrong = ListAuditEventsRequest { order_by: "time".into(), ..all() };
    assert_eq!(invalid(client.list_audit_events(wrong).await, "order_by"), "must be `revision` or `revision desc`");
}

/// Whether an event meets a filter.
type Test<'a> = Box<dyn Fn(&AuditEvent) -> bool + 'a>;

async fn each_filter_narrows_the_log(authority: Authority) {
    let client = authority.client();
    let operator = history(&authority).await;
    let log = client.events(all()).await;
    let (from, to) = (log[4].time, log[9].time);
    let kinds = vec![Action::DisableKey.into(), Action::CreateAccount.into()];
    let cases: Vec<(ListAuditEventsRequest, Test)> = vec![
        (ListAuditEventsRequest { account: "acme".into(), ..all() }, Box::new(|event| event.account == "acme")),
        // Events of deleted keys and accounts are listed too.
        (ListAuditEventsRequest { account: "other".into(), ..all() }, Box::new(|event| event.account == "other")),
        (ListAuditEventsRequest { key_id: "acme-key".into(), ..all() }, Box::new(|event| event.key_id == "acme-key")),
        (ListAuditEventsRequest { actor: operator.clone(), ..all() }, Box::new(|event| event.actor == operator)),
        (ListAuditEventsRequest { actor: "bootstrap".into(), ..all() }, Box::new(|event| event.revision == 1)),
        (ListAuditEventsRequest { actor: "nobody".into(), ..all() }, Box::new(|_| false)),
        (ListAuditEventsRequest { key_id: "nothing".into(), ..all() }, Box::new(|_| false)),
        (
            ListAuditEventsRequest { actions: kinds, ..all() },
            Box::new(|event| matches!(event.action(), Action::DisableKey | Action::CreateAccount)),
        ),
        (ListAuditEventsRequest { start_time: from, ..all() }, Box::new(|event| nanos_between(from, event.time) >= 0)),
        (ListAuditEventsRequest { end_time: to, ..all() }, Box::new(|event| nanos_between(to, event.time) < 0)),
        (
            ListAuditEventsRequest { start_time: from, end_time: to, ..all() },
            Box::new(|event| nanos_between(from, event.time) >= 0 && nanos_between(to, event.time) < 0),
        ),
        (
            ListAuditEventsRequest { account: "other".into(), actor: operator.clone(), start_time: from, ..all() },
            Box::new(|event| event.account == "other" && event.actor == operator),
        ),
    ];
    for (filter, fits) in cases {
        let expected: Vec<_> = log.iter().filter(|event| fits(event)).cloned().collect();
        assert_eq!(client.events(filter.clone()).await, expected, "{filter:?}");
        assert_eq!(in_pages(&client, filter.clone(), 1).await, expected, "{filter:?}, page by page");
    }
}

async fn in_pages(client: &Client, filter: ListAuditEventsRequest, page_size: i32) -> Vec<AuditEvent> {
    let (mut events, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListAuditEventsRequest { page_size, page_token, ..filter.clone() };
        let page = client.list_audit_events(request).await.unwrap();
        assert!(page.events.len() <= usize::try_from(page_size).unwrap());
        events.extend(page.events);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return events;
        }
    }
}

async fn pages_follow_the_commits_and_fit_their_query(authority: Authority) {
    let client = authority.client();
    history(&authority).await;
    let log = client.events(all()).await;
    for page_size in [1, 4, 13, 1000] {
        assert_eq!(in_pages(&client, all(), page_size).await, log, "pages of {page_size}");
    }
    let first = client.list_audit_events(ListAuditEventsRequest { page_size: 5, ..all() }).await.unwrap();
    let page_token = first.next_page_token;
    for other in [
        ListAuditEventsRequest { account: "acme".into(), ..all() },
        ListAuditEventsRequest { key_id: "acme-key".into(), ..all() },
        ListAuditEventsRequest { actor: "bootstrap".into(), ..all() },
        ListAuditEventsRequest { actions: vec![Action::CreateKey.into()], ..all() },
        ListAuditEventsRequest { start_time: log[0].time, ..all() },
        ListAuditEventsRequest { end_time: log[0].time, ..all() },
    ] {
        let request = ListAuditEventsRequest { page_token: page_token.clone(), ..other };
        invalid(client.list_audit_events(request).await, "page_token");
    }
    // What is committed meanwhile comes at the end.
    client.new_account("new", KeyPolicy::default()).await;
    let rest = ListAuditEventsRequest { page_token, page_size: 1000, ..all() };
    let rest = client.list_audit_events(rest).await.unwrap().events;
    assert_eq!((rest.len(), rest.last().unwrap().account.as_str()), (log.len() - 5 + 1, "new"));
    assert_is_whole(&first.events.into_iter().chain(rest).collect::<Vec<_>>());
}

async fn a_limited_caller_sees_the_events_of_its_accounts(authority: Authority) {
    let root = authority.client();
    history(&authority).await;
    let (_, reader) = authority.new_caller(&["audit.read"], Some(&["acme"])).await;
    let log = root.events(all()).await;
    let of_acme: Vec<_> = log.into_iter().filter(|event| event.account == "acme").collect();
    assert_eq!(reader.events(all()).await, of_acme);
    assert_eq!(in_pages(&reader, all(), 2).await, of_acme);
    for out_of_reach in ["other", "system", "nobody"] {
        let request = ListAuditEventsRequest { account: out_of_reach.into(), ..all() };
        refused(reader.list_audit_events(request).await, Code::NotFound, "ACCOUNT_NOT_FOUND");
    }
    let by_key = ListAuditEventsRequest { key_id: "other-key".into(), ..all() };
    assert_eq!(reader.events(by_key).await, [], "nothing is told of a key out of reach");
}

async fn refused_calls_are_no_events(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy { max_keys: 1, ..Default::default() }).await;
    let key = client.key_in("acme").await;
    let before = client.events(all()).await;
    client.create_key(key_for("acme")).await.unwrap_err();
    client.create_key(key_for("nobody")).await.unwrap_err();
    client.reveal_token(RevealTokenRequest { key_id: key.id() }).await.unwrap_err();
    let stale = UpdateKeyRequest {
        key: Some(Key { id: key.id(), ..Key::default() }),
        update_mask: mask(&["scopes"]),
        etag: "stale".into(),
        ..Default::default()
    };
    client.update_key(stale).await.unwrap_err();
    authority.anonymous().create_key(key_for("acme")).await.unwrap_err();
    assert_eq!(client.events(all()).await, before);
}

on_every_database! {
    the_log_holds_every_change_in_the_order_of_commits,
    each_filter_narrows_the_log,
    pages_follow_the_commits_and_fit_their_query,
    the_newest_events_are_listed_first_if_asked,
    a_limited_caller_sees_the_events_of_its_accounts,
    refused_calls_are_no_events,
}
