use std::time::Duration;

use key_authority_domain::access::ProjectAccess;
use key_authority_domain::account::{Account, KeyPolicy};
use key_authority_domain::foreign::Scheme;
use key_authority_domain::id::{AccountId, Actor, Revision};
use key_authority_domain::key::{Key, KeyChange, KeyState, Labels, MintedSecret};
use key_authority_domain::time::{LIFETIME_MAX, Timestamp};
use key_authority_domain::token::TokenDigest;
use key_authority_proto::v1::{create_key_request, renew_key_request};

use super::change::KeyUpdate;
use super::*;

fn fields<T: std::fmt::Debug>(result: Result<T, Violations>) -> String {
    result.unwrap_err().into_iter().map(|violation| violation.field).collect::<Vec<_>>().join(" ")
}

fn create() -> v1::CreateKeyRequest {
    v1::CreateKeyRequest { account: "acme".into(), ..Default::default() }
}

fn update(key: v1::Key, paths: Option<&[&str]>) -> v1::UpdateKeyRequest {
    let update_mask =
        paths.map(|paths| prost_types::FieldMask { paths: paths.iter().map(|&path| path.into()).collect() });
    v1::UpdateKeyRequest { key: Some(v1::Key { id: "key_1".into(), ..key }), update_mask, ..Default::default() }
}

fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

#[test]
fn a_minimal_key_leaves_everything_to_the_policy() {
    let spec = new_key(&create()).unwrap();
    assert_eq!((spec.id, spec.projects, spec.expiry, spec.request), (None, None, ExpiryChoice::Unspecified, None));
    assert!(spec.scopes.is_empty() && spec.networks.is_empty() && spec.labels.is_empty() && !spec.disabled);
}

#[test]
fn all_violations_of_a_new_key_are_reported_at_once() {
    let request = v1::CreateKeyRequest {
        account: String::new(),
        key_id: "a".repeat(65),
        display_name: "é".repeat(201),
        description: "é".repeat(2001),
        scopes: vec!["ok".into(), String::new()],
        projects: Some(v1::ProjectAccess { all: true, only: vec!["p".into()] }),
        labels: Labels::from([("a b".into(), String::new())]),
        allowed_networks: vec!["10.0.0.1/8".into()],
        expiry: Some(create_key_request::Expiry::Lifetime(seconds(0))),
        disabled: true,
        request_id: "a b".into(),
        digest: Some(create_key_request::Digest::Sha256(vec![7; 31])),
        token_hint: "a b".into(),
    };
    let invalid = "account key_id display_name description scopes[1] projects labels allowed_networks[0] lifetime \
                   sha256 token_hint request_id";
    assert_eq!(fields(new_key(&request)), invalid);
}

#[test]
fn texts_may_be_as_long_as_their_limits() {
    let request = v1::CreateKeyRequest {
        account: "a".repeat(64),
        key_id: "b".repeat(64),
        display_name: "é".repeat(200),
        description: "é\n".repeat(1000),
        request_id: "c".repeat(128),
        ..create()
    };
    let spec = new_key(&request).unwrap();
    assert_eq!(spec.request.as_ref().map(|key| key.id.as_str().len()), Some(128));
    let new = spec.into_new_key(KeyId::new("key_1").unwrap(), Actor::bootstrap());
    assert_eq!((new.id.as_str(), new.display_name.chars().count()), ("key_1", 200));
}

#[test]
fn a_key_of_system_has_permissions_and_accounts() {
    let request = |account: &str, scope: &str, project: &str| v1::CreateKeyRequest {
        account: account.into(),
        scopes: vec!["verify".into(), scope.into()],
        projects: Some(v1::ProjectAccess { all: false, only: vec![project.into()] }),
        ..create()
    };
    assert!(new_key(&request("system", "keys.read", "acme")).is_ok());
    assert!(new_key(&request("acme", "orders.read", "any text")).is_ok());
    assert_eq!(fields(new_key(&request("system", "orders.read", "any text"))), "scopes[1] projects.only[0]");
}

#[test]
fn an_expiry_is_one_of_three_and_never_false_means_unset() {
    use create_key_request::Expiry;
    let choose = |expiry| new_key(&v1::CreateKeyRequest { expiry: Some(expiry), ..create() }).map(|spec| spec.expiry);
    assert_eq!(choose(Expiry::NeverExpires(false)), Ok(ExpiryChoice::Unspecified));
    assert_eq!(choose(Expiry::NeverExpires(true)), Ok(ExpiryChoice::Never));
    assert_eq!(choose(Expiry::Lifetime(seconds(1))), Ok(ExpiryChoice::Lifetime(Duration::from_secs(1))));
    let end = prost_types::Timestamp { seconds: 1, nanos: 1_999 };
    assert_eq!(choose(Expiry::ExpireTime(end)), Ok(ExpiryChoice::At(Timestamp::from_micros(1_000_001))));
    let over = prost_types::Timestamp { seconds: 253_402_300_800, nanos: 0 };
    assert_eq!(fields(choose(Expiry::ExpireTime(over))), "expire_time");
    assert_eq!(fields(choose(Expiry::Lifetime(seconds(i64::MIN)))), "lifetime");
}

#[test]
fn a_renewal_has_an_overlap_from_nothing_to_a_century() {
    let renew = |overlap| {
        renew_key(&v1::RenewKeyRequest { key_id: "key_1".into(), overlap, ..Default::default() })
            .map(|spec| spec.overlap)
    };
    assert_eq!(renew(None), Ok(Duration::ZERO));
    assert_eq!(renew(Some(seconds(0))), Ok(Duration::ZERO));
    let century = i64::try_from(LIFETIME_MAX.as_secs()).unwrap();
    assert_eq!(renew(Some(seconds(century))), Ok(LIFETIME_MAX));
    assert_eq!(fields(renew(Some(seconds(century + 1)))), "overlap");
    assert_eq!(fields(renew(Some(prost_types::Duration { seconds: 0, nanos: -1 }))), "overlap");
    let expiry = Some(renew_key_request::Expiry::Lifetime(seconds(0)));
    let wrong = v1::RenewKeyRequest { expiry, request_id: "\n".into(), ..Default::default() };
    assert_eq!(fields(renew_key(&wrong)), "key_id lifetime request_id");
}

#[test]
fn a_reason_has_500_characters_and_may_have_lines() {
    let revoke = |reason: &str| {
        revoke_key(&v1::RevokeKeyRequest { key_id: "key_1".into(), reason: reason.into(), ..Default::default() })
    };
    assert_eq!(revoke(&"é".repeat(500)).unwrap().reason.chars().count(), 500);
    assert!(revoke("leaked:\n\tin a log").is_ok());
    assert_eq!(fields(revoke(&"é".repeat(501))), "reason");
    assert_eq!(fields(revoke("a\r")), "reason");
}

#[test]
fn a_call_names_a_key() {
    let request = v1::DisableKeyRequest { key_id: "key_1".into(), request_id: "r".into() };
    assert_eq!(disable_key(&request).unwrap().key_id.as_str(), "key_1");
    assert_eq!(
        fields(enable_key(&v1::EnableKeyRequest { key_id: "é".into(), request_id: " ".into() })),
        "key_id request_id"
    );
    assert_eq!(fields(delete_key(&v1::DeleteKeyRequest::default())), "key_id");
    assert_eq!(fields(get_key(&v1::GetKeyRequest::default())), "key_id");
}

#[test]
fn a_list_is_filtered_by_states_once_each() {
    let list = |states: Vec<i32>, project: &str| {
        list_keys(&v1::ListKeysRequest { states, project: project.into(), ..Default::default() })
    };
    let filter = list(vec![4, 1, 4], &"é".repeat(256)).unwrap();
    assert_eq!((filter.states, filter.page_size), (vec![KeyState::Active, KeyState::Expired], 50));
    assert_eq!(list(vec![], "").unwrap().project, None);
    assert!(list(vec![1; 100], "").is_ok());
    assert_eq!(fields(list(vec![1; 101], &"é".repeat(257))), "states project");
    assert_eq!(fields(list(vec![1, 0, 5, -1], "")), "states[1] states[2] states[3]");
    let wrong = v1::ListKeysRequest { account: "é".into(), page_size: -1, ..Default::default() };
    assert_eq!(fields(list_keys(&wrong)), "account page_size");
}

#[test]
fn without_a_mask_the_set_fields_are_changed() {
    let key =
        v1::Key { display_name: "new".into(), projects: Some(v1::ProjectAccess::default()), ..Default::default() };
    let KeyUpdate { key_id, change, etag, .. } = key_change(&update(key, None)).unwrap();
    assert_eq!((key_id.as_str(), change.display_name.as_deref(), etag), ("key_1", Some("new"), None));
    assert_eq!(change.projects, Some(Some(ProjectAccess::Only([].into()))));
    assert!(change.description.is_none() && change.scopes.is_none() && change.labels.is_none());
    assert!(change.networks.is_none() && change.expire_time.is_none());
}

#[test]
fn a_named_field_without_a_value_is_cleared() {
    for paths in [&["*"][..], &change::PATHS] {
        let change = key_change(&update(v1::Key::default(), Some(paths))).unwrap().change;
        assert_eq!((change.display_name.as_deref(), change.description.as_deref()), (Some(""), Some("")));
        assert_eq!((change.projects, change.expire_time), (Some(None), Some(None)));
        assert!(change.scopes.unwrap().is_empty() && change.networks.unwrap().is_empty());
        assert!(change.labels.unwrap().is_empty());
    }
}

#[test]
fn an_unnamed_field_is_ignored() {
    let key =
        v1::Key { display_name: "\0".into(), account: "é".into(), description: "d".into(), ..Default::default() };
    let change = key_change(&update(key.clone(), Some(&["description"]))).unwrap().change;
    assert_eq!((change.display_name, change.description.as_deref()), (None, Some("d")));
    assert_eq!(fields(key_change(&update(key, None))), "key.display_name");
}

#[test]
fn a_mask_names_only_what_can_be_changed() {
    for path in ["account", "id", "state", "etag", "secrets", "projects.only", "key.display_name", "canary"] {
        let violations = key_change(&update(v1::Key::default(), Some(&["scopes", path]))).unwrap_err().to_string();
        let rule = "update_mask must name only display_name, description, scopes, projects, labels, allowed_networks, \
                    expire_time; or be * alone";
        assert_eq!(violations, rule, "{path}");
    }
}

#[test]
fn all_violations_of_a_change_are_reported_at_once() {
    let key = v1::Key {
        scopes: vec![String::new()],
        projects: Some(v1::ProjectAccess { all: false, only: vec!["p".into(), "q".into(), String::new()] }),
        expire_time: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }),
        ..Default::default()
    };
    let request = v1::UpdateKeyRequest { request_id: " ".into(), ..update(key, None) };
    assert_eq!(fields(key_change(&request)), "key.scopes[0] key.projects.only[2] key.expire_time request_id");
    assert_eq!(fields(key_change(&v1::UpdateKeyRequest::default())), "key");
    let nameless = v1::UpdateKeyRequest { key: Some(v1::Key::default()), ..Default::default() };
    assert_eq!(fields(key_change(&nameless)), "key.id");
}

#[test]
fn an_etag_is_read() {
    let request = v1::UpdateKeyRequest { etag: "7".into(), ..update(v1::Key::default(), None) };
    assert_eq!(key_change(&request).unwrap().etag, Some(Revision(7)));
}

#[test]
fn a_change_of_a_callers_key_is_checked_once_the_account_is_known() {
    let change = |scope: &str, project: &str| {
        let projects = Some(v1::ProjectAccess { all: false, only: vec![project.into()] });
        key_change(&update(v1::Key { scopes: vec![scope.into()], projects, ..Default::default() }, None))
            .unwrap()
            .change
    };
    assert_eq!(check_caller_change(&change("verify", "acme")), Ok(()));
    assert_eq!(check_caller_change(&KeyChange::default()), Ok(()));
    let wrong = change("orders.read", "no account");
    assert_eq!(fields(check_caller_change(&wrong)), "key.scopes key.projects.only");
}

#[test]
fn a_key_is_converted_without_its_secrets() {
    let now = Timestamp::from_micros(1_000_000);
    let account = Account {
        id: AccountId::new("acme").unwrap(),
        display_name: String::new(),
        suspended: false,
        policy: KeyPolicy::default(),
        create_time: now,
        update_time: now,
        create_revision: Revision(1),
        revision: Revision(1),
    };
    let request = v1::CreateKeyRequest {
        scopes: vec!["b".into(), "a".into(), "b".into()],
        projects: Some(v1::ProjectAccess { all: false, only: vec!["q".into(), "p".into()] }),
        allowed_networks: vec!["192.0.2.7".into()],
        labels: Labels::from([("team".into(), "x".into())]),
        expiry: Some(create_key_request::Expiry::Lifetime(seconds(3600))),
        ..create()
    };
    let minted = |byte| MintedSecret {
        digest: TokenDigest([byte; 32]),
        scheme: Scheme::Own,
        secret_version: 1,
        hint: format!("key_{byte}"),
        sealed: Some(vec![byte]),
    };
    let new = new_key(&request).unwrap().into_new_key(KeyId::new("key_1").unwrap(), Actor::bootstrap());
    let mut key = Key::create(&account, new, minted(1), now, Revision(2)).unwrap();
    key.renew(&account, minted(2), Duration::from_mins(1), ExpiryChoice::Unspecified, now).unwrap();
    key.usage.use_count = u64::MAX;

    let shown = key_to_proto(&key, now);
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    assert_eq!((shown.state(), shown.token_hint.as_str(), shown.etag.as_str()), (v1::KeyState::Active, "key_2", "2"));
    assert_eq!((shown.scopes, shown.allowed_networks), (vec!["a".to_owned(), "b".into()], vec!["192.0.2.7/32".into()]));
    assert_eq!(shown.projects, Some(v1::ProjectAccess { all: false, only: vec!["p".into(), "q".into()] }));
    assert_eq!((shown.create_time, shown.expire_time, shown.last_used_time), (at(1), at(3601), None));
    assert_eq!((shown.use_count, shown.created_by.as_str(), shown.revoke_time), (u64::MAX, "bootstrap", None));
    let secrets: Vec<_> = shown.secrets.iter().map(|secret| (secret.version, secret.retire_time)).collect();
    assert_eq!(secrets, [(2, None), (1, at(61))]);

    assert_eq!(key_to_proto(&key, now.after(Duration::from_hours(1))).state(), v1::KeyState::Expired);
    key.disable().unwrap();
    assert_eq!(key_to_proto(&key, now).state(), v1::KeyState::Disabled);
    key.revoke("leaked".into(), now);
    let shown = key_to_proto(&key, now);
    assert_eq!(
        (shown.state(), shown.revoke_reason.as_str(), shown.revoke_time),
        (v1::KeyState::Revoked, "leaked", at(1))
    );
}

#[test]
fn a_key_that_was_read_can_be_sent_back() {
    let key = v1::Key {
        scopes: vec!["a".into()],
        projects: Some(v1::ProjectAccess { all: true, only: vec![] }),
        expire_time: Some(prost_types::Timestamp { seconds: 1, nanos: 1_000 }),
        ..Default::default()
    };
    let change = key_change(&update(key, Some(&["*"]))).unwrap().change;
    assert_eq!(change.projects, Some(Some(ProjectAccess::All)));
    assert_eq!(change.expire_time, Some(Some(Timestamp::from_micros(1_000_001))));
}
