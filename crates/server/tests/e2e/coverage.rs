//! Every RPC of the descriptor set: its permission, its tenancy, its event. A test fails for an RPC that is not in the
//! table.

mod table;

use std::collections::BTreeSet;

use key_authority_proto::v1::*;
pub(crate) use table::{Case, Outcome, Ready, RpcError, TABLE, Target, Tenancy};
use tonic::Code;

use crate::support::client::{PERMISSIONS, key_for};
use crate::support::expect::{methods, permissions_in_comments};
use crate::support::{Authority, Client, NewKey, on_every_database};

#[test]
fn every_rpc_is_in_the_table() {
    let served: BTreeSet<_> = methods().into_iter().collect();
    let tested: BTreeSet<_> = TABLE.iter().map(|case| case.method.to_owned()).collect();
    assert_eq!(tested.len(), TABLE.len(), "each once");
    assert_eq!(served, tested, "left: what the descriptor set has, right: what the table has");
    // Each action is some RPC's, but for the first start, the first half of a guarded deletion, and the start of a
    // portal session.
    let left: Vec<_> = TABLE.iter().filter_map(|case| case.action).collect();
    let actions = (1..=22).map(|number| Action::try_from(number).unwrap()).filter(|action| !left.contains(action));
    assert_eq!(actions.collect::<Vec<_>>(), [Action::Bootstrap, Action::PrepareDeleteKey, Action::StartPortalSession]);
    assert!(Action::try_from(23).is_err(), "a new action needs an RPC here");
}

#[test]
fn every_rpc_documents_its_permission() {
    let documented = permissions_in_comments();
    for Case { method, permissions, .. } in TABLE {
        assert_eq!(documented[*method], *permissions, "{method}: the line `Permission:` of its comment");
    }
}

/// Makes what the call is to be about, in the account `account`.
pub(crate) async fn make_ready(root: &Client, account: &str, ready: Ready) -> Target {
    let mut key = NewKey { key: Key { id: "none".into(), ..Key::default() }, token: String::new() };
    if ready != Ready::Nothing {
        let policy =
            KeyPolicy { recoverable: true, holder_may_revoke: true, holder_may_renew: true, ..KeyPolicy::default() };
        root.new_account(account, policy).await;
    }
    match ready {
        Ready::Nothing | Ready::Account => {}
        Ready::SuspendedAccount => {
            let request = SuspendAccountRequest { account: account.into(), ..Default::default() };
            root.suspend_account(request).await.unwrap();
        }
        Ready::Key => key = root.key_in(account).await,
        Ready::DisabledKey => key = root.new_key(CreateKeyRequest { disabled: true, ..key_for(account) }).await,
    }
    Target { account: account.into(), key }
}

async fn every_rpc_needs_its_permission(authority: Authority) {
    let root = authority.client();
    let denied = Err(RpcError { code: Code::PermissionDenied, reason: "PERMISSION_MISSING".into() });
    for case in TABLE {
        let Case { method, permissions, .. } = case;
        let target = make_ready(&root, &format!("of-{method}"), case.ready).await;

        let others: Vec<_> = PERMISSIONS.into_iter().filter(|name| !permissions.contains(name)).collect();
        let (_, without) = authority.new_caller(&others, None).await;
        assert_eq!((case.call)(without.clone(), target.clone()).await, denied, "{method} with all others: {others:?}");
        let of_nothing = (case.call)(without, target.of_nothing()).await;
        assert_eq!(of_nothing, denied, "{method}: permission is checked before existence");

        for permission in *permissions {
            let account = format!("{permission}-of-{method}");
            let target = make_ready(&root, &account, case.ready).await;
            let (_, with) = authority.new_caller(&[permission], None).await;
            let outcome = (case.call)(with, target).await;
            assert!(outcome.is_ok(), "{method} with {permission} alone: {outcome:?}");
        }
    }
}

async fn no_rpc_reaches_another_tenant(authority: Authority) {
    let root = authority.client();
    root.new_account("mine", KeyPolicy::default()).await;
    let (_, limited) = authority.new_caller(&PERMISSIONS, Some(&["mine"])).await;
    for case in TABLE {
        let Case { method, tenancy, .. } = case;
        let target = make_ready(&root, &format!("of-{method}"), case.ready).await;
        let before = root.events(ListAuditEventsRequest::default()).await.len();
        let outcome = (case.call)(limited.clone(), target.clone()).await;
        match tenancy {
            Tenancy::NotFound(reason) => {
                let failure = RpcError { code: Code::NotFound, reason: (*reason).to_owned() };
                assert_eq!(outcome, Err(failure.clone()), "{method}");
                // Neither is there a difference between what is out of reach and what is not there.
                assert_eq!((case.call)(limited.clone(), target.of_nothing()).await, Err(failure), "{method}");
            }
            Tenancy::Unknown => assert_eq!(outcome, Ok(Outcome::Verdict(Verdict::Unknown)), "{method}"),
            Tenancy::Hidden => {
                let Ok(Outcome::Accounts(accounts)) = outcome else { panic!("{method}: {outcome:?}") };
                assert_eq!(accounts, ["mine"], "{method}");
            }
            Tenancy::OfAll(reason) => {
                let failure = RpcError { code: Code::PermissionDenied, reason: (*reason).to_owned() };
                assert_eq!(outcome, Err(failure), "{method}");
            }
            Tenancy::OfTheWhole => assert_eq!(outcome, Ok(Outcome::Done), "{method}"),
        }
        let after = root.events(ListAuditEventsRequest::default()).await.len();
        assert_eq!(after, before, "{method} changed nothing");
        if !target.key.token.is_empty() && case.ready == Ready::Key {
            assert_eq!(root.verdict(&target.key.token).await, Verdict::Valid, "{method} did no harm");
        }
    }
}

async fn every_change_leaves_exactly_one_event(authority: Authority) {
    let root = authority.client();
    for case in TABLE {
        let method = case.method;
        let target = make_ready(&root, &format!("of-{method}"), case.ready).await;
        let (caller, client) = authority.new_caller(&PERMISSIONS, None).await;
        let before = root.events(ListAuditEventsRequest::default()).await;
        (case.call)(client, target.clone()).await.unwrap_or_else(|failure| panic!("{method}: {failure:?}"));
        let after = root.events(ListAuditEventsRequest::default()).await;
        assert_eq!(after[..before.len()], before, "{method}: events are never altered");
        let new: Vec<_> =
            after[before.len()..].iter().map(|event| (event.action(), &event.actor, &event.account)).collect();
        let caller = caller.id();
        let is_of_all = matches!(case.tenancy, Tenancy::OfAll(_));
        let account = if is_of_all { "system".to_owned() } else { target.account.clone() };
        let expected: Vec<_> = case.action.iter().map(|&action| (action, &caller, &account)).collect();
        assert_eq!(new, expected, "{method}");
        let event = after.last().unwrap();
        let names_no_key = ["CreateKey", "ImportKeys", "RevokeKeys", "CreatePortalSession"].contains(&method)
            || method.ends_with("Account");
        if case.action.is_some() && !names_no_key && !is_of_all {
            assert_eq!(event.key_id, target.key.id(), "{method}");
        }
        if case.action.is_some() && !is_of_all {
            let is_new = method.starts_with("Create") || ["ImportKeys", "RevokeKeys"].contains(&method);
            assert_eq!(event.before.is_none(), is_new, "{method}: what was before");
            assert_eq!(event.after.is_none(), method.starts_with("Delete"), "{method}: what is after");
        }
    }
}

on_every_database! {
    every_rpc_needs_its_permission,
    no_rpc_reaches_another_tenant,
    every_change_leaves_exactly_one_event,
}
