use std::time::Duration;

use key_authority_domain::account::{CountedKeys, HolderRights, LifetimeRule, ProjectRule};
use proptest::prelude::*;

use super::change::{AccountUpdate, PATHS};
use super::shown::policy_to_proto;
use super::*;

const DAY: i64 = 86_400;

fn fields<T: std::fmt::Debug>(result: Result<T, Violations>) -> String {
    result.unwrap_err().into_iter().map(|violation| violation.field).collect::<Vec<_>>().join(" ")
}

fn days(days: i64) -> prost_types::Duration {
    prost_types::Duration { seconds: days * DAY, nanos: 0 }
}

fn create(policy: v1::KeyPolicy) -> Result<AccountSpec, Violations> {
    let account = Some(v1::Account { id: "acme".into(), policy: Some(policy), ..Default::default() });
    new_account(&v1::CreateAccountRequest { account, ..Default::default() })
}

fn account(policy: v1::KeyPolicy) -> Account {
    create(policy).unwrap().into_account(Timestamp::from_micros(0), Revision(7))
}

fn change(policy: Option<v1::KeyPolicy>, paths: Option<&[&str]>) -> Result<AccountUpdate, Violations> {
    let account = Some(v1::Account { id: "acme".into(), policy, ..Default::default() });
    let update_mask =
        paths.map(|paths| prost_types::FieldMask { paths: paths.iter().map(|&path| path.into()).collect() });
    account_change(&v1::UpdateAccountRequest { account, update_mask, ..Default::default() })
}

fn changed(stored: &Account, policy: Option<v1::KeyPolicy>, paths: &[&str]) -> Result<KeyPolicy, Violations> {
    let mut account = stored.clone();
    change(policy, Some(paths))?.change.apply(&mut account)?;
    Ok(account.policy)
}

/// A policy in which every field differs from its default.
fn full() -> v1::KeyPolicy {
    v1::KeyPolicy {
        token_prefix: "mko_tkn_".into(),
        display_name_pattern: "^[a-z]".into(),
        max_keys: 10,
        counted_states: v1::CountedStates::Active as i32,
        lifetimes: vec![days(7), days(30)],
        default_lifetime: Some(days(30)),
        may_never_expire: Some(true),
        project_rule: v1::ProjectRule::Chosen as i32,
        recoverable: true,
        recently_used_window: Some(days(1)),
        max_overlap: Some(days(0)),
        caller_digests: true,
        holder_may_revoke: true,
        holder_may_renew: true,
    }
}

#[test]
fn an_account_without_a_policy_allows_everything() {
    let request = v1::CreateAccountRequest {
        account: Some(v1::Account { id: "acme".into(), ..Default::default() }),
        ..Default::default()
    };
    let spec = new_account(&request).unwrap();
    assert_eq!((spec.id.as_str(), spec.policy, spec.request), ("acme", KeyPolicy::default(), None));
    assert_eq!(fields(new_account(&v1::CreateAccountRequest::default())), "account");
}

#[test]
fn all_violations_of_an_account_are_reported_at_once() {
    let policy = v1::KeyPolicy {
        token_prefix: "A".into(),
        display_name_pattern: "(".into(),
        max_keys: u32::MAX,
        counted_states: 3,
        lifetimes: vec![days(1), days(0), days(-1)],
        default_lifetime: Some(days(0)),
        may_never_expire: None,
        project_rule: -1,
        recoverable: true,
        recently_used_window: Some(prost_types::Duration { seconds: i64::MIN, nanos: 0 }),
        max_overlap: Some(prost_types::Duration { seconds: 0, nanos: -1 }),
        ..Default::default()
    };
    let account =
        v1::Account { id: "é".into(), display_name: "é".repeat(201), policy: Some(policy), ..Default::default() };
    let invalid = fields(new_account(&v1::CreateAccountRequest { account: Some(account), request_id: " ".into() }));
    let expected = "account.id account.display_name account.policy.token_prefix account.policy.display_name_pattern \
                    account.policy.counted_states account.policy.lifetimes[1] account.policy.lifetimes[2] \
                    account.policy.default_lifetime account.policy.project_rule account.policy.recently_used_window \
                    account.policy.max_overlap request_id";
    assert_eq!(invalid, expected);
}

#[test]
fn limits_of_a_policy_are_exact() {
    let of = |count: i64| v1::KeyPolicy { lifetimes: (1..=count).map(days).collect(), ..Default::default() };
    assert_eq!(create(of(32)).unwrap().policy.lifetimes.allowed.len(), 32);
    assert_eq!(fields(create(of(33))), "account.policy.lifetimes");
    let mut repeated = of(32);
    repeated.lifetimes.extend([days(1), days(2)]);
    assert!(create(repeated).is_ok());

    let prefix = |len: usize| v1::KeyPolicy { token_prefix: format!("{}_", "a".repeat(len - 1)), ..Default::default() };
    assert!(create(prefix(32)).is_ok());
    assert_eq!(fields(create(prefix(33))), "account.policy.token_prefix");
    let pattern = |len| v1::KeyPolicy { display_name_pattern: "a".repeat(len), ..Default::default() };
    assert!(create(pattern(256)).is_ok());
    assert_eq!(fields(create(pattern(257))), "account.policy.display_name_pattern");
}

#[test]
fn a_default_lifetime_is_one_of_the_lifetimes() {
    let policy =
        |default| v1::KeyPolicy { lifetimes: vec![days(7)], default_lifetime: Some(default), ..Default::default() };
    assert!(create(policy(days(7))).is_ok());
    assert_eq!(fields(create(policy(days(8)))), "account.policy.default_lifetime");
}

#[test]
fn zero_means_no_limit_and_no_guard_but_an_overlap_of_zero() {
    let zero = Some(prost_types::Duration { seconds: 0, nanos: 999 });
    let policy =
        create(v1::KeyPolicy { recently_used_window: zero, max_overlap: zero, ..Default::default() }).unwrap().policy;
    assert_eq!((policy.max_keys, policy.recently_used_window, policy.max_overlap), (None, None, Some(Duration::ZERO)));
}

#[test]
fn enums_have_defaults_and_no_other_numbers() {
    let policy = |counted_states, project_rule| {
        create(v1::KeyPolicy { counted_states, project_rule, ..Default::default() }).map(|spec| spec.policy)
    };
    for (number, counted) in [(0, CountedKeys::All), (1, CountedKeys::Active), (2, CountedKeys::All)] {
        assert_eq!(policy(number, 0).unwrap().counted, counted);
    }
    for (number, rule) in [(0, ProjectRule::Free), (1, ProjectRule::All), (2, ProjectRule::Chosen)] {
        assert_eq!(policy(0, number).unwrap().project_rule, rule);
    }
    assert_eq!(fields(policy(3, i32::MIN)), "account.policy.counted_states account.policy.project_rule");
}

#[test]
fn without_a_mask_the_set_fields_are_changed() {
    let mut stored = account(full());
    change(None, None).unwrap().change.apply(&mut stored).unwrap();
    assert_eq!(stored, account(full()));
    change(Some(v1::KeyPolicy::default()), None).unwrap().change.apply(&mut stored).unwrap();
    assert_eq!(stored.policy, KeyPolicy::default());

    let named = v1::Account { id: "acme".into(), display_name: "Acme".into(), ..Default::default() };
    let request = v1::UpdateAccountRequest { account: Some(named), etag: "7".into(), ..Default::default() };
    let update = account_change(&request).unwrap();
    assert_eq!((update.id.as_str(), update.etag), ("acme", Some(stored.revision)));
    update.change.apply(&mut stored).unwrap();
    assert_eq!(stored.display_name, "Acme");
}

#[test]
fn a_named_field_without_a_value_is_cleared() {
    let mut stored = account(full());
    stored.display_name = "Acme".into();
    change(None, Some(&["*"])).unwrap().change.apply(&mut stored).unwrap();
    assert_eq!((stored.display_name.as_str(), &stored.policy), ("", &KeyPolicy::default()));
    let stored = account(full());
    assert_eq!(changed(&stored, None, &["policy"]).unwrap(), KeyPolicy::default());
    assert_eq!(changed(&stored, None, &["policy.max_keys"]).unwrap(), KeyPolicy { max_keys: None, ..stored.policy });
}

/// Each path of the mask sets its own field of the policy and no other.
#[test]
fn a_single_field_of_a_policy_leaves_the_others() {
    let (old, new) = (account(v1::KeyPolicy::default()).policy, account(full()).policy);
    let stored = account(v1::KeyPolicy::default());
    let of = |path| changed(&stored, Some(full()), &[path]).unwrap();
    let lifetimes = |edit: fn(&mut LifetimeRule, LifetimeRule)| {
        let mut rule = old.lifetimes.clone();
        edit(&mut rule, new.lifetimes.clone());
        KeyPolicy { lifetimes: rule, ..old.clone() }
    };
    let (a, b) = (|| old.clone(), || new.clone());
    assert_eq!(of("policy.token_prefix"), KeyPolicy { token_prefix: b().token_prefix, ..a() });
    assert_eq!(of("policy.display_name_pattern"), KeyPolicy { display_name_pattern: b().display_name_pattern, ..a() });
    assert_eq!(of("policy.max_keys"), KeyPolicy { max_keys: b().max_keys, ..a() });
    assert_eq!(of("policy.counted_states"), KeyPolicy { counted: b().counted, ..a() });
    assert_eq!(of("policy.lifetimes"), lifetimes(|rule, new| rule.allowed = new.allowed));
    assert_eq!(of("policy.default_lifetime"), lifetimes(|rule, new| rule.default = new.default));
    assert_eq!(of("policy.may_never_expire"), lifetimes(|rule, new| rule.may_never_expire = new.may_never_expire));
    assert_eq!(of("policy.project_rule"), KeyPolicy { project_rule: b().project_rule, ..a() });
    assert_eq!(of("policy.recoverable"), KeyPolicy { recoverable: true, ..a() });
    assert_eq!(of("policy.recently_used_window"), KeyPolicy { recently_used_window: b().recently_used_window, ..a() });
    assert_eq!(of("policy.max_overlap"), KeyPolicy { max_overlap: b().max_overlap, ..a() });
    assert_eq!(of("policy.caller_digests"), KeyPolicy { caller_digests: true, ..a() });
    let holder = |may_revoke, may_renew| KeyPolicy { holder: HolderRights { may_revoke, may_renew }, ..a() };
    assert_eq!(of("policy.holder_may_revoke"), holder(true, false));
    assert_eq!(of("policy.holder_may_renew"), holder(false, true));
    let all: Vec<_> = PATHS.into_iter().filter(|path| path.starts_with("policy.")).collect();
    assert_eq!(all.len(), 14);
    assert_eq!(changed(&stored, Some(full()), &all).unwrap(), new);
}

#[test]
fn lifetimes_must_go_with_those_that_stay() {
    let stored = account(v1::KeyPolicy { lifetimes: vec![days(7), days(30)], ..Default::default() });
    let default = |days| Some(v1::KeyPolicy { default_lifetime: Some(days), ..Default::default() });
    assert!(changed(&stored, default(days(30)), &["policy.default_lifetime"]).is_ok());
    assert_eq!(
        fields(changed(&stored, default(days(8)), &["policy.default_lifetime"])),
        "account.policy.default_lifetime"
    );

    let mut untouched = account(full());
    let before = untouched.clone();
    let fewer = Some(v1::KeyPolicy { lifetimes: vec![days(7)], ..Default::default() });
    let mut edit = change(fewer, Some(&["policy.lifetimes"])).unwrap().change;
    edit.display_name = Some("new".into());
    assert_eq!(fields(edit.apply(&mut untouched)), "account.policy.default_lifetime");
    assert_eq!(untouched, before);
}

#[test]
fn an_unnamed_field_is_ignored() {
    let stored = account(v1::KeyPolicy::default());
    let policy = Some(v1::KeyPolicy { token_prefix: "A".into(), max_keys: 3, ..Default::default() });
    assert_eq!(changed(&stored, policy.clone(), &["policy.max_keys"]).unwrap().max_keys, Some(3));
    assert_eq!(fields(change(policy, Some(&["policy"]))), "account.policy.token_prefix");
}

#[test]
fn a_mask_names_only_what_can_be_changed() {
    for path in ["id", "state", "etag", "policy.", "policy.*", "max_keys", "account.policy"] {
        assert_eq!(fields(change(None, Some(&["display_name", path]))), "update_mask", "{path}");
    }
    assert_eq!(fields(account_change(&v1::UpdateAccountRequest::default())), "account");
}

#[test]
fn a_call_names_an_account() {
    let request = v1::SuspendAccountRequest { account: "acme".into(), request_id: "r".into() };
    assert_eq!(suspend_account(&request).unwrap().account.as_str(), "acme");
    let wrong = v1::ResumeAccountRequest { account: "a".repeat(65), request_id: " ".into() };
    assert_eq!(fields(resume_account(&wrong)), "account request_id");
    assert_eq!(fields(delete_account(&v1::DeleteAccountRequest::default())), "account");
    assert_eq!(get_account(&v1::GetAccountRequest { account: "acme".into() }).unwrap().as_str(), "acme");
    assert_eq!(fields(get_account(&v1::GetAccountRequest::default())), "account");
}

#[test]
fn an_account_is_converted_with_its_whole_policy() {
    let mut account = account(v1::KeyPolicy::default());
    let shown = account_to_proto(&account);
    assert_eq!((shown.state(), shown.etag.as_str()), (v1::AccountState::Active, "7"));
    let policy = shown.policy.unwrap();
    assert_eq!((policy.may_never_expire, policy.counted_states()), (None, v1::CountedStates::All));
    assert_eq!((policy.project_rule(), policy.max_keys), (v1::ProjectRule::Unspecified, 0));
    assert_eq!((policy.recently_used_window, policy.max_overlap), (None, None));
    account.suspended = true;
    assert_eq!(account_to_proto(&account).state(), v1::AccountState::Suspended);
    assert_eq!(policy_to_proto(&create(full()).unwrap().policy), full());
}

proptest! {
    /// A policy that was returned can be sent back, and is then the same policy.
    #[test]
    fn a_policy_reads_back(
        prefix in "([a-z][a-z0-9]{0,4}_)?", pattern in "[a-z^$]{0,4}", max_keys in 0..20_u32, counted_states in 0..3,
        lifetimes in prop::collection::vec(1..20_i64, 0..4), has_default: bool, may_never_expire: Option<bool>,
        project_rule in 0..3, recoverable: bool, window in prop::option::of(0..9_i64),
        overlap in prop::option::of(0..9_i64), caller_digests: bool, holder_may_revoke: bool, holder_may_renew: bool,
    ) {
        let given = v1::KeyPolicy {
            token_prefix: prefix, display_name_pattern: pattern, max_keys, counted_states,
            default_lifetime: has_default.then(|| days(lifetimes.first().copied().unwrap_or(5))),
            lifetimes: lifetimes.into_iter().map(days).collect(),
            may_never_expire, project_rule, recoverable,
            recently_used_window: window.map(days), max_overlap: overlap.map(days), caller_digests, holder_may_revoke,
            holder_may_renew,
        };
        let read = create(given).unwrap().policy;
        prop_assert_eq!(create(policy_to_proto(&read)).unwrap().policy, read);
    }
}
