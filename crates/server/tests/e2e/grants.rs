//! Nobody grants more than they hold: no call leaves a key of `system` usable, or shows a token of one, with a permission
//! or an account that the caller lacks.

use key_authority_proto::v1::*;
use tonic::{Code, Status};

use crate::support::client::{all_projects, connection_of, key_for, mask, only};
use crate::support::{Authority, Client, NewKey, on_every_database, refused, seconds};

const HELD: [&str; 5] = ["keys.read", "keys.write", "tokens.reveal", "accounts.write", "verify"];

/// A caller with [`HELD`] for the accounts `system` and `a`, and a key that holds more.
struct Scene {
    root: Client,
    deputy: Client,
    mightier: NewKey,
}

async fn scene(authority: &Authority) -> Scene {
    let root = authority.client();
    for account in ["a", "b"] {
        root.new_account(account, KeyPolicy::default()).await;
    }
    let policy = Some(KeyPolicy { recoverable: true, ..KeyPolicy::default() });
    let account = Account { id: "system".into(), policy, ..Account::default() };
    let update_mask = mask(&["policy.recoverable"]);
    let request = UpdateAccountRequest { account: Some(account), update_mask, ..Default::default() };
    root.update_account(request).await.unwrap();
    let (_, deputy) = authority.new_caller(&HELD, Some(&["system", "a"])).await;
    let (mightier, _) = authority.new_caller(&["verify", "operate"], Some(&["a"])).await;
    Scene { root, deputy, mightier }
}

fn scopes(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.into()).collect()
}

#[track_caller]
fn exceeds<T>(result: Result<T, Status>) {
    refused(result, Code::PermissionDenied, "GRANT_EXCEEDS_CALLER");
}

async fn no_key_is_created_with_more_than_its_creator_holds(authority: Authority) {
    let Scene { deputy, .. } = scene(&authority).await;
    let create = async |names: &[&str], projects| {
        deputy.create_key(CreateKeyRequest { scopes: scopes(names), projects, ..key_for("system") }).await
    };
    create(&[], only(&[])).await.unwrap();
    create(&["verify", "keys.write"], only(&["a", "system"])).await.unwrap();
    create(&HELD, only(&["a"])).await.unwrap();
    exceeds(create(&["keys.revoke"], only(&["a"])).await);
    exceeds(create(&["verify", "operate"], only(&["a"])).await);
    exceeds(create(&["verify"], only(&["b"])).await);
    exceeds(create(&["verify"], only(&["a", "an-account-to-come"])).await);
    exceeds(create(&["verify"], all_projects()).await);
    exceeds(create(&["verify"], None).await);
    // The keys of other accounts hold no permissions of ours: their scopes are their own affair.
    let elsewhere = CreateKeyRequest { scopes: scopes(&["operate"]), ..key_for("a") };
    deputy.create_key(elsewhere).await.unwrap();
}

async fn no_key_is_changed_into_more_than_the_caller_holds(authority: Authority) {
    let Scene { root, deputy, mightier } = scene(&authority).await;
    let lesser = CreateKeyRequest { scopes: scopes(&["verify"]), projects: only(&["a"]), ..key_for("system") };
    let lesser = deputy.new_key(lesser).await;
    let update = async |key_id: String, key: Key, paths: &[&str]| {
        let key = Some(Key { id: key_id, ..key });
        deputy.update_key(UpdateKeyRequest { key, update_mask: mask(paths), ..Default::default() }).await
    };
    let with_scopes = |names: &[&str]| Key { scopes: scopes(names), ..Key::default() };
    let with_projects = |projects| Key { projects, ..Key::default() };
    update(lesser.id(), with_scopes(&["verify", "keys.read"]), &["scopes"]).await.unwrap();
    exceeds(update(lesser.id(), with_scopes(&["keys.revoke"]), &["scopes"]).await);
    exceeds(update(lesser.id(), with_projects(only(&["b"])), &["projects"]).await);
    exceeds(update(lesser.id(), with_projects(None), &["projects"]).await);
    assert_eq!(root.key(&lesser.id()).await.projects, only(&["a"]));

    // A mightier one is not its to change, not even into less.
    let name = Key { display_name: "mine".into(), ..Key::default() };
    exceeds(update(mightier.id(), name, &["display_name"]).await);
    exceeds(update(mightier.id(), Key::default(), &["expire_time"]).await);
    exceeds(update(mightier.id(), with_scopes(&["verify"]), &["scopes"]).await);
}

async fn no_token_is_given_out_that_holds_more_than_the_caller(authority: Authority) {
    let Scene { root, deputy, mightier } = scene(&authority).await;
    let renew = RenewKeyRequest { key_id: mightier.id(), ..Default::default() };
    exceeds(deputy.renew_key(renew.clone()).await);
    exceeds(deputy.reveal_token(RevealTokenRequest { key_id: mightier.id() }).await);
    let instructions = PrepareConnectionRequest { key_id: mightier.id(), ..connection_of("system") };
    exceeds(deputy.prepare_connection(instructions).await);
    assert_eq!(root.key(&mightier.id()).await.secrets.len(), 1);
    assert_eq!(root.caller_verdict(&mightier.token).await, Verdict::Valid);

    // What is no more than it holds, it may.
    let lesser = CreateKeyRequest { scopes: scopes(&["verify"]), projects: only(&["a"]), ..key_for("system") };
    let lesser = root.new_key(lesser).await;
    let renewed = deputy.renew_key(RenewKeyRequest { key_id: lesser.id(), ..Default::default() }).await.unwrap();
    let shown = deputy.reveal_token(RevealTokenRequest { key_id: lesser.id() }).await.unwrap();
    assert_eq!(shown.token, renewed.token);
    root.renew_key(renew).await.unwrap();
}

async fn a_mightier_key_can_only_be_revoked(authority: Authority) {
    let Scene { root, deputy, mightier } = scene(&authority).await;
    let key_id = || mightier.id();
    exceeds(deputy.disable_key(DisableKeyRequest { key_id: key_id(), ..Default::default() }).await);
    exceeds(deputy.delete_key(DeleteKeyRequest { key_id: key_id(), ..Default::default() }).await);
    root.disable_key(DisableKeyRequest { key_id: key_id(), ..Default::default() }).await.unwrap();
    exceeds(deputy.enable_key(EnableKeyRequest { key_id: key_id(), ..Default::default() }).await);
    assert_eq!(root.key(&key_id()).await.state(), KeyState::Disabled);
    deputy.revoke_key(RevokeKeyRequest { key_id: key_id(), ..Default::default() }).await.unwrap();
    assert_eq!(root.key(&key_id()).await.state(), KeyState::Revoked);
}

async fn a_bound_caller_cannot_free_itself(authority: Authority) {
    let root = authority.client();
    let bound = CreateKeyRequest {
        scopes: scopes(&["keys.write", "keys.read", "accounts.write"]),
        projects: only(&["a", "system"]),
        allowed_networks: vec!["127.0.0.0/8".into()],
        expiry: Some(create_key_request::Expiry::Lifetime(prost_types::Duration { seconds: 3600, nanos: 0 })),
        ..key_for("system")
    };
    let bound = root.new_key(bound).await;
    let caller = authority.client_with(&bound.token);
    let same = |expiry, networks: &[&str]| CreateKeyRequest {
        scopes: scopes(&["keys.read"]),
        projects: only(&["a"]),
        allowed_networks: scopes(networks),
        expiry,
        ..key_for("system")
    };
    let short = Some(create_key_request::Expiry::Lifetime(prost_types::Duration { seconds: 60, nanos: 0 }));
    let long = Some(create_key_request::Expiry::Lifetime(prost_types::Duration { seconds: 7200, nanos: 0 }));
    caller.create_key(same(short, &["127.0.0.1"])).await.unwrap();
    exceeds(caller.create_key(same(short, &[])).await);
    exceeds(caller.create_key(same(long, &["127.0.0.1"])).await);
    exceeds(caller.create_key(same(None, &["127.0.0.1"])).await);
    for path in ["allowed_networks", "expire_time"] {
        let key = Some(Key { id: bound.id(), ..Key::default() });
        exceeds(caller.update_key(UpdateKeyRequest { key, update_mask: mask(&[path]), ..Default::default() }).await);
    }
    // What the account of all callers is, is not for one of them to say.
    let system = Some(Account { id: "system".into(), display_name: "mine".into(), ..Account::default() });
    exceeds(caller.update_account(UpdateAccountRequest { account: system, ..Default::default() }).await);
}

async fn a_renewal_never_outlives_the_caller(authority: Authority) {
    use renew_key_request::Expiry;

    let root = authority.client();
    let short = CreateKeyRequest {
        scopes: scopes(&["keys.write"]),
        projects: only(&["system"]),
        expiry: Some(create_key_request::Expiry::Lifetime(seconds(120).unwrap())),
        ..key_for("system")
    };
    let short = root.new_key(short).await;
    let caller = authority.client_with(&short.token);
    let renew = |expiry| RenewKeyRequest { key_id: short.id(), expiry, ..Default::default() };
    exceeds(caller.renew_key(renew(Some(Expiry::NeverExpires(true)))).await);
    exceeds(caller.renew_key(renew(Some(Expiry::Lifetime(seconds(3600).unwrap())))).await);
    let unchanged = root.key(&short.id()).await;
    assert_eq!((unchanged.expire_time, unchanged.secrets.len()), (short.key.expire_time, 1));
    // For as long as it has itself, it may.
    let renewed = caller.renew_key(renew(None)).await.unwrap().key.unwrap();
    assert_eq!(renewed.expire_time, short.key.expire_time);
}

async fn a_token_that_a_renewal_has_replaced_grants_nothing(authority: Authority) {
    let root = authority.client();
    root.new_account("a", KeyPolicy::default()).await;
    let (caller, old) = authority.new_caller(&["keys.write", "verify"], None).await;
    let renew = || RenewKeyRequest { key_id: caller.id(), overlap: seconds(60), ..Default::default() };
    let renewed = old.renew_key(renew()).await.unwrap();
    let granted = || CreateKeyRequest {
        scopes: scopes(&["verify"]),
        expiry: Some(create_key_request::Expiry::Lifetime(seconds(5).unwrap())),
        ..key_for("system")
    };
    let forever = CreateKeyRequest { scopes: scopes(&["keys.write"]), ..key_for("system") };
    exceeds(old.create_key(forever.clone()).await);
    exceeds(old.create_key(granted()).await);
    exceeds(old.renew_key(renew()).await);
    exceeds(old.disable_key(DisableKeyRequest { key_id: caller.id(), ..Default::default() }).await);
    assert_eq!(root.key(&caller.id()).await.secrets.len(), 2);
    // What it does for accounts of customers goes on during the overlap, and the new token may do all that the old one did.
    old.create_key(key_for("a")).await.unwrap();
    let new = authority.client_with(&renewed.token);
    for request in [granted(), forever] {
        new.create_key(request).await.unwrap();
    }
    new.renew_key(renew()).await.unwrap();
}

async fn no_caller_takes_the_name_of_another(authority: Authority) {
    let root = authority.client();
    let named = |id: &str| CreateKeyRequest { key_id: id.into(), scopes: scopes(&["verify"]), ..key_for("system") };
    refused(root.create_key(named("bootstrap")).await, Code::AlreadyExists, "KEY_EXISTS");
    root.create_key(named("alice")).await.unwrap();
    root.delete_key(DeleteKeyRequest { key_id: "alice".into(), ..Default::default() }).await.unwrap();
    refused(root.create_key(named("alice")).await, Code::AlreadyExists, "KEY_EXISTS");
}

on_every_database! {
    no_key_is_created_with_more_than_its_creator_holds,
    no_key_is_changed_into_more_than_the_caller_holds,
    no_token_is_given_out_that_holds_more_than_the_caller,
    a_mightier_key_can_only_be_revoked,
    a_bound_caller_cannot_free_itself,
    a_renewal_never_outlives_the_caller,
    a_token_that_a_renewal_has_replaced_grants_nothing,
    no_caller_takes_the_name_of_another,
}
