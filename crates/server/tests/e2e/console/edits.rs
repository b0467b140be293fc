//! Editing a key: what is saved, and what stays as it was.

use key_authority_proto::v1::*;

use super::Visitor;
use crate::support::client::{key_for, mask};
use crate::support::{Authority, on_sqlite};

async fn the_second_of_two_editors_sees_what_changed(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let key = root.new_key(CreateKeyRequest { display_name: "old".into(), ..key_for("acme") }).await;
    let page = format!("/console/keys/{}", key.id());
    let mut first = Visitor::signed_in(&authority, &authority.root_token()).await;
    let mut second = Visitor::signed_in(&authority, &authority.root_token()).await;
    first.open(&page).await;
    second.open(&page).await;
    first.submit(&page, &[("name", "name of the first")]).await;
    first.sees("Saved. Enforced by");
    second.submit(&page, &[("name", "old"), ("description", "text of the second")]).await;
    assert_eq!(second.status, 409);
    second.sees("Somebody changed this key while you were editing it");
    second.sees("<bdi>name of the first</bdi>");
    second.sees("text of the second</textarea>");
    second.submit(&page, &[]).await;
    second.sees("Saved. Enforced by");
    let key = root.get_key(GetKeyRequest { key_id: key.id() }).await.unwrap();
    assert_eq!((key.display_name.as_str(), key.description.as_str()), ("old", "text of the second"));
    second.open(&page).await;
    second.submit(&page, &[]).await;
    second.sees("Nothing was changed");
}

async fn a_form_that_nobody_edited_changes_nothing(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    // More projects than a page offers to choose from: the others are lines.
    let mut projects: Vec<String> = (0..120).map(|number| format!("p{number:03}")).collect();
    projects.push("zz ".to_owned());
    let key = CreateKeyRequest {
        display_name: " x ".into(),
        description: "\n two\n lines ".into(),
        labels: [("a".to_owned(), " v = 1 ".to_owned()), ("b".to_owned(), "\u{2028}x".to_owned())].into(),
        projects: Some(ProjectAccess { all: false, only: projects }),
        ..key_for("acme")
    };
    let key = root.new_key(key).await.key;
    let page = format!("/console/keys/{}", key.id);
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(&page).await;
    let mut form = visitor.filled_in(&page, &[]);
    // As a browser sends the lines.
    for (_, value) in &mut form {
        *value = value.replace('\n', "\r\n");
    }
    visitor.post(&page, &form).await;
    visitor.sees("Nothing was changed");
    assert_eq!(root.key(&key.id).await, key);

    visitor.open(&page).await;
    visitor.submit(&page, &[("name", " y ")]).await;
    visitor.sees("Saved. Enforced by");
    let saved = root.key(&key.id).await;
    let expected =
        Key { display_name: "y".into(), etag: saved.etag.clone(), update_time: saved.update_time, ..key.clone() };
    assert_eq!(saved, expected);
}

async fn a_caller_is_created_also_if_the_policy_gives_all_accounts(authority: Authority) {
    let root = authority.client();
    let account = root.get_account(GetAccountRequest { account: "system".into() }).await.unwrap();
    let policy = KeyPolicy { project_rule: ProjectRule::All.into(), ..account.policy.clone().unwrap() };
    let request = UpdateAccountRequest {
        account: Some(Account { policy: Some(policy), ..account }),
        update_mask: mask(&["policy.project_rule"]),
        ..Default::default()
    };
    root.update_account(request).await.unwrap();
    let action = "/console/accounts/system/create";
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(action).await;
    visitor.submit(action, &[("name", "reader"), ("scope", "keys.read")]).await;
    visitor.sees("<h1>Key created</h1>");
}

async fn a_key_keeps_all_projects_after_its_policy_demands_a_choice(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let all = Some(ProjectAccess { all: true, only: Vec::new() });
    let key = root.new_key(CreateKeyRequest { projects: all.clone(), ..key_for("acme") }).await;
    let account = root.get_account(GetAccountRequest { account: "acme".into() }).await.unwrap();
    let policy = KeyPolicy { project_rule: ProjectRule::Chosen.into(), ..account.policy.clone().unwrap() };
    let request = UpdateAccountRequest {
        account: Some(Account { policy: Some(policy), ..account }),
        update_mask: mask(&["policy.project_rule"]),
        ..Default::default()
    };
    root.update_account(request).await.unwrap();
    let page = format!("/console/keys/{}", key.id());
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(&page).await;
    // Also after an error of a form that chose others.
    visitor.submit(&page, &[("project_access", "only"), ("labels", "no label")]).await;
    assert_eq!(visitor.status, 422);
    visitor.sees("name=\"project_access\" value=\"all\"");
    visitor.submit(&page, &[("project_access", "all"), ("labels", ""), ("name", "another name")]).await;
    visitor.sees("Saved. Enforced by");
    let saved = root.key(&key.id()).await;
    assert_eq!((saved.display_name.as_str(), saved.projects), ("another name", all));
}

async fn a_form_that_was_saved_before_is_no_conflict(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let page = format!("/console/keys/{}", root.key_in("acme").await.id());
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(&page).await;
    let form = visitor.filled_in(&page, &[("name", "typed"), ("scopes", "b\r\na"), ("project_access", "all")]);
    visitor.post(&page, &form).await;
    visitor.sees("Saved. Enforced by");
    // As after an answer that was lost.
    visitor.post(&page, &form).await;
    assert_eq!(visitor.status, 200, "{}", visitor.page);
    visitor.sees("This is saved already");
    visitor.does_not_see("Somebody changed this key");
}

async fn a_form_without_a_field_changes_nothing_by_it(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let request = CreateKeyRequest {
        display_name: "old".into(),
        description: "what it is for".into(),
        scopes: vec!["read".into()],
        labels: [("team".to_owned(), "blue".to_owned())].into(),
        allowed_networks: vec!["192.0.2.0/24".into()],
        ..key_for("acme")
    };
    let key = root.new_key(request).await;
    let page = format!("/console/keys/{}", key.id());
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(&page).await;
    let mut form = visitor.filled_in(&page, &[("name", "new")]);
    form.retain(|(name, _)| ["form_token", "etag", "name"].contains(&name.as_str()));
    let token = form[0].clone();
    visitor.post(&page, &form).await;
    visitor.sees("Saved.");
    let saved = root.key(&key.id()).await;
    let expected =
        Key { display_name: "new".into(), etag: saved.etag.clone(), update_time: saved.update_time, ..key.key.clone() };
    assert_eq!(saved, expected, "the other fields are as they were");
    // No overlap would end the old token at once, so it must be said.
    let renew = format!("{page}/renew");
    for overlap in [None, Some(""), Some("1h"), Some("99999999999999999999"), Some("-1")] {
        let fields = overlap.map(|overlap| ("overlap".to_owned(), overlap.to_owned())).into_iter();
        visitor.post(&renew, &[token.clone()].into_iter().chain(fields).collect::<Vec<_>>()).await;
        assert_eq!(visitor.status, 422, "{overlap:?}");
        visitor.sees("verlap");
        assert_eq!(root.key(&key.id()).await.secrets.len(), 1, "{overlap:?}: the old token is the newest one");
    }
    for revision in ["", "x", "-1"] {
        let fields = [token.clone(), ("revision".to_owned(), revision.to_owned())];
        visitor.post("/console/wait", &fields).await;
        assert_eq!(visitor.status, 400, "{revision}");
    }
    for filter in ["from=yesterday", "until=2026-11-31T00:00", "action=DELETE"] {
        visitor.open(&format!("/console/audit?{filter}")).await;
        assert_eq!(visitor.status, 400, "{filter}: {}", visitor.page);
    }
}

on_sqlite! {
    a_caller_is_created_also_if_the_policy_gives_all_accounts,
    the_second_of_two_editors_sees_what_changed,
    a_form_that_nobody_edited_changes_nothing,
    a_key_keeps_all_projects_after_its_policy_demands_a_choice,
    a_form_that_was_saved_before_is_no_conflict,
    a_form_without_a_field_changes_nothing_by_it,
}
