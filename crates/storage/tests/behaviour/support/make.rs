//! Test data: accounts, keys, events, and the changes that write them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use key_authority_domain::access::{Access, Project, ProjectAccess};
use key_authority_domain::account::{Account, KeyPolicy};
use key_authority_domain::audit::{Action, AuditEvent, IdempotencyKey, LOG_FORMAT_VERSION};
use key_authority_domain::foreign::Scheme;
use key_authority_domain::id::{AccountId, Actor, KeyId, ReplicaId, RequestId, Revision};
use key_authority_domain::key::{Key, Labels, MintedSecret, Secret, Usage};
use key_authority_domain::secret::Keyring;
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::TokenDigest;
use key_authority_storage::Store;
use key_authority_storage::page::AccountScope;
use key_authority_storage::registry::{Joining, Nonce};
use key_authority_storage::write_tx::{Committed, WriteTx};

/// The secrets that all stores of a test share.
pub(crate) fn ring() -> Arc<Keyring> {
    ring_of(&"07".repeat(32))
}

/// A keyring from the text of a secret file.
pub(crate) fn ring_of(text: &str) -> Arc<Keyring> {
    Arc::new(Keyring::parse(text).expect("a secret file"))
}

pub(crate) fn account_id(id: &str) -> AccountId {
    AccountId::new(id).expect("an account's ID")
}

pub(crate) fn key_id(id: &str) -> KeyId {
    KeyId::new(id).expect("a key's ID")
}

pub(crate) fn actor(id: &str) -> Actor {
    Actor::new(id).expect("an actor")
}

pub(crate) fn replica_id(number: u8) -> ReplicaId {
    ReplicaId([number; 16])
}

/// Joins a replica with this number and nonce, and with the lease of a new database.
pub(crate) async fn join_as(store: &Store, number: u8, nonce: Nonce) {
    store.join(joining(number, nonce)).await.unwrap().unwrap();
}

pub(crate) fn joining(number: u8, nonce: Nonce) -> Joining<'static> {
    let lease = Duration::from_secs(10);
    Joining {
        id: replica_id(number),
        nonce,
        lease,
        build: "build",
        log_format: LOG_FORMAT_VERSION,
        address: "127.0.0.1:50051",
    }
}

pub(crate) const fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

/// An account with a policy that allows everything.
pub(crate) fn account(id: &str) -> Account {
    Account {
        id: account_id(id),
        display_name: format!("Account {id}"),
        suspended: false,
        policy: KeyPolicy::default(),
        create_time: at(0),
        update_time: at(0),
        create_revision: Revision(0),
        revision: Revision(0),
    }
}

/// An active key that covers everything.
pub(crate) fn key(id: &str, account: &str) -> Key {
    Key {
        id: key_id(id),
        account: account_id(account),
        display_name: format!("Key {id}"),
        description: String::new(),
        access: Access { scopes: [].into(), projects: ProjectAccess::All, networks: [].into() },
        labels: Labels::new(),
        disabled: false,
        revocation: None,
        expire_time: None,
        create_time: at(0),
        update_time: at(0),
        created_by: Actor::bootstrap(),
        created_by_subject: None,
        create_revision: Revision(0),
        revision: Revision(0),
        secrets: vec![secret(id, 1)],
        usage: Usage::default(),
    }
}

/// A key with so many projects of 1,000 bytes each, more than a key can be created with.
pub(crate) fn large_key(id: &str, account: &str, projects: usize) -> Key {
    let project = |number| Project::new(&format!("{number:04}{}", "🔑".repeat(249))).expect("a project");
    let mut key = key(id, account);
    key.access.projects = ProjectAccess::Only((0..projects).map(project).collect());
    key
}

/// A version of the secret of a key.
pub(crate) fn secret(key_id: &str, version: u32) -> Secret {
    Secret {
        version,
        digest: digest(key_id, version),
        scheme: Scheme::Own,
        secret_version: 1,
        hint: "key_aaaa".into(),
        sealed: None,
        create_time: at(0),
        retire_time: None,
        retired: false,
        last_used_time: None,
    }
}

/// The digest of a token, different for each key and version.
pub(crate) fn digest(key_id: &str, version: u32) -> TokenDigest {
    let mut bytes = [0; 32];
    for (part, chunk) in bytes.chunks_exact_mut(8).enumerate() {
        let mut hasher = DefaultHasher::new();
        (key_id, version, part).hash(&mut hasher);
        chunk.copy_from_slice(&hasher.finish().to_be_bytes());
    }
    TokenDigest(bytes)
}

/// A secret for a renewal.
pub(crate) fn minted(key_id: &str, version: u32) -> MintedSecret {
    let Secret { digest, scheme, secret_version, hint, sealed, .. } = secret(key_id, version);
    MintedSecret { digest, scheme, secret_version, hint, sealed }
}

/// An event without a request.
pub(crate) fn event(action: Action, account: &str, key: Option<&str>) -> AuditEvent {
    AuditEvent {
        actor: Actor::bootstrap(),
        subject: None,
        action,
        account: account_id(account),
        key_id: key.map(key_id),
        request: None,
        before: None,
        after: Some("{}".into()),
    }
}

/// An idempotency key whose parameters have this digest.
pub(crate) fn mark(id: &str, digest: u8) -> IdempotencyKey {
    IdempotencyKey { id: RequestId::new(id).expect("a request's ID"), digest: [digest; 32] }
}

/// Writes an account and returns it as written.
pub(crate) async fn put_account(store: &Store, mut account: Account) -> Account {
    let tx = store.begin().await.expect("a change");
    date_account(&tx, &mut account);
    tx.insert_account(&account).await.expect("an account");
    tx.commit(event(Action::CreateAccount, account.id.as_str(), None)).await.expect("a commit");
    account
}

/// Writes keys in one change and returns them as written.
pub(crate) async fn put_keys(store: &Store, mut keys: Vec<Key>) -> Vec<Key> {
    let tx = store.begin().await.expect("a change");
    for key in &mut keys {
        date_key(&tx, key);
    }
    tx.insert_keys(&keys).await.expect("keys");
    let first = keys.first().expect("a key");
    tx.commit(event(Action::CreateKey, first.account.as_str(), Some(first.id.as_str()))).await.expect("a commit");
    keys
}

/// Writes a key and returns it as written.
pub(crate) async fn put_key(store: &Store, key: Key) -> Key {
    put_keys(store, vec![key]).await.remove(0)
}

/// A change that only adds an event to the log.
pub(crate) async fn note(store: &Store) -> Committed {
    let tx = store.begin().await.expect("a change");
    tx.commit(event(Action::RevealToken, "acme", None)).await.expect("a commit")
}

pub(crate) fn date_account(tx: &WriteTx<'_>, account: &mut Account) {
    (account.create_time, account.update_time) = (tx.now(), tx.now());
    (account.create_revision, account.revision) = (tx.revision(), tx.revision());
}

pub(crate) fn date_key(tx: &WriteTx<'_>, key: &mut Key) {
    (key.create_time, key.update_time) = (tx.now(), tx.now());
    (key.create_revision, key.revision) = (tx.revision(), tx.revision());
}

pub(crate) fn only(accounts: &[&str]) -> AccountScope {
    AccountScope::Only(accounts.iter().map(|id| account_id(id)).collect())
}
