//! Lifecycle of a key.

use super::*;
use crate::access::{Network, Project, ProjectAccess, Scope};
use crate::account::{KeyPolicy, LifetimeRule};
use crate::foreign::Scheme;
use crate::text::DISPLAY_NAME;
use crate::token::TokenDigest;

pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);
const HOUR: Duration = Duration::from_hours(1);

pub(crate) fn account(policy: KeyPolicy) -> Account {
    Account {
        id: AccountId::new("acme").unwrap(),
        display_name: String::new(),
        suspended: false,
        policy,
        create_time: NOW,
        update_time: NOW,
        create_revision: Revision(1),
        revision: Revision(1),
    }
}

pub(crate) fn minted(byte: u8) -> MintedSecret {
    let (digest, scheme) = (TokenDigest([byte; 32]), Scheme::Own);
    MintedSecret { digest, scheme, secret_version: 1, hint: "key_aaaa".into(), sealed: None }
}

pub(crate) fn new_key(expiry: ExpiryChoice) -> NewKey {
    NewKey {
        id: KeyId::new("key_1").unwrap(),
        display_name: "ci".into(),
        description: String::new(),
        scopes: [].into(),
        projects: None,
        networks: [].into(),
        labels: Labels::new(),
        expiry,
        disabled: false,
        created_by: Actor::bootstrap(),
        created_by_subject: None,
    }
}

fn key(expiry: ExpiryChoice) -> Key {
    Key::create(&account(KeyPolicy::default()), new_key(expiry), minted(1), NOW, Revision(2)).unwrap()
}

#[test]
fn a_key_expires_at_the_exact_instant() {
    let key = key(ExpiryChoice::Lifetime(HOUR));
    let end = NOW.after(HOUR);
    assert_eq!(key.state(end.before(Duration::from_micros(1))), KeyState::Active);
    assert_eq!(key.state(end), KeyState::Expired);
}

#[test]
fn an_expiry_in_the_past_is_rejected() {
    let error =
        Key::create(&account(KeyPolicy::default()), new_key(ExpiryChoice::At(NOW)), minted(1), NOW, Revision(2));
    assert_eq!(error.unwrap_err().to_string(), "expire_time must be 1 second to 100 years ahead");
}

#[test]
fn revocation_is_permanent_and_keeps_the_first_reason() {
    let mut key = key(ExpiryChoice::Never);
    key.disable().unwrap();
    key.revoke("leaked".into(), NOW);
    key.revoke("again".into(), NOW.after(HOUR));
    assert_eq!(key.revocation, Some(Revocation { time: NOW, reason: "leaked".into() }));
    assert_eq!(key.enable(), Err(PolicyError::KeyRevoked));
    assert_eq!(key.state(NOW), KeyState::Revoked);
}

#[test]
fn renewal_without_overlap_retires_the_old_secret_immediately() {
    let account = account(KeyPolicy::default());
    let mut key = key(ExpiryChoice::Never);
    key.renew(&account, minted(2), HOUR, ExpiryChoice::Unspecified, NOW).unwrap();
    assert_eq!(key.secrets[0].retire_time, Some(NOW.after(HOUR)));
    key.renew(&account, minted(3), Duration::ZERO, ExpiryChoice::Unspecified, NOW).unwrap();
    assert_eq!(key.secrets.iter().map(|s| s.retire_time).collect::<Vec<_>>(), [Some(NOW), Some(NOW), None]);
    assert_eq!(key.secrets.iter().map(|s| s.version).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(key.secrets.iter().map(|s| s.retired).collect::<Vec<_>>(), [true, true, false]);
}

#[test]
fn a_retired_secret_stays_retired_when_the_clock_steps_back() {
    let account = account(KeyPolicy::default());
    let mut key = key(ExpiryChoice::Never);
    key.renew(&account, minted(2), Duration::ZERO, ExpiryChoice::Unspecified, NOW).unwrap();
    assert_eq!(key.secrets[0].effective_retire_time(), Some(Timestamp::MIN));
    key.renew(&account, minted(3), HOUR, ExpiryChoice::Unspecified, NOW.before(HOUR)).unwrap();
    assert_eq!(key.secrets[0].effective_retire_time(), Some(Timestamp::MIN));
    assert_eq!(key.secrets[1].effective_retire_time(), Some(NOW));
}

#[test]
fn an_expired_key_is_renewed_only_with_a_new_expiry() {
    let account = account(KeyPolicy::default());
    let mut key = key(ExpiryChoice::Lifetime(HOUR));
    let later = NOW.after(HOUR * 2);
    let rejected = key.renew(&account, minted(2), Duration::ZERO, ExpiryChoice::Unspecified, later);
    assert_eq!(rejected, Err(PolicyError::KeyExpired.into()));
    key.renew(&account, minted(2), Duration::ZERO, ExpiryChoice::Lifetime(HOUR), later).unwrap();
    assert_eq!(key.state(later), KeyState::Active);
}

#[test]
fn retired_secrets_beyond_the_limit_are_removed() {
    let account = account(KeyPolicy::default());
    let mut key = key(ExpiryChoice::Never);
    for n in 2..=20 {
        key.renew(&account, minted(n), Duration::ZERO, ExpiryChoice::Unspecified, NOW).unwrap();
    }
    assert_eq!(key.secrets.len(), SECRETS_MAX);
    assert_eq!(key.newest_secret().unwrap().version, 20);
}

#[test]
fn secrets_within_their_overlap_are_kept_and_a_renewal_beyond_the_limit_is_rejected() {
    let account = account(KeyPolicy::default());
    let mut key = key(ExpiryChoice::Never);
    let mut renew = |n, now| key.renew(&account, minted(n), HOUR, ExpiryChoice::Unspecified, now);
    for n in 2..=10 {
        renew(n, NOW).unwrap();
    }
    assert_eq!(renew(11, NOW), Err(PolicyError::SecretLimitReached.into()));
    renew(11, NOW.after(HOUR)).unwrap();
}

#[test]
fn a_recently_used_key_is_deleted_only_with_allow_recently_used() {
    let account = account(KeyPolicy { recently_used_window: Some(HOUR), ..KeyPolicy::default() });
    let mut key = key(ExpiryChoice::Never);
    assert!(key.check_delete(&account, false, NOW).is_ok());
    key.usage.last_used_time = Some(NOW);
    assert!(key.check_delete(&account, false, NOW.after(HOUR).before(Duration::from_micros(1))).is_err());
    assert!(key.check_delete(&account, true, NOW).is_ok());
    assert!(key.check_delete(&account, false, NOW.after(HOUR)).is_ok());
}

#[test]
fn the_policy_is_checked_only_for_values_that_change() {
    let lifetimes = LifetimeRule::new([HOUR].into(), None, None).unwrap();
    let account = account(KeyPolicy { lifetimes, ..KeyPolicy::default() });
    let mut key = key(ExpiryChoice::Lifetime(HOUR));
    let change = |end| KeyChange { expire_time: Some(end), ..KeyChange::default() };
    assert!(key.update(&account, change(None), NOW).is_err());
    assert!(key.update(&account, change(Some(NOW.after(HOUR * 2))), NOW).is_err());
    assert!(key.update(&account, change(Some(NOW.after(HOUR))), NOW).is_ok());
    key.expire_time = None;
    assert!(key.update(&account, change(None), NOW).is_ok());
}

/// Texts of this many bytes in all, in projects of 64 bytes.
fn projects_of(bytes: usize) -> ProjectAccess {
    let project = |n: usize| Project::new(&format!("{n:0>width$}", width = 64_usize.min(bytes - 64 * n))).unwrap();
    ProjectAccess::Only((0..bytes.div_ceil(64)).map(project).collect())
}

#[test]
fn the_texts_of_a_key_have_an_exact_limit() {
    let account = account(KeyPolicy::default());
    let update = |key: &mut Key, bytes| {
        let change = KeyChange { projects: Some(Some(projects_of(bytes))), ..KeyChange::default() };
        key.update(&account, change, NOW)
    };
    let new = key(ExpiryChoice::Never);
    // The display name is "ci".
    let mut full = new.clone();
    update(&mut full, KEY_BYTES_MAX - 2).unwrap();
    assert_eq!(full.texts().bytes(), KEY_BYTES_MAX);
    let error = update(&mut new.clone(), KEY_BYTES_MAX - 1).unwrap_err().to_string();
    assert!(error.starts_with("projects.only must be smaller") && error.contains("40960 bytes"), "{error}");
    let labels = (0..64).map(|n| (format!("label-{n:02}"), "é".repeat(128))).collect::<Labels>();
    let networks = [Network::new("10.0.0.0/8").unwrap()].into();
    let scopes = [Scope::new("read").unwrap()].into();
    let change = KeyChange { labels: Some(labels), networks: Some(networks), scopes: Some(scopes), ..full_change() };
    let mut other = new;
    other.update(&account, change, NOW).unwrap();
    assert_eq!(other.texts().bytes(), 2 + 3 + 64 * (8 + 256) + "10.0.0.0/8".len() + 4);
}

fn full_change() -> KeyChange {
    KeyChange { description: Some("abc".into()), ..KeyChange::default() }
}

#[test]
fn a_key_over_the_limit_can_shrink_and_end_but_not_grow() {
    let account = account(KeyPolicy::default());
    let oversize = Key {
        access: Access { projects: projects_of(2 * KEY_BYTES_MAX), ..key(ExpiryChoice::Never).access },
        ..key(ExpiryChoice::Never)
    };
    let size = oversize.texts().bytes();
    let update = |change| oversize.clone().update(&account, change, NOW);
    let projects = |bytes| KeyChange { projects: Some(Some(projects_of(bytes))), ..KeyChange::default() };
    update(projects(2 * KEY_BYTES_MAX - 64)).unwrap();
    update(KeyChange { expire_time: Some(Some(NOW.after(HOUR))), ..KeyChange::default() }).unwrap();
    update(KeyChange { display_name: Some("CI".into()), ..KeyChange::default() }).unwrap();
    let grown = update(KeyChange { description: Some("x".into()), ..KeyChange::default() });
    assert!(matches!(&grown, Err(ChangeError::Invalid { field, .. }) if field == "projects.only"), "{grown:?}");
    let mut ended = oversize;
    ended.renew(&account, minted(2), Duration::ZERO, ExpiryChoice::Unspecified, NOW).unwrap();
    ended.disable().unwrap();
    ended.revoke(String::new(), NOW);
    assert!(ended.check_delete(&account, false, NOW).is_ok() && ended.texts().bytes() == size);
}

#[test]
fn labels_and_names_have_limits() {
    let label = |name: &str, value: &str| check_labels(&Labels::from([(name.into(), value.into())]));
    assert!(label("team/a", "x y").is_ok());
    assert!(label("", "x").is_err() && label("a b", "x").is_err() && label("a", "\n").is_err());
    assert!(DISPLAY_NAME.check("laptop/claude-desktop").is_ok());
}
