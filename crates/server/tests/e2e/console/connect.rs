//! Connecting AI clients on the page of an account.

use key_authority_proto::v1::*;

use super::Visitor;
use super::portal::{enter, link_for, product, session_of};
use crate::support::{Authority, on_sqlite};

async fn clients_are_connected_with_what_the_page_knows(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy { token_prefix: "acme_".into(), ..KeyPolicy::default() }).await;
    let connect = "/console/accounts/acme/connect";
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(connect).await;
    visitor.sees("The account has no active key.");
    visitor.sees("It never expires.");
    visitor.sees("not the address of Key Authority");
    visitor.does_not_see("Instructions for");
    let server = [("client", "claude-code"), ("server_name", "acme"), ("server_url", "https://acme.example/mcp")];
    visitor.submit(connect, &[("client", "codex"), ("server_name", "a b"), ("server_url", "ftp://x")]).await;
    assert_eq!(visitor.status, 422);
    visitor.sees("Must be an http or https URL.");
    visitor.sees("value=\"a b\"");
    visitor.submit(connect, &[&server[..], &[("create", "yes")]].concat()).await;
    visitor.sees("The key “acme” was created.");
    visitor.sees("The command below contains its token.");
    visitor.sees("claude mcp add --transport http");
    let [result, form] =
        ["<h2>Instructions for Claude Code</h2>", "name=\"server_url\""].map(|text| visitor.page.find(text));
    assert!(result.is_some() && result < form, "the result is above the form: {}", visitor.page);
    let token = visitor.field("token");
    visitor.sees(&format!("Bearer {token}"));
    visitor.sees("download=\"acme.txt\"");
    visitor.sees("It never expires.");
    assert_eq!(root.verdict(&token).await, Verdict::Valid);
    // Another client is connected with the same token, as long as the page has it.
    let instructions = "/console/accounts/acme/instructions";
    visitor.submit(instructions, &[&[("client", "codex")], &server[1..]].concat()).await;
    visitor.sees(&format!("export ACME_MCP_TOKEN={token}"));
    visitor.submit(instructions, &[&[("client", "cursor")], &server[1..]].concat()).await;
    visitor.sees("Open in Cursor");
    visitor.sees("The link below contains the new token.");
    // A URL comes with the place where it is pasted, and with what the server has to do.
    visitor.submit(instructions, &[&[("client", "claude-desktop")], &server[1..]].concat()).await;
    visitor.sees("The URL below contains the new token.");
    visitor.sees("<li>Choose “Add custom connector”.");
    visitor.sees("The MCP server has to accept the key in the parameter <code>api_key</code> of the URL");
    visitor.submit(instructions, &[&[("client", "chatgpt")], &server[1..]].concat()).await;
    visitor.sees("switch on developer mode");
    visitor.open(connect).await;
    assert_eq!(visitor.link("create a separate key"), "/console/accounts/acme/create");
    visitor.submit(connect, &server).await;
    visitor.sees("is not stored. Replace YOUR_API_KEY by the token that you saved; it begins with acme_");
    let key = root.keys_of("acme").await[0].id.clone();
    assert_eq!(visitor.link("renew the key"), format!("/console/keys/{key}/renew"));
    // Nobody could put the token into a link.
    visitor.submit(connect, &[&[("client", "cursor")], &server[1..]].concat()).await;
    visitor.does_not_see("cursor://");
    visitor.sees("&#34;Authorization&#34;: &#34;Bearer YOUR_API_KEY&#34;");
    visitor.sees("~/.cursor/mcp.json");
    // The page of a new key fills in its token.
    let create = "/console/accounts/acme/create";
    visitor.open(create).await;
    visitor.submit(create, &[("name", "second")]).await;
    let token = visitor.field("token");
    visitor.submit("/console/accounts/acme/instructions", &server).await;
    visitor.sees("The command below contains the new token.");
    visitor.sees(&format!("Bearer {token}"));
}

async fn a_visitor_is_led_only_to_what_it_may_do(authority: Authority) {
    let (_, backend) = product(&authority).await;
    authority.client().key_in("acme").await;
    let connect = "/console/accounts/acme/connect";
    let server = [("server_name", "acme"), ("server_url", "https://acme.example/mcp")];
    let mut user = enter(&authority, &link_for(&backend, session_of("acme", &[])).await).await;
    user.open(connect).await;
    user.does_not_see("create a separate key");
    user.submit(connect, &server).await;
    user.sees("Replace YOUR_API_KEY");
    user.does_not_see("renew the key");
    let may = [PortalAction::Create, PortalAction::Renew];
    let mut user = enter(&authority, &link_for(&backend, session_of("acme", &may)).await).await;
    user.open(connect).await;
    user.sees("create a separate key");
    user.submit(connect, &server).await;
    user.sees("renew the key");
}

async fn the_keys_of_callers_connect_no_agent(authority: Authority) {
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open("/console/accounts/system").await;
    visitor.does_not_see("Connect to an AI agent");
    visitor.open("/console/accounts/system/connect").await;
    assert_eq!(visitor.status, 403);
    visitor.open("/console/accounts/system/create").await;
    let reader = [("name", "reader"), ("scope", "keys.read"), ("project_access", "all")];
    visitor.submit("/console/accounts/system/create", &reader).await;
    visitor.sees("<h1>Key created</h1>");
    visitor.does_not_see("Connect to an AI agent");
}

async fn a_refusal_by_the_policy_keeps_the_form(authority: Authority) {
    let root = authority.client();
    let policy = KeyPolicy { max_keys: 1, counted_states: CountedStates::All.into(), ..KeyPolicy::default() };
    root.new_account("acme", policy).await;
    let key = root.key_in("acme").await;
    root.disable_key(DisableKeyRequest { key_id: key.id(), ..Default::default() }).await.unwrap();
    let connect = "/console/accounts/acme/connect";
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(connect).await;
    let fields = [("server_name", "my-server"), ("server_url", "https://acme.example/mcp"), ("create", "yes")];
    visitor.submit(connect, &fields).await;
    assert_eq!(visitor.status, 422, "{}", visitor.page);
    visitor.sees("value=\"my-server\"");
    visitor.sees("Keys in every state count. Delete one");
}

async fn a_form_that_is_sent_again_shows_no_token(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let connect = "/console/accounts/acme/connect";
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(connect).await;
    let fields = [("server_name", "acme"), ("server_url", "https://acme.example/mcp"), ("create", "yes")];
    let form = visitor.filled_in(connect, &fields);
    visitor.post(connect, &form).await;
    let token = visitor.field("token");
    // As long as the account has the key, the form connects with it.
    visitor.post(connect, &form).await;
    visitor.sees("is not stored. Replace YOUR_API_KEY");
    // Without it, the form would create another one.
    root.revoke(&root.keys_of("acme").await[0].id).await;
    visitor.post(connect, &form).await;
    visitor.sees("This form was sent before, and the token was shown then, unless that answer was lost.");
    visitor.does_not_see(&token);
    assert_eq!(root.keys_of("acme").await.len(), 1, "no other key was created");
}

on_sqlite! {
    clients_are_connected_with_what_the_page_knows,
    a_visitor_is_led_only_to_what_it_may_do,
    the_keys_of_callers_connect_no_agent,
    a_form_that_is_sent_again_shows_no_token,
    a_refusal_by_the_policy_keeps_the_form,
}
