//! Editing the key that the visitor is signed in with.

use key_authority_proto::v1::*;

use super::Visitor;
use crate::support::client::{PERMISSIONS, only};
use crate::support::{Authority, on_sqlite};

async fn rights_are_taken_from_the_own_key_only_when_confirmed(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let (key, _) = authority.new_caller(&PERMISSIONS, None).await;
    let page = format!("/console/keys/{}", key.id());
    let mut visitor = Visitor::signed_in(&authority, &key.token).await;
    let covered = ("project_access", "all");
    let all = PERMISSIONS.map(|permission| ("scope", permission));
    for (fields, lost) in [
        (vec![("scope", "keys.read"), covered], "permissions"),
        ([&all[..], &[("project_access", "only"), ("project", "acme"), ("project", "system")]].concat(), "accounts"),
        ([&all[..], &[covered, ("networks", "127.0.0.0/8")]].concat(), "networks"),
    ] {
        visitor.open(&page).await;
        visitor.submit(&page, &fields).await;
        assert_eq!(visitor.status, 409, "{lost}: {}", visitor.page);
        visitor.sees("You are signed in with this key.");
        visitor.sees(&format!("Saving takes {lost} from it."));
        assert_eq!(root.key(&key.id()).await, key.key, "nothing was changed");
    }
    // What adds nothing and takes nothing is saved at once.
    visitor.open(&page).await;
    visitor.submit(&page, &[&all[..], &[covered, ("name", "mine")]].concat()).await;
    visitor.sees("Saved.");
    visitor.open(&page).await;
    visitor
        .submit(&page, &[&all[..8], &[("project_access", "only"), ("project", "acme"), ("project", "system")]].concat())
        .await;
    visitor.sees("Saving takes permissions and accounts from it.");
    visitor.submit(&page, &[]).await;
    let saved = root.key(&key.id()).await;
    assert_eq!((saved.scopes.len(), saved.projects), (8, only(&["acme", "system"])));
    // Another caller's key is no question.
    let (other, _) = authority.new_caller(&["keys.read", "verify"], None).await;
    let page = format!("/console/keys/{}", other.id());
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(&page).await;
    visitor.submit(&page, &[("scope", "verify"), covered]).await;
    visitor.sees("Saved.");
}

async fn renewing_the_own_key_shows_the_token_to_sign_in_with(authority: Authority) {
    let (key, _) = authority.new_caller(&PERMISSIONS, None).await;
    let renew = format!("/console/keys/{}/renew", key.id());
    let mut visitor = Visitor::signed_in(&authority, &key.token).await;
    visitor.open(&renew).await;
    // Without an overlap, the session ends with the token that it began with.
    visitor.submit(&renew, &[("overlap", "0"), ("expires", "")]).await;
    visitor.sees("<h1>Key renewed</h1>");
    let token = visitor.field("token");
    visitor.open("/console/accounts").await;
    visitor.sees("<h1>Sign in</h1>");
    let visitor = Visitor::signed_in(&authority, &token).await;
    visitor.sees("<h1>Accounts</h1>");
}

on_sqlite! {
    renewing_the_own_key_shows_the_token_to_sign_in_with,
    rights_are_taken_from_the_own_key_only_when_confirmed,
}
