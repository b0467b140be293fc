//! `ImportKeys`: keys of another system, and the tokens that their holders have.

mod keys;
mod messages;
mod parts;
mod repeats;
mod replicas;

use key_authority_proto::v1::imported_key::Secret;
use key_authority_proto::v1::*;

use crate::support::{Authority, Client};

/// A token such as other systems issue.
fn token(name: &str) -> String {
    format!("sk-live/{name}+0123456789==")
}

fn sha256(token: &str) -> Secret {
    use sha2::Digest as _;
    Secret::Sha256(sha2::Sha256::digest(token).to_vec())
}

fn blake3(token: &str) -> Secret {
    Secret::Blake3(blake3::hash(token.as_bytes()).as_bytes().to_vec())
}

fn whole(token: &str) -> Secret {
    Secret::Token(token.to_owned())
}

fn key(secret: Secret) -> ImportedKey {
    ImportedKey { secret: Some(secret), ..ImportedKey::default() }
}

fn named(id: &str) -> ImportedKey {
    ImportedKey { key_id: id.into(), ..key(whole(&token(id))) }
}

fn into(account: &str, keys: Vec<ImportedKey>) -> ImportKeysRequest {
    ImportKeysRequest { account: account.into(), keys, ..ImportKeysRequest::default() }
}

fn counts(answer: &ImportKeysResponse) -> (u32, u32, usize) {
    (answer.imported, answer.existing, answer.errors.len())
}

fn reasons(answer: &ImportKeysResponse) -> Vec<(u32, &str, &str)> {
    answer.errors.iter().map(|error| (error.index, error.field.as_str(), error.reason.as_str())).collect()
}

fn revision(answer: &ImportKeysResponse) -> u64 {
    answer.propagation.as_ref().expect("a change is everywhere when its answer comes").revision
}

async fn with_account(authority: &Authority) -> Client {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    client
}

fn imports() -> ListAuditEventsRequest {
    ListAuditEventsRequest { actions: vec![Action::ImportKeys.into()], ..Default::default() }
}

/// So many keys, named by their number.
fn numbered(count: usize) -> Vec<ImportedKey> {
    (0..count).map(|number| named(&format!("key-{number}"))).collect()
}
