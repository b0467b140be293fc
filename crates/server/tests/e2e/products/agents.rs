//! An organisation's console, 8: AI agents are connected with the account's key.

use key_authority_proto::v1::*;
use tonic::{Code, Status};

use super::account_of;
use crate::support::client::{connection_of, key_for};
use crate::support::{Authority, Client, on_every_database, refused};

/// The events that tell of tokens shown.
async fn shown(client: &Client) -> Vec<String> {
    let shown = ListAuditEventsRequest { actions: vec![Action::RevealToken.into()], ..Default::default() };
    client.events(shown).await.into_iter().map(|event| event.key_id).collect()
}

/// The text that stands where the token belongs, the same for every client.
fn text(response: &PrepareConnectionResponse) -> String {
    let connector = &response.instructions.last().expect("a connector").connector_url;
    let text = connector.strip_prefix("https://mcp.example.com/mcp?api_key=").unwrap().to_owned();
    let placeholder = &response.placeholder;
    let has_it = |response: &ConnectInstruction| {
        let commands = [&response.posix_command, &response.powershell_command, &response.cmd_command];
        match response.client() {
            ConnectClient::Cursor if text == *placeholder => {
                response.link.is_empty() && response.settings_json.contains(&text)
            }
            ConnectClient::Cursor => response.link.starts_with("cursor://"),
            ConnectClient::ClaudeDesktop | ConnectClient::Chatgpt => response.connector_url.ends_with(&text),
            _ => commands.iter().all(|command| command.contains(&text)),
        }
    };
    for response in &response.instructions {
        assert!(has_it(response), "{:?} has not the same token", response.client());
    }
    text
}

async fn connect(client: &Client, request: PrepareConnectionRequest) -> PrepareConnectionResponse {
    client.prepare_connection(request).await.unwrap()
}

async fn console_08_agents_are_connected_with_the_accounts_key(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "console").await;
    let creating = PrepareConnectionRequest { create_if_none: true, ..connection_of(&account) };

    let open = connect(&client, connection_of(&account)).await;
    assert_eq!((open.token_source(), open.key.is_none()), (TokenSource::NoKey, true));
    assert_eq!(text(&open), open.placeholder);

    let made = connect(&client, creating.clone()).await;
    let token = text(&made);
    let key = made.key.clone().unwrap();
    assert_eq!((made.token_source(), key.display_name.as_str()), (TokenSource::Created, "acme"));
    assert_eq!((made.placeholder.as_str(), made.propagation.is_some()), ("", true));
    assert_eq!(client.verdict(&token).await, Verdict::Valid);
    assert_eq!(made.instructions.len(), 6, "one for each client");

    // From then on it is shown, and no other is made.
    let again = connect(&client, creating).await;
    assert_eq!((again.token_source(), text(&again)), (TokenSource::Revealed, token.clone()));
    assert_eq!(shown(&client).await, std::slice::from_ref(&key.id));
    let newer = client.key_in(&account).await;
    assert_eq!(text(&connect(&client, connection_of(&account)).await), newer.token);
    let one = PrepareConnectionRequest { key_id: key.id.clone(), ..connection_of(&account) };
    let named = PrepareConnectionRequest { client: ConnectClient::Chatgpt.into(), ..one };
    let named = connect(&client, named).await;
    assert_eq!((named.instructions.len(), text(&named)), (1, token.clone()));
    client.disable_key(DisableKeyRequest { key_id: newer.id(), ..Default::default() }).await.unwrap();
    assert_eq!(text(&connect(&client, connection_of(&account)).await), token, "the newest that is active");
}

async fn a_token_that_is_not_kept_or_not_to_be_shown_is_left_open(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "console").await;
    client.new_account("elsewhere", KeyPolicy::default()).await;
    let (kept, not_kept) = (client.key_in(&account).await, client.key_in("elsewhere").await);
    let answered = async |client: &Client, account: &str, create_if_none| {
        let response = connect(client, PrepareConnectionRequest { create_if_none, ..connection_of(account) }).await;
        assert_eq!((text(&response), response.propagation), (response.placeholder.clone(), None));
        (response.token_source(), response.key.unwrap().id)
    };
    assert_eq!(answered(&client, "elsewhere", false).await, (TokenSource::NotKept, not_kept.id()));
    assert_eq!(answered(&client, "elsewhere", true).await, (TokenSource::NotKept, not_kept.id()));

    let (_, reader) = authority.new_caller(&["keys.read"], None).await;
    let (_, writer) = authority.new_caller(&["keys.read", "keys.write"], None).await;
    for (caller, create) in [(&reader, false), (&reader, true), (&writer, false), (&writer, true)] {
        assert_eq!(answered(caller, &account, create).await, (TokenSource::NotPermitted, kept.id()));
    }
    assert_eq!(shown(&client).await, [""; 0]);

    // Who may create a key sees the token of the one that is created.
    client.new_account("empty", KeyPolicy::default()).await;
    let creating = PrepareConnectionRequest { create_if_none: true, ..connection_of("empty") };
    let (_, revealer) = authority.new_caller(&["keys.read", "tokens.reveal"], None).await;
    for caller in [&reader, &revealer] {
        let refusal = caller.prepare_connection(creating.clone()).await;
        let (_, details) = refused(refusal, Code::PermissionDenied, "PERMISSION_MISSING");
        assert_eq!(details.error_info().unwrap().metadata["permission"], "keys.write");
    }
    let made = connect(&writer, creating).await;
    assert_eq!(made.token_source(), TokenSource::Created);
    assert_eq!(client.verdict(&text(&made)).await, Verdict::Valid);
}

async fn only_an_active_key_of_the_account_is_connected(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "console").await;
    client.new_account("elsewhere", KeyPolicy::default()).await;
    let (disabled, other) = (client.key_in(&account).await, client.key_in("elsewhere").await);
    client.disable_key(DisableKeyRequest { key_id: disabled.id(), ..Default::default() }).await.unwrap();
    let (_, reader) = authority.new_caller(&["keys.read"], None).await;
    for caller in [&client, &reader] {
        let named = async |key_id: String| -> Result<_, Status> {
            caller.prepare_connection(PrepareConnectionRequest { key_id, ..connection_of(&account) }).await
        };
        refused(named(disabled.id()).await, Code::FailedPrecondition, "KEY_NOT_ACTIVE");
        refused(named(other.id()).await, Code::NotFound, "KEY_NOT_FOUND");
        refused(named("nothing".into()).await, Code::NotFound, "KEY_NOT_FOUND");
        refused(caller.prepare_connection(connection_of("nowhere")).await, Code::NotFound, "ACCOUNT_NOT_FOUND");
    }
}

async fn a_key_to_connect_with_is_made_once(authority: Authority) {
    let client = authority.client();
    client.new_account("elsewhere", KeyPolicy::default()).await;
    let once =
        PrepareConnectionRequest { create_if_none: true, request_id: "once".into(), ..connection_of("elsewhere") };
    let first = connect(&client, once.clone()).await;
    let second = connect(&client, once).await;
    assert_eq!((first.token_source(), second.token_source()), (TokenSource::Created, TokenSource::Repeated));
    assert_eq!((text(&second), second.propagation.is_some()), (second.placeholder.clone(), true));
    assert_eq!(first.key.unwrap().id, second.key.unwrap().id);

    // Of two that find no key at the same time, one makes it and the other finds it.
    client.new_account("empty", KeyPolicy::default()).await;
    let creating = PrepareConnectionRequest { create_if_none: true, ..connection_of("empty") };
    let (left, right) = tokio::join!(connect(&client, creating.clone()), connect(&client, creating));
    let mut sources = [left.token_source(), right.token_source()];
    sources.sort_unstable_by_key(|&source| source as i32);
    assert_eq!(sources, [TokenSource::Created, TokenSource::NotKept]);
    assert_eq!(client.keys_of("empty").await.len(), 1);
}

async fn what_a_key_of_the_account_may_not_be_is_refused(authority: Authority) {
    let client = authority.client();
    let policy = KeyPolicy { display_name_pattern: "[A-Z]+".into(), ..KeyPolicy::default() };
    client.new_account("shouting", policy).await;
    let creating = PrepareConnectionRequest { create_if_none: true, ..connection_of("shouting") };
    crate::support::invalid(client.prepare_connection(creating.clone()).await, "server_name");
    let louder = PrepareConnectionRequest { server_name: "ACME".into(), ..creating };
    assert_eq!(connect(&client, louder).await.token_source(), TokenSource::Created);

    client.new_account("full", KeyPolicy { max_keys: 1, ..KeyPolicy::default() }).await;
    let full = client.new_key(CreateKeyRequest { disabled: true, ..key_for("full") }).await;
    let creating = PrepareConnectionRequest { create_if_none: true, ..connection_of("full") };
    let refusal = client.prepare_connection(creating).await;
    refused(refusal, Code::FailedPrecondition, "KEY_LIMIT_REACHED");
    assert_eq!(client.keys_of("full").await.len(), 1, "{}", full.id());
}

on_every_database! {
    console_08_agents_are_connected_with_the_accounts_key,
    a_token_that_is_not_kept_or_not_to_be_shown_is_left_open,
    only_an_active_key_of_the_account_is_connected,
    a_key_to_connect_with_is_made_once,
    what_a_key_of_the_account_may_not_be_is_refused,
}
