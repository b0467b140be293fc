//! `CreateAccount`, `GetAccount`, `UpdateAccount`, `SuspendAccount`, `ResumeAccount`, `DeleteAccount`, `GetAuthorityStatus`.

use key_authority_proto::v1::*;
use tonic::Code;

use crate::support::client::{key_for, mask};
use crate::support::{Authority, Database, Setup, days, invalid, on_every_database, refused, seconds};

fn full_policy() -> KeyPolicy {
    KeyPolicy {
        token_prefix: "acme_v2_".into(),
        display_name_pattern: "^[a-z]+$".into(),
        max_keys: 7,
        counted_states: CountedStates::Active.into(),
        lifetimes: vec![days(7).unwrap(), days(1).unwrap()],
        default_lifetime: days(7),
        may_never_expire: Some(true),
        project_rule: ProjectRule::Chosen.into(),
        recoverable: true,
        recently_used_window: seconds(3600),
        max_overlap: seconds(0),
        caller_digests: true,
        holder_may_revoke: true,
        holder_may_renew: true,
    }
}

fn create(id: &str, policy: Option<KeyPolicy>) -> CreateAccountRequest {
    let account = Account { id: id.into(), display_name: "ACME ✂".into(), policy, ..Account::default() };
    CreateAccountRequest { account: Some(account), ..Default::default() }
}

/// The same policy, its lifetimes in order: they are a choice, not a sequence.
fn sorted(policy: Option<KeyPolicy>) -> Option<KeyPolicy> {
    policy.map(|mut policy| {
        policy.lifetimes.sort_by_key(|lifetime| (lifetime.seconds, lifetime.nanos));
        policy
    })
}

async fn an_account_is_created_with_every_field(authority: Authority) {
    let client = authority.client();
    let created = client.create_account(create("acme", Some(full_policy()))).await.unwrap();
    let account = created.account.unwrap();
    assert_eq!((account.id.as_str(), account.display_name.as_str()), ("acme", "ACME ✂"));
    assert_eq!(account.state(), AccountState::Active);
    assert_eq!(sorted(account.policy.clone()), sorted(Some(full_policy())), "as it was given");
    assert!(account.create_time.is_some() && account.create_time == account.update_time);
    assert!(!account.etag.is_empty());
    assert_eq!(created.propagation.unwrap().state(), PropagationState::Confirmed);
    assert_eq!(client.get_account(GetAccountRequest { account: "acme".into() }).await.unwrap(), account);

    let named = CreateKeyRequest { display_name: "deploy".into(), ..key_for("acme") };
    assert!(client.new_key(named).await.token.starts_with("acme_v2_"), "keys follow the policy");
    // An absent policy is one with every field at its default; what is in force is shown.
    let plain = client.create_account(create("plain", None)).await.unwrap().account.unwrap();
    assert_eq!(plain.policy, Some(in_force(KeyPolicy::default())));
}

/// The policy as answers show it: with the prefix and the counted states that hold where it names none.
fn in_force(policy: KeyPolicy) -> KeyPolicy {
    let token_prefix = if policy.token_prefix.is_empty() { "ka_".into() } else { policy.token_prefix.clone() };
    let counted_states = if policy.counted_states == 0 { CountedStates::All.into() } else { policy.counted_states };
    KeyPolicy { token_prefix, counted_states, ..policy }
}

async fn an_account_of_a_taken_id_is_refused(authority: Authority) {
    let client = authority.client();
    client.create_account(create("acme", None)).await.unwrap();
    refused(client.create_account(create("acme", None)).await, Code::AlreadyExists, "ACCOUNT_EXISTS");
    client.create_account(create("ACME", None)).await.unwrap();
    let nobody = GetAccountRequest { account: "nobody".into() };
    refused(client.get_account(nobody).await, Code::NotFound, "ACCOUNT_NOT_FOUND");
}

async fn an_update_changes_what_its_mask_names(authority: Authority) {
    let client = authority.client();
    let read = client.create_account(create("acme", Some(full_policy()))).await.unwrap().account.unwrap();
    let key = client.new_key(CreateKeyRequest { display_name: "deploy".into(), ..key_for("acme") }).await.key;
    let wanted = Account {
        display_name: "new".into(),
        policy: Some(KeyPolicy { max_keys: 1, recoverable: false, ..KeyPolicy::default() }),
        state: AccountState::Suspended.into(),
        ..read.clone()
    };
    let update = async |account: &Account, paths: Option<&[&str]>, etag: &str| {
        let (account, update_mask) = (Some(account.clone()), paths.and_then(mask));
        client
            .update_account(UpdateAccountRequest { account, update_mask, etag: etag.into(), ..Default::default() })
            .await
    };
    let named = update(&wanted, Some(&["display_name"]), &read.etag).await.unwrap().account.unwrap();
    assert_eq!((named.display_name.as_str(), sorted(named.policy.clone())), ("new", sorted(read.policy.clone())));
    assert_eq!(named.state(), AccountState::Active);
    assert_ne!(named.etag, read.etag);
    refused(update(&wanted, None, &read.etag).await, Code::Aborted, "ETAG_MISMATCH");

    let fewer = update(&wanted, Some(&["policy.max_keys"]), "").await.unwrap().account.unwrap();
    let expected = KeyPolicy { max_keys: 1, ..full_policy() };
    assert_eq!(sorted(fewer.policy), sorted(Some(expected)), "a single field of the policy");
    let whole = update(&wanted, Some(&["policy"]), "").await.unwrap().account.unwrap();
    assert_eq!(whole.policy, wanted.policy.map(in_force));
    assert_eq!(client.key(&key.id).await, key, "existing keys stay as they are");

    let bare = Account { id: "acme".into(), ..Account::default() };
    let cleared = update(&bare, Some(&["*"]), "").await.unwrap().account.unwrap();
    assert_eq!(
        (cleared.display_name.as_str(), cleared.policy.unwrap_or_default()),
        ("", in_force(KeyPolicy::default()))
    );
    for path in ["id", "state", "policy.no_such_field", "create_time", ""] {
        invalid(update(&bare, Some(&[path]), "").await, "update_mask");
    }
    let nobody = Account { id: "nobody".into(), ..Account::default() };
    refused(update(&nobody, None, "").await, Code::NotFound, "ACCOUNT_NOT_FOUND");
}

async fn suspending_stops_every_key_until_the_account_is_resumed(authority: Authority) {
    let client = authority.client();
    client.create_account(create("acme", None)).await.unwrap();
    let (on, off) = (client.key_in("acme").await, client.key_in("acme").await);
    client.disable_key(DisableKeyRequest { key_id: off.id(), ..Default::default() }).await.unwrap();
    for _ in 0..2 {
        let request = SuspendAccountRequest { account: "acme".into(), ..Default::default() };
        let suspended = client.suspend_account(request).await.unwrap();
        assert_eq!(suspended.account.unwrap().state(), AccountState::Suspended);
        assert_eq!(suspended.propagation.unwrap().state(), PropagationState::Confirmed);
    }
    let answer = client.ask(&on.token).await;
    assert_eq!((answer.verdict(), answer.key_id), (Verdict::AccountSuspended, on.id()));
    assert_eq!(client.verdict(&off.token).await, Verdict::Disabled, "a key's own state is told first");
    assert_eq!(client.key(&on.id()).await.state(), KeyState::Active, "the keys keep their own states");

    refused(client.create_key(key_for("acme")).await, Code::FailedPrecondition, "ACCOUNT_SUSPENDED");
    let renew = RenewKeyRequest { key_id: on.id(), ..Default::default() };
    refused(client.renew_key(renew).await, Code::FailedPrecondition, "ACCOUNT_SUSPENDED");

    for _ in 0..2 {
        let request = ResumeAccountRequest { account: "acme".into(), ..Default::default() };
        assert_eq!(client.resume_account(request).await.unwrap().account.unwrap().state(), AccountState::Active);
    }
    assert_eq!(client.verdict(&on.token).await, Verdict::Valid);
    assert_eq!(client.verdict(&off.token).await, Verdict::Disabled);
}

async fn an_account_with_keys_is_not_deleted(authority: Authority) {
    let client = authority.client();
    client.create_account(create("acme", None)).await.unwrap();
    let key = client.key_in("acme").await;
    client.revoke(&key.id()).await;
    let delete = || client.delete_account(DeleteAccountRequest { account: "acme".into(), ..Default::default() });
    refused(delete().await, Code::FailedPrecondition, "ACCOUNT_NOT_EMPTY");
    client.delete_key(DeleteKeyRequest { key_id: key.id(), ..Default::default() }).await.unwrap();
    assert_eq!(delete().await.unwrap().propagation.unwrap().state(), PropagationState::Confirmed);
    refused(delete().await, Code::NotFound, "ACCOUNT_NOT_FOUND");
    refused(client.create_key(key_for("acme")).await, Code::NotFound, "ACCOUNT_NOT_FOUND");

    // An account in any state can be deleted, and its ID is used once.
    client.create_account(create("other", None)).await.unwrap();
    client.suspend_account(SuspendAccountRequest { account: "other".into(), ..Default::default() }).await.unwrap();
    let delete_other = DeleteAccountRequest { account: "other".into(), ..Default::default() };
    client.delete_account(delete_other).await.unwrap();
    for id in ["acme", "other"] {
        refused(client.create_account(create(id, None)).await, Code::AlreadyExists, "ACCOUNT_EXISTS");
    }
}

async fn the_account_system_is_reserved(authority: Authority) {
    let client = authority.client();
    let account = || "system".to_owned();
    let reserved = "ACCOUNT_RESERVED";
    refused(client.create_account(create("system", None)).await, Code::FailedPrecondition, reserved);
    let suspend = SuspendAccountRequest { account: account(), ..Default::default() };
    refused(client.suspend_account(suspend).await, Code::FailedPrecondition, reserved);
    let delete = DeleteAccountRequest { account: account(), ..Default::default() };
    refused(client.delete_account(delete).await, Code::FailedPrecondition, reserved);
    let read = client.get_account(GetAccountRequest { account: account() }).await.unwrap();
    assert_eq!(read.state(), AccountState::Active);
    let odd = CreateKeyRequest { scopes: vec!["orders.read".into()], ..key_for("system") };
    invalid(client.create_key(odd).await, "scopes");
}

async fn the_status_tells_how_the_authority_is(database: Database) {
    let authority = Setup::on(database).start().await;
    let client = authority.client();
    let before = client.get_authority_status(GetAuthorityStatusRequest {}).await.unwrap();
    client.create_account(create("acme", None)).await.unwrap();
    let created = client.create_key(key_for("acme")).await.unwrap();
    let status = client.get_authority_status(GetAuthorityStatusRequest {}).await.unwrap();
    let kind = match database {
        Database::Sqlite => StorageKind::Sqlite,
        Database::Postgres => StorageKind::Postgres,
        Database::MariaDb => StorageKind::Mariadb,
    };
    assert_eq!(status.storage(), kind);
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(status.revision, created.propagation.unwrap().revision);
    assert_eq!(status.revision, before.revision + 2);
    assert_eq!(status.resident_keys, before.resident_keys + 1);
    assert_eq!(status.resident_accounts, before.resident_accounts + 1);
    assert!(status.lease.is_some_and(|lease| lease.seconds >= 5));
    let [replica] = &status.replicas[..] else { panic!("one replica: {:?}", status.replicas) };
    assert!(replica.self_ && replica.id == status.replica && !replica.id.is_empty());
    assert_eq!(replica.applied_revision, status.revision);
    assert!(replica.lease_remaining.is_some_and(|rest| rest.seconds > 0 || rest.nanos > 0));
    assert!(replica.join_time.is_some() && replica.seen_time.is_some());
    assert!(!replica.build.is_empty() && !replica.address.is_empty());
}

on_every_database! {
    an_account_is_created_with_every_field,
    an_account_of_a_taken_id_is_refused,
    an_update_changes_what_its_mask_names,
    suspending_stops_every_key_until_the_account_is_resumed,
    an_account_with_keys_is_not_deleted,
    the_account_system_is_reserved,
    the_status_tells_how_the_authority_is,
}
