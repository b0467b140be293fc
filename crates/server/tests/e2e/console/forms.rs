//! What the forms do, and what they say when they cannot.

use key_authority_proto::v1::*;

use super::Visitor;
use crate::support::client::{key_for, only};
use crate::support::{Authority, Client, on_sqlite, seconds};

async fn keys_of(client: &Client, account: &str) -> Vec<Key> {
    client.list_keys(ListKeysRequest { account: account.into(), ..Default::default() }).await.unwrap().keys
}

async fn a_key_is_created_shown_once_and_revoked(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy { token_prefix: "acme_".into(), ..KeyPolicy::default() }).await;
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    let action = "/console/accounts/acme/create";
    visitor.open(action).await;
    let form =
        visitor.filled_in(action, &[("name", "laptop/claude"), ("scopes", "read\r\nwrite"), ("expires", "604800")]);
    visitor.post(action, &form).await;
    visitor.sees("Key created. Enforced by 1 of 1 replica after");
    let token = visitor.field("token");
    assert!(token.starts_with("acme_"), "{token}");
    visitor.sees(&format!("href=\"data:text/plain;charset=utf-8,{}%0A\"", token.replace('_', "%5F")));
    visitor.sees("download=\"laptop-claude.txt\"");
    assert_eq!(root.verdict(&token).await, Verdict::Valid);
    // Sending the form twice makes one key, and shows no token again.
    visitor.post(action, &form).await;
    visitor.sees("This form was sent before");
    visitor.does_not_see(&token);
    let keys = keys_of(&root, "acme").await;
    assert_eq!((keys.len(), keys[0].scopes.len()), (1, 2));
    let page = format!("/console/keys/{}", keys[0].id);
    visitor.open(&page).await;
    visitor.does_not_see(&token);
    let revoke = format!("{page}/revoke");
    visitor.submit(&revoke, &[("confirm", "laptop"), ("reason", "lost")]).await;
    assert_eq!(visitor.status, 422);
    visitor.sees("Type the name of the key exactly");
    visitor.sees("value=\"lost\"");
    assert_eq!(root.verdict(&token).await, Verdict::Valid);
    visitor.submit(&revoke, &[("confirm", "laptop/claude"), ("reason", "lost")]).await;
    visitor.sees("Revoked. Enforced by 1 of 1 replica after");
    visitor.sees(">Revoked</span>");
    assert_eq!(root.verdict(&token).await, Verdict::Revoked);
    visitor.open(&page).await;
    visitor.does_not_see("Enforced by");
}

async fn all_errors_are_shown_at_once_and_nothing_typed_is_lost(authority: Authority) {
    let root = authority.client();
    let policy = KeyPolicy { display_name_pattern: "^[A-Za-z]".into(), ..KeyPolicy::default() };
    root.new_account("acme", policy).await;
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    let action = "/console/accounts/acme/create";
    visitor.open(action).await;
    let typed = [
        ("name", "1 <name>"),
        ("description", "kept as it is"),
        ("scopes", "fine\r\nnot fine"),
        ("networks", "10.0.0.0/8\r\n10.0.0.1/8"),
        ("labels", "team"),
        ("expires", "date"),
    ];
    visitor.submit(action, &typed).await;
    assert_eq!(visitor.status, 422);
    for text in [
        "The name must begin with a letter.</p>",
        "“not fine”: must",
        "“10.0.0.1/8”: must be",
        "“team”: write name=value.",
        "Choose the date on which the key expires.",
        "value=\"1 &#60;name&#62;\"",
        "kept as it is</textarea>",
        "not fine</textarea>",
        "10.0.0.1/8</textarea>",
    ] {
        visitor.sees(text);
    }
    assert_eq!(visitor.page.matches(" autofocus").count(), 1, "the first error has the focus");
    assert!(visitor.page.split("id=\"name\"").nth(1).unwrap().split('>').next().unwrap().contains("autofocus"));
    assert!(keys_of(&root, "acme").await.is_empty());
    let mended =
        [("name", "name"), ("scopes", "fine"), ("networks", ""), ("labels", "team=blue"), ("expires", "never")];
    visitor.submit(action, &mended).await;
    visitor.sees("<h1>Key created</h1>");
    let key = &keys_of(&root, "acme").await[0];
    assert_eq!((key.description.as_str(), key.labels["team"].as_str()), ("kept as it is", "blue"));
}

async fn a_name_changes_the_direction_of_no_other_text(authority: Authority) {
    let root = authority.client();
    let account = Account { id: "acme".into(), display_name: "A\u{202e}B".into(), ..Account::default() };
    root.create_account(CreateAccountRequest { account: Some(account), ..Default::default() }).await.unwrap();
    // As long as a name may be, in characters: browsers count an emoji as two.
    let name = format!("\u{202e}{}", "🔑".repeat(199));
    let isolated = format!("\u{2068}{name}\u{2069}");
    let key = root.new_key(CreateKeyRequest { display_name: name, ..key_for("acme") }).await;
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open("/console/accounts/acme").await;
    visitor.sees("<title>\u{2068}A\u{202e}B\u{2069} · Key Authority</title>");
    visitor.sees(&format!("aria-label=\"Disable {isolated}\""));
    visitor.open("/console/accounts/acme/connect").await;
    visitor.sees(&format!("<option value=\"{}\">{isolated}", key.id()));
    visitor.open(&format!("/console/keys/{}", key.id())).await;
    visitor.does_not_see("maxlength=\"200\"");
}

async fn a_form_that_is_not_utf_8_is_refused(authority: Authority) {
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    let (_, token) = visitor.filled_in("/console/sign-out", &[]).remove(0);
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "same-origin")];
    let body = format!("form_token={token}&id=acme&name=t%ff%fe");
    visitor.ask("POST", "/console/create-account", &headers, body).await;
    assert_eq!(visitor.status, 400);
    visitor.sees("The form must be UTF-8.");
}

async fn a_list_does_not_repeat_a_long_address_in_each_row(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let key = root.key_in("acme").await;
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(&format!("/console/accounts/acme?x={}", "a".repeat(5000))).await;
    visitor.sees("name=\"back\" value=\"/console/accounts/acme\"");
    visitor.does_not_see("aaaaaaaa");
    visitor.submit(&format!("/console/keys/{}/disable", key.id()), &[]).await;
    assert_eq!((visitor.status, visitor.path.as_str()), (200, "/console/accounts/acme"));
}

async fn an_error_of_the_projects_has_the_focus_where_a_key_cannot_cover_all(authority: Authority) {
    let policy = KeyPolicy { project_rule: ProjectRule::Chosen.into(), ..KeyPolicy::default() };
    authority.client().new_account("acme", policy).await;
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    let action = "/console/accounts/acme/create";
    visitor.open(action).await;
    visitor.submit(action, &[("name", "k"), ("other_projects", &format!("b\r\n\r\n{}", "x".repeat(257)))]).await;
    assert_eq!(visitor.status, 422);
    visitor.sees(&format!("“{}…”: must", "x".repeat(40)));
    // What was typed is a choice of its own now, the first of which has the focus.
    let field = visitor.page.split("name=\"project\"").nth(1).unwrap().split('>').next().unwrap();
    assert!(field.contains(" autofocus"), "{field}");
    assert_eq!(visitor.page.matches(" autofocus").count(), 1);
}

async fn a_key_is_disabled_enabled_and_given_projects(authority: Authority) {
    let root = authority.client();
    let policy = KeyPolicy { project_rule: ProjectRule::Chosen.into(), ..KeyPolicy::default() };
    root.new_account("acme", policy).await;
    let other = CreateKeyRequest { projects: only(&["known project"]), ..key_for("acme") };
    root.new_key(other).await;
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    let action = "/console/accounts/acme/create";
    visitor.open(action).await;
    let inactive: Vec<_> =
        visitor.filled_in(action, &[("name", "inactive")]).into_iter().filter(|(name, _)| name != "active").collect();
    visitor.post(action, &inactive).await;
    visitor.sees("The key is not active");
    visitor.sees("The key has no projects yet");
    let token = visitor.field("token");
    let key = keys_of(&root, "acme").await.into_iter().find(|key| key.display_name == "inactive").unwrap();
    assert_eq!(key.state(), KeyState::Disabled);
    let page = format!("/console/keys/{}", key.id);
    visitor.open(&page).await;
    visitor.sees("value=\"known project\"");
    visitor.submit(&page, &[("project", "known project"), ("other_projects", "new one")]).await;
    visitor.sees("Saved. Enforced by");
    visitor.submit(&format!("{page}/enable"), &[]).await;
    visitor.sees("is enabled. Enforced by");
    let ask = |project: &str| VerifyRequest { token: token.clone(), project: project.into(), ..Default::default() };
    assert_eq!(root.verify(ask("new one")).await.unwrap().verdict(), Verdict::Valid);
    assert_eq!(root.verify(ask("third")).await.unwrap().verdict(), Verdict::ProjectDenied);
    visitor.open("/console/accounts/acme").await;
    visitor.submit(&format!("{page}/disable"), &[]).await;
    assert_eq!(visitor.path, "/console/accounts/acme");
    visitor.sees("“inactive” is disabled. Enforced by");
    assert_eq!(root.verify(ask("new one")).await.unwrap().verdict(), Verdict::Disabled);
}

async fn an_account_is_created_with_its_rules_beside_the_fields(authority: Authority) {
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open("/console/accounts").await;
    visitor.sees("There is no account for keys yet.");
    let create = "/console/create-account";
    visitor.open(create).await;
    visitor.submit(create, &[("id", "a shop"), ("name", "The shop"), ("prefix", "Shop")]).await;
    assert_eq!(visitor.status, 422);
    visitor.sees("value=\"a shop\"");
    visitor.sees("value=\"The shop\"");
    assert_eq!(visitor.page.matches("aria-invalid").count(), 2, "{}", visitor.page);
    visitor.submit(create, &[("id", "shop"), ("prefix", "shop_")]).await;
    visitor.sees("Account created. Enforced by 1 of 1 replica after");
    assert_eq!(visitor.path, "/console/accounts/shop");
    visitor.sees("<h1><bdi>The shop</bdi></h1>");
    visitor.open("/console/accounts").await;
    visitor.does_not_see("There is no account for keys yet.");
    visitor.open(create).await;
    visitor.submit(create, &[("id", "shop")]).await;
    assert_eq!(visitor.status, 422);
    assert_eq!(visitor.page.matches("aria-invalid").count(), 1, "{}", visitor.page);
    let (reader, _) = authority.new_caller(&["accounts.read"], None).await;
    let mut visitor = Visitor::signed_in(&authority, &reader.token).await;
    visitor.does_not_see(create);
    visitor.open(create).await;
    assert_eq!(visitor.status, 403);
}

async fn a_full_account_says_how_to_make_room(authority: Authority) {
    let root = authority.client();
    for (id, counted, advice) in [
        ("active", CountedStates::Active, "Revoke, disable or delete a key"),
        ("all", CountedStates::All, "Keys in every state count. Delete one"),
    ] {
        root.new_account(id, KeyPolicy { max_keys: 1, counted_states: counted.into(), ..KeyPolicy::default() }).await;
        root.key_in(id).await;
        let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
        let action = format!("/console/accounts/{id}/create");
        visitor.open(&action).await;
        visitor.sees("The account has all the keys that it may have: 1 of 1");
        visitor.submit(&action, &[("name", "second")]).await;
        assert_eq!(visitor.status, 422);
        visitor.sees(advice);
        visitor.sees("value=\"second\"");
    }
}

async fn a_deletion_of_a_used_key_has_to_be_insisted_on(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy { recently_used_window: seconds(86_400), ..KeyPolicy::default() }).await;
    let key = root.key_in("acme").await;
    assert_eq!(root.verdict(&key.token).await, Verdict::Valid);
    let page = format!("/console/keys/{}/delete", key.id());
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(&page).await;
    visitor.submit(&page, &[]).await;
    assert_eq!(visitor.status, 409);
    visitor.sees("Delete it although it was used recently");
    visitor.submit(&page, &[("allow_recently_used", "yes")]).await;
    visitor.sees("Deleted. Enforced by");
    assert_eq!(visitor.path, "/console/accounts/acme");
    assert_eq!(root.verdict(&key.token).await, Verdict::Unknown);
}

async fn a_stored_token_is_shown_again_and_recorded(authority: Authority) {
    let root = authority.client();
    root.new_account("open", KeyPolicy { recoverable: true, ..KeyPolicy::default() }).await;
    root.new_account("closed", KeyPolicy::default()).await;
    let [key, other] = [root.key_in("open").await, root.key_in("closed").await];
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open("/console/accounts/closed").await;
    visitor.does_not_see("/reveal");
    visitor.open("/console/accounts/open").await;
    let action = format!("/console/keys/{}/reveal", key.id());
    let form = visitor.filled_in(&action, &[]);
    visitor.submit(&action, &[]).await;
    assert_eq!(visitor.field("token"), key.token);
    // A script gets the bare token.
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form).finish();
    let headers = [("sec-fetch-site", "same-origin"), ("accept", "text/plain")];
    let answer = visitor.ask("POST", &action, &headers, body).await;
    assert_eq!((answer.status, &answer.body[..]), (200, key.token.as_bytes()));
    visitor.open(&format!("/console/keys/{}", key.id())).await;
    assert_eq!(visitor.page.matches("Reveal token").count(), 2);
    visitor.post(&format!("/console/keys/{}/reveal", other.id()), &form).await;
    assert_eq!(visitor.status, 400);
}

async fn a_caller_gets_permissions_and_accounts_by_checkboxes(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    let action = "/console/accounts/system/create";
    visitor.open(action).await;
    visitor.sees("name=\"scope\" value=\"portal.write\"");
    visitor.sees("name=\"project\" value=\"acme\"");
    visitor.submit(action, &[("name", "backend"), ("scope", "keys.read"), ("project_access", "only")]).await;
    assert_eq!(visitor.status, 422);
    visitor.sees("Choose at least one account.");
    let covered = ("project_access", "only");
    let chosen = [("name", "backend"), ("scope", "keys.read"), ("scope", "portal.write"), ("project", "acme"), covered];
    visitor.submit(action, &[&chosen[..], &[("labels", "wrong")]].concat()).await;
    visitor.sees("“wrong”: write name=value.");
    visitor.sees("value=\"portal.write\" checked");
    visitor.does_not_see("value=\"operate\" checked");
    visitor.submit(action, &[&chosen[..], &[("labels", "")]].concat()).await;
    visitor.sees("<h1>Key created</h1>");
    let key = keys_of(&root, "system").await.into_iter().find(|key| key.display_name == "backend").unwrap();
    assert_eq!(key.scopes, ["keys.read", "portal.write"]);
    assert_eq!(key.projects.clone().unwrap().only, ["acme"]);
    // Saving the page without a change changes nothing.
    let page = format!("/console/keys/{}", key.id);
    visitor.open(&page).await;
    visitor.submit(&page, &[covered]).await;
    visitor.sees("Nothing was changed");
    visitor.submit(&page, &[("scope", "keys.read"), covered]).await;
    visitor.sees("Saved. Enforced by");
    assert_eq!(root.key(&key.id).await.scopes, ["keys.read"]);
}

async fn a_revoked_key_has_no_expiry_and_a_limit_says_what_counts(authority: Authority) {
    let root = authority.client();
    let policy = KeyPolicy { max_keys: 10, counted_states: CountedStates::All.into(), ..KeyPolicy::default() };
    root.new_account("acme", policy).await;
    let expiry = Some(create_key_request::Expiry::Lifetime(seconds(30 * 86_400).unwrap()));
    let key = root.new_key(CreateKeyRequest { expiry, ..key_for("acme") }).await;
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    let (list, page) = ("/console/accounts/acme", format!("/console/keys/{}", key.id()));
    visitor.open(list).await;
    visitor.sees("in 30 days");
    root.revoke_key(RevokeKeyRequest { key_id: key.id(), ..Default::default() }).await.unwrap();
    for page in [list, &page, "/console/keys"] {
        visitor.open(page).await;
        visitor.sees("Revoked");
        visitor.does_not_see("in 30 days");
    }
    for page in [list, "/console/accounts"] {
        visitor.open(page).await;
        visitor.sees("1 of 10 keys, revoked and expired ones included");
    }
}

on_sqlite! {
    a_caller_gets_permissions_and_accounts_by_checkboxes,
    a_revoked_key_has_no_expiry_and_a_limit_says_what_counts,
    a_key_is_created_shown_once_and_revoked,
    all_errors_are_shown_at_once_and_nothing_typed_is_lost,
    a_name_changes_the_direction_of_no_other_text,
    a_form_that_is_not_utf_8_is_refused,
    a_list_does_not_repeat_a_long_address_in_each_row,
    a_key_is_disabled_enabled_and_given_projects,
    an_error_of_the_projects_has_the_focus_where_a_key_cannot_cover_all,
    an_account_is_created_with_its_rules_beside_the_fields,
    a_full_account_says_how_to_make_room,
    a_deletion_of_a_used_key_has_to_be_insisted_on,
    a_stored_token_is_shown_again_and_recorded,
}
