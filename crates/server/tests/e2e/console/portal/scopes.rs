//! Portal sessions whose user may give only some scopes to keys.

use serde_json::json;

use super::*;
use crate::door::root_call;
use crate::support::client::key_for;

const CREATE: &str = "/console/accounts/acme/create";

fn allowed(scopes: &[&str]) -> AllowedScopes {
    AllowedScopes { only: scopes.iter().map(|&scope| scope.into()).collect() }
}

/// A browser in a session that may do everything, with these scopes.
async fn limited(authority: &Authority, backend: &Client, scopes: &[&str]) -> Visitor {
    let request =
        CreatePortalSessionRequest { allowed_scopes: Some(allowed(scopes)), ..session_of("acme", &EVERYTHING) };
    enter(authority, &link_for(backend, request).await).await
}

fn with_scopes(scopes: &[&str]) -> CreateKeyRequest {
    CreateKeyRequest { scopes: scopes.iter().map(|&scope| scope.into()).collect(), ..key_for("acme") }
}

/// A form with other scopes than its boxes have.
fn forged(visitor: &Visitor, action: &str, name: &str, scopes: &[&str]) -> Vec<(String, String)> {
    let mut form = visitor.filled_in(action, &[("name", name)]);
    form.retain(|(field, _)| field != "scope");
    form.extend(scopes.iter().map(|&scope| ("scope".to_owned(), scope.to_owned())));
    form
}

async fn a_new_key_has_only_scopes_that_the_session_allows(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let mut visitor = limited(&authority, &backend, &["read", "write"]).await;
    visitor.open(CREATE).await;
    visitor.sees("<legend>Scopes</legend>");
    visitor.sees("name=\"scope\" value=\"read\"");
    visitor.sees("name=\"scope\" value=\"write\"");
    visitor.does_not_see("<textarea id=\"scopes\"");
    let form = forged(&visitor, CREATE, "k", &["read", "admin", "root"]);
    visitor.post(CREATE, &form).await;
    assert_eq!(visitor.status, 422, "{}", visitor.page);
    visitor.sees("A user of this portal may not add `admin`, `root` to a key.");
    // Not by the lines of the other form either.
    let mut form = forged(&visitor, CREATE, "k", &[]);
    form.retain(|(field, _)| field != "scopes");
    form.push(("scopes".into(), "admin".into()));
    visitor.post(CREATE, &form).await;
    assert_eq!(visitor.status, 422);
    assert!(backend.keys_of("acme").await.is_empty(), "nothing was created");
    visitor.open(CREATE).await;
    visitor.submit(CREATE, &[("name", "k"), ("scope", "read")]).await;
    visitor.sees("<h1>Key created</h1>");
    assert_eq!(backend.keys_of("acme").await[0].scopes, ["read"]);
}

async fn an_update_adds_no_other_scope_and_keeps_what_the_key_has(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let key = backend.new_key(with_scopes(&["admin", "read"])).await;
    let page = format!("/console/keys/{}", key.id());
    let mut visitor = limited(&authority, &backend, &["read", "write"]).await;
    visitor.open(&page).await;
    visitor.sees("<bdi class=\"code\">admin</bdi>: once removed, it cannot be added again here");
    let form = forged(&visitor, &page, "k", &["admin", "read", "root"]);
    visitor.post(&page, &form).await;
    assert_eq!(visitor.status, 422);
    visitor.sees("may not add `root` to a key.");
    assert_eq!(backend.key(&key.id()).await, key.key);
    // A name is saved beside a scope that the session does not allow, and so is a scope that it allows.
    visitor.open(&page).await;
    visitor.submit(&page, &[("name", "renamed")]).await;
    visitor.sees("Saved.");
    let form = forged(&visitor, &page, "renamed", &["admin", "write"]);
    visitor.post(&page, &form).await;
    visitor.sees("Saved.");
    assert_eq!(backend.key(&key.id()).await.scopes, ["admin", "write"]);
    // What is removed cannot come back.
    let form = forged(&visitor, &page, "renamed", &["write"]);
    visitor.post(&page, &form).await;
    visitor.does_not_see("value=\"admin\"");
    let form = forged(&visitor, &page, "renamed", &["admin", "write"]);
    visitor.post(&page, &form).await;
    assert_eq!(visitor.status, 422);
    assert_eq!(backend.key(&key.id()).await.scopes, ["write"]);
}

async fn keys_with_other_scopes_are_renewed_disabled_and_enabled(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let key = backend.new_key(with_scopes(&["admin"])).await;
    let page = format!("/console/keys/{}", key.id());
    let mut visitor = limited(&authority, &backend, &[]).await;
    visitor.open(&page).await;
    for (action, outcome) in [("disable", "is disabled."), ("enable", "is enabled.")] {
        visitor.submit(&format!("{page}/{action}"), &[]).await;
        visitor.sees(outcome);
    }
    visitor.open(&format!("{page}/renew")).await;
    visitor.submit(&format!("{page}/renew"), &[("overlap", "0")]).await;
    visitor.sees("<h1>Key renewed</h1>");
    assert_eq!(backend.key(&key.id()).await.scopes, ["admin"]);
}

async fn without_allowed_scopes_a_session_gives_none(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let mut visitor = limited(&authority, &backend, &[]).await;
    visitor.open(CREATE).await;
    visitor.sees("You may not add scopes to keys here.");
    let form = forged(&visitor, CREATE, "k", &["read"]);
    visitor.post(CREATE, &form).await;
    assert_eq!(visitor.status, 422);
    visitor.open(CREATE).await;
    visitor.submit(CREATE, &[("name", "k")]).await;
    visitor.sees("<h1>Key created</h1>");
    assert_eq!(backend.keys_of("acme").await[0].scopes, [""; 0]);
    // A session that is not limited gives any.
    let mut visitor = enter(&authority, &link(&backend, "acme", &EVERYTHING).await).await;
    visitor.open(CREATE).await;
    visitor.submit(CREATE, &[("name", "any"), ("scopes", "admin")]).await;
    visitor.sees("<h1>Key created</h1>");
}

async fn the_largest_session_fits_into_a_cookie(authority: Authority) {
    let root = authority.client();
    let (id, display_name) = ("a".repeat(64), "\u{10ffff}".repeat(200));
    let account = Account { id: id.clone(), display_name, ..Account::default() };
    root.create_account(CreateAccountRequest { account: Some(account), ..Default::default() }).await.unwrap();
    let scopes: Vec<_> = (10..19).map(|number| format!("{number}{}", "\"".repeat(48))).collect();
    let request = CreatePortalSessionRequest {
        subject: "\u{10ffff}".repeat(128),
        allowed_scopes: Some(AllowedScopes { only: scopes }),
        ..session_of(&id, &EVERYTHING)
    };
    let link = link_for(&root, request).await;
    assert!(link.len() < 4000, "{}", link.len());
    let visitor = enter(&authority, &link).await;
    assert_eq!((visitor.status, visitor.path), (200, format!("/console/accounts/{id}")));
    // Browsers count the name with the value. An IPv6 address and larger random numbers need 100 bytes more.
    let length = "__Host-key-authority=".len() + visitor.cookies["key-authority"].len();
    assert!(length + 100 <= 4096, "{length}");
}

async fn the_log_has_the_allowed_scopes(authority: Authority) {
    product(&authority).await;
    for (scopes, expected) in [
        (json!(null), None),
        (json!({}), Some(json!({ "only": [] }))),
        (json!({ "only": ["write", "read"] }), Some(json!({ "only": ["read", "write"] }))),
    ] {
        let request = json!({ "account": "acme", "subject": "ada", "allowedScopes": scopes });
        root_call(&authority, "CreatePortalSession", &request).await;
        let filter = json!({ "orderBy": "revision desc", "pageSize": 1 });
        let events = root_call(&authority, "ListAuditEvents", &filter).await;
        assert_eq!(events["events"][0]["after"].get("allowed_scopes"), expected.as_ref(), "{events}");
    }
    let request = CreatePortalSessionRequest { allowed_scopes: Some(allowed(&["a b"])), ..session_of("acme", &[]) };
    invalid(authority.client().create_portal_session(request).await, "allowed_scopes.only[0]");
}

on_sqlite! {
    a_new_key_has_only_scopes_that_the_session_allows,
    an_update_adds_no_other_scope_and_keeps_what_the_key_has,
    keys_with_other_scopes_are_renewed_disabled_and_enabled,
    without_allowed_scopes_a_session_gives_none,
    the_largest_session_fits_into_a_cookie,
    the_log_has_the_allowed_scopes,
}
