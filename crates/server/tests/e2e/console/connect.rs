//! Connecting AI clients on the page of an account.

use key_authority_proto::v1::*;

use super::Visitor;
use crate::support::{Authority, on_sqlite};

async fn clients_are_connected_with_what_the_page_knows(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy { token_prefix: "acme_".into(), ..KeyPolicy::default() }).await;
    let connect = "/console/accounts/acme/connect";
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(connect).await;
    visitor.sees("The account has no active key.");
    visitor.sees("It never expires.");
    let server = [("client", "claude-code"), ("server_name", "acme"), ("server_url", "https://acme.example/mcp")];
    visitor.submit(connect, &[("client", "codex"), ("server_name", "a b"), ("server_url", "ftp://x")]).await;
    assert_eq!(visitor.status, 422);
    visitor.sees("Must be an http or https URL.");
    visitor.sees("value=\"a b\"");
    visitor.submit(connect, &[&server[..], &[("create", "yes")]].concat()).await;
    visitor.sees("The key “acme” was created.");
    visitor.sees("claude mcp add --transport http");
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
    visitor.open(connect).await;
    visitor.submit(connect, &server).await;
    visitor.sees("is not stored. Replace YOUR_API_KEY by the token that you saved; it begins with acme_");
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
    visitor.sees("This contains the new token.");
    visitor.sees(&format!("Bearer {token}"));
}

async fn the_keys_of_callers_connect_no_agent(authority: Authority) {
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open("/console/accounts/system").await;
    visitor.does_not_see("Connect to an AI agent");
    visitor.open("/console/accounts/system/connect").await;
    assert_eq!(visitor.status, 403);
    visitor.open("/console/accounts/system/create").await;
    visitor.submit("/console/accounts/system/create", &[("name", "reader"), ("scope", "keys.read")]).await;
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
    the_keys_of_callers_connect_no_agent,
    a_form_that_is_sent_again_shows_no_token,
    a_refusal_by_the_policy_keeps_the_form,
}
