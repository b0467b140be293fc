//! Suspending and resuming an account, and what pages say about its keys.

use key_authority_proto::v1::*;

use super::Visitor;
use crate::support::{Authority, on_sqlite};

async fn an_account_is_suspended_and_resumed(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    root.new_account("other", KeyPolicy::default()).await;
    let key = root.key_in("acme").await;
    let disabled = root.key_in("acme").await.id();
    root.disable_key(DisableKeyRequest { key_id: disabled, ..Default::default() }).await.unwrap();
    root.key_in("other").await;
    let (account, page) = ("/console/accounts/acme", format!("/console/keys/{}", key.id()));
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(account).await;
    visitor.open(&visitor.link("Suspend")).await;
    visitor.sees("Suspend “<bdi>acme</bdi>”?");
    assert_eq!(root.verdict(&key.token).await, Verdict::Valid);
    visitor.submit("/console/accounts/acme/suspend", &[]).await;
    visitor.sees("Suspended. Enforced by 1 of 1 replica after");
    assert_eq!(root.verdict(&key.token).await, Verdict::AccountSuspended);
    let denied = "<span class=\"state off\">Account suspended</span>";
    for address in [account, "/console/accounts/acme?q=k", "/console/keys", &page] {
        visitor.open(address).await;
        assert_eq!(visitor.page.matches(denied).count(), 1, "{address}: {}", visitor.page);
    }
    visitor.sees("The tokens of this key are denied, because its account is suspended.");
    visitor.open(account).await;
    visitor.submit("/console/accounts/acme/resume", &[]).await;
    visitor.sees("Resumed. Enforced by 1 of 1 replica after");
    visitor.sees("<span class=\"state on\">Active</span>");
    assert_eq!(root.verdict(&key.token).await, Verdict::Valid);
    visitor.open(&page).await;
    visitor.does_not_see("suspended");
}

async fn nobody_suspends_an_account_without_the_permission(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    root.key_in("acme").await;
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open("/console/accounts/system").await;
    visitor.does_not_see(">Suspend</a>");
    visitor.open("/console/accounts/system/suspend").await;
    assert_eq!(visitor.status, 403, "no caller could resume the account of the callers");
    visitor.open("/console/accounts/nobody/suspend").await;
    assert_eq!(visitor.status, 404);
    root.new_account("other", KeyPolicy::default()).await;
    let (owner, _) = authority.new_caller(&["accounts.read", "accounts.write", "keys.read"], Some(&["other"])).await;
    let mut owner = Visitor::signed_in(&authority, &owner.token).await;
    owner.open("/console/accounts/other/suspend").await;
    let form = owner.filled_in("/console/accounts/other/suspend", &[]);
    owner.post("/console/accounts/acme/suspend", &form).await;
    assert_eq!(owner.status, 404, "an account that it does not cover");
    let (reader, _) = authority.new_caller(&["accounts.read", "keys.read"], None).await;
    let mut reader = Visitor::signed_in(&authority, &reader.token).await;
    reader.open("/console/accounts/acme").await;
    reader.does_not_see(">Suspend</a>");
    let form = reader.filled_in("/console/sign-out", &[]);
    for action in ["suspend", "resume"] {
        reader.post(&format!("/console/accounts/acme/{action}"), &form).await;
        assert_eq!(reader.status, 403);
    }
    let account = root.get_account(GetAccountRequest { account: "acme".into() }).await.unwrap();
    assert_eq!(account.state(), AccountState::Active);
}

async fn a_visitor_who_may_not_read_accounts_gets_no_links_to_them(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let key = root.key_in("acme").await;
    let (reader, _) = authority.new_caller(&["audit.read", "keys.read", "keys.write"], None).await;
    let mut reader = Visitor::signed_in(&authority, &reader.token).await;
    let page = format!("/console/keys/{}", key.id());
    for page in ["/console/keys", &page, &format!("{page}/delete"), "/console/audit"] {
        reader.open(page).await;
        reader.sees(&key.id());
        reader.does_not_see("href=\"/console/accounts");
    }
    reader.open(&format!("{page}/delete")).await;
    reader.submit(&format!("{page}/delete"), &[]).await;
    reader.sees("Deleted. Enforced by");
}

on_sqlite! {
    an_account_is_suspended_and_resumed,
    nobody_suspends_an_account_without_the_permission,
    a_visitor_who_may_not_read_accounts_gets_no_links_to_them,
}
