//! Four products' ways with keys: each numbered line of theirs is a scenario, each on an account with the policy in
//! `docs/examples/<product>.json`, the file that the documentation hands to grpcurl.

mod agents;
mod console;
mod gaio;
mod mecha;
mod meko;

use key_authority_proto::v1::*;
use prost::Message;
use serde_json::{Map, Value};

use crate::support::{Client, seconds};

/// Creates the product's account, under the ID that its example gives it.
async fn account_of(client: &Client, product: &str) -> String {
    let request = example(product);
    client.create_account(request).await.unwrap().account.unwrap().id
}

/// Creates one more account like it.
async fn another_account_of(client: &Client, product: &str, id: &str) {
    let mut request = example(product);
    request.account.as_mut().unwrap().id = id.into();
    client.create_account(request).await.unwrap();
}

/// The request in `docs/examples/<product>.json`.
fn example(product: &str) -> CreateAccountRequest {
    let file = format!("{}/../../docs/examples/{product}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut request: Map<String, Value> = serde_json::from_str(&text).unwrap();
    let mut account: Map<String, Value> = take(&mut request, "account");
    let policy: Map<String, Value> = take(&mut account, "policy");
    let account = Account {
        id: take(&mut account, "id"),
        display_name: take(&mut account, "displayName"),
        policy: Some(policy_of(policy)),
        ..left_of(&account)
    };
    CreateAccountRequest { account: Some(account), ..left_of(&request) }
}

fn policy_of(mut json: Map<String, Value>) -> KeyPolicy {
    let json = &mut json;
    let lifetimes: Vec<String> = take(json, "lifetimes");
    let counted: String = take(json, "countedStates");
    let rule: String = take(json, "projectRule");
    let policy = KeyPolicy {
        token_prefix: take(json, "tokenPrefix"),
        display_name_pattern: take(json, "displayNamePattern"),
        max_keys: take(json, "maxKeys"),
        counted_states: enumerated(&counted, CountedStates::from_str_name).into(),
        lifetimes: lifetimes.iter().filter_map(|text| duration(text)).collect(),
        default_lifetime: duration(&take::<String>(json, "defaultLifetime")),
        may_never_expire: take(json, "mayNeverExpire"),
        project_rule: enumerated(&rule, ProjectRule::from_str_name).into(),
        recoverable: take(json, "recoverable"),
        recently_used_window: duration(&take::<String>(json, "recentlyUsedWindow")),
        max_overlap: duration(&take::<String>(json, "maxOverlap")),
        caller_digests: take(json, "callerDigests"),
        holder_may_revoke: take(json, "holderMayRevoke"),
        holder_may_renew: take(json, "holderMayRenew"),
    };
    left_of::<()>(json);
    policy
}

/// Takes a field out, or its default where it is not there.
fn take<T: Default + serde::de::DeserializeOwned>(json: &mut Map<String, Value>, name: &str) -> T {
    json.remove(name).map_or_else(T::default, |value| serde_json::from_value(value).unwrap())
}

/// Nothing, where nothing is left: a name that nobody took is a mistake in the file.
fn left_of<T: Default>(json: &Map<String, Value>) -> T {
    assert!(json.is_empty(), "unknown names: {json:?}");
    T::default()
}

fn enumerated<T: Default>(name: &str, from: fn(&str) -> Option<T>) -> T {
    if name.is_empty() { T::default() } else { from(name).unwrap_or_else(|| panic!("no value {name}")) }
}

fn duration(text: &str) -> Option<prost_types::Duration> {
    let whole = (!text.is_empty()).then(|| text.strip_suffix('s').unwrap().parse().unwrap());
    whole.and_then(seconds)
}

/// Fails when any part of an answer holds the token.
#[track_caller]
fn assert_without_token(answer: &impl Message, token: &str) {
    assert!(token.len() > 46, "a token to look for");
    let bytes = answer.encode_to_vec();
    assert!(!bytes.windows(token.len()).any(|part| part == token.as_bytes()), "an answer shows the token");
}

/// Fails when anything that tells of a key, now or later, holds its token.
async fn assert_shown_nowhere(client: &Client, key: &Key, token: &str) {
    assert_without_token(key, token);
    assert_without_token(&client.key(&key.id).await, token);
    for listed in client.keys_of(&key.account).await {
        assert_without_token(&listed, token);
    }
    for event in client.events(ListAuditEventsRequest { key_id: key.id.clone(), ..Default::default() }).await {
        assert_without_token(&event, token);
    }
    assert_without_token(&client.ask(token).await, token);
}
