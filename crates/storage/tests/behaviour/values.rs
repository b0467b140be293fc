//! Values round-trip: the longest, special characters, the earliest and the latest.

use std::collections::BTreeSet;
use std::time::Duration;

use key_authority_domain::access::{Access, Network, Project, ProjectAccess, Scope};
use key_authority_domain::account::{
    Account, CountedKeys, HolderRights, KeyPolicy, LifetimeRule, NamePattern, ProjectRule,
};
use key_authority_domain::audit::{Action, AuditEvent};
use key_authority_domain::id::{Revision, Subject};
use key_authority_domain::key::{Key, Revocation, Secret};
use key_authority_domain::text::{DESCRIPTION, DISPLAY_NAME, REASON};
use key_authority_domain::time::{LIFETIME_MAX, Timestamp};
use key_authority_domain::token::TokenPrefix;
use key_authority_storage::Store;
use key_authority_storage::usage::UsageDelta;

use crate::changes::every_event;
use crate::support::make::{account, account_id, actor, at, digest, event, key, key_id, put_account, put_key, secret};
use crate::support::{Database, on_every_database};

on_every_database! {
    the_longest_key_round_trips,
    special_texts_round_trip,
    extreme_times_round_trip,
    policies_round_trip,
    events_of_any_length_round_trip,
    ids_are_case_sensitive_and_byte_exact,
    an_empty_reason_is_still_a_revocation,
}

/// Texts that a database, an escaping or an encoding may misinterpret.
const STRANGE: [&str; 22] = [
    "",
    " ",
    "  both ends  ",
    "NULL",
    "null",
    "0",
    "'",
    "''",
    "\"",
    "`",
    "\\",
    "\\\\",
    "\\'",
    "%",
    "_",
    "!",
    "a%_!\\\"'b",
    "'; DROP TABLE api_key; --",
    "?",
    "$1",
    "日本語 ß Ä é e\u{301} 🦀 \u{10ffff} \u{feff} \u{202e}",
    "{}[]:,",
];

async fn write(store: &Store, key: &Key) {
    let tx = store.begin().await.unwrap();
    tx.insert_key(key).await.unwrap();
    tx.commit(event(Action::CreateKey, key.account.as_str(), Some(key.id.as_str()))).await.unwrap();
}

async fn the_longest_key_round_trips(database: Database) {
    let store = database.store().await;
    let (long_id, long_account) = ("K".repeat(64), "A".repeat(64));
    put_account(&store, Account { display_name: "🦀".repeat(200), ..account(&long_account) }).await;
    let projects: BTreeSet<_> =
        (0..1000).map(|n| Project::new(&format!("{n:04}{}", "🦀".repeat(252))).unwrap()).collect();
    let scopes = (0..100).map(|n| Scope::new(&format!("{n:03}{}", "ß".repeat(125))).unwrap()).collect();
    let networks = (0..100).map(|n| Network::new(&format!("2001:db8:{n:x}::/48")).unwrap()).collect();
    let secrets = (1..=10).map(|version| Secret {
        secret_version: i32::MAX.unsigned_abs(),
        hint: "h".repeat(64),
        sealed: Some(vec![0; 1024]),
        ..secret(&long_id, version)
    });
    let mut longest = Key {
        display_name: "🦀".repeat(200),
        description: "🦀".repeat(2000),
        access: Access { scopes, projects: ProjectAccess::Only(projects), networks },
        labels: (0..64).map(|n| (format!("{n:02}{}", "l".repeat(61)), "🦀".repeat(256))).collect(),
        revocation: Some(Revocation { time: at(1), reason: "🦀".repeat(500) }),
        created_by: actor(&"a".repeat(64)),
        created_by_subject: Some(Subject::new(&"ü".repeat(128)).unwrap()),
        secrets: secrets.collect(),
        ..key(&long_id, &long_account)
    };
    for rule in [DISPLAY_NAME.check(&longest.display_name), DESCRIPTION.check(&longest.description)] {
        assert_eq!(rule, Ok(()), "as long as the rule allows");
    }
    assert_eq!(REASON.check(&longest.revocation.as_ref().unwrap().reason), Ok(()));
    write(&store, &longest).await;
    assert_eq!(store.key(&longest.id).await.unwrap().as_ref(), Some(&longest));

    let tx = store.begin().await.unwrap();
    longest.disabled = true;
    tx.update_key(&mut longest).await.unwrap();
    tx.commit(event(Action::DisableKey, &long_account, Some(&long_id))).await.unwrap();
    assert_eq!(store.key(&longest.id).await.unwrap(), Some(longest));
}

async fn special_texts_round_trip(database: Database) {
    let store = database.store().await;
    for (number, text) in STRANGE.into_iter().enumerate() {
        let id = format!("strange-{number}");
        let written = put_account(&store, Account { display_name: text.into(), ..account(&id) }).await;
        assert_eq!(store.account(&written.id).await.unwrap().as_ref(), Some(&written), "{text:?}");
        let projects = Project::new(text).ok().into_iter().collect();
        let scopes = Scope::new(text).ok().into_iter().collect();
        let strange = Key {
            display_name: text.into(),
            description: format!("{text}\n\t{text}"),
            access: Access { scopes, projects: ProjectAccess::Only(projects), networks: [].into() },
            labels: [("label".to_owned(), text.to_owned())].into(),
            revocation: Some(Revocation { time: at(0), reason: text.into() }),
            ..key(&id, &id)
        };
        let written = put_key(&store, strange).await;
        assert_eq!(store.key(&written.id).await.unwrap(), Some(written), "{text:?}");
    }
}

async fn extreme_times_round_trip(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let first = Timestamp::from_parts(-62_135_596_800, 0).unwrap();
    let last = Timestamp::from_parts(253_402_300_799, 999_999_000).unwrap();
    for (number, time) in [first, last, at(i64::MIN), at(i64::MAX), at(-1), at(0), at(1)].into_iter().enumerate() {
        let id = format!("key-{number}");
        let used = Secret {
            create_time: time,
            retire_time: Some(time),
            retired: true,
            last_used_time: Some(time),
            sealed: Some(vec![]),
            ..secret(&id, 1)
        };
        let mut timed = Key {
            create_time: time,
            update_time: time,
            expire_time: Some(time),
            revocation: Some(Revocation { time, reason: String::new() }),
            create_revision: Revision(i64::MAX),
            revision: Revision(i64::MAX),
            secrets: vec![used],
            ..key(&id, "acme")
        };
        write(&store, &timed).await;
        assert_eq!(store.key(&timed.id).await.unwrap().as_ref(), Some(&timed), "{time}");
        let (digest, create_revision) = (timed.secrets[0].digest, timed.create_revision);
        let key_id = timed.id.clone();
        let delta = UsageDelta { key_id, digest, create_revision, count: 1, last_used_time: time };
        store.record_usage(&mut [delta]).await.unwrap();
        (timed.usage.last_used_time, timed.usage.use_count) = (Some(time), 1);
        assert_eq!(store.key(&timed.id).await.unwrap(), Some(timed), "{time}");
    }
}

async fn policies_round_trip(database: Database) {
    let store = database.store().await;
    let full = KeyPolicy {
        token_prefix: TokenPrefix::new(&format!("{}_", "p".repeat(31))).unwrap(),
        display_name_pattern: Some(NamePattern::new(r#"^[A-Za-z"'\\%_]+\p{L}$"#).unwrap()),
        max_keys: Some(u32::MAX),
        counted: CountedKeys::Active,
        lifetimes: LifetimeRule::new(
            (1..=32).map(|n| LIFETIME_MAX.saturating_sub(Duration::from_micros(n))).collect(),
            Some(LIFETIME_MAX.saturating_sub(Duration::from_micros(1))),
            Some(false),
        )
        .unwrap(),
        project_rule: ProjectRule::Chosen,
        recoverable: true,
        recently_used_window: Some(Duration::ZERO),
        max_overlap: Some(LIFETIME_MAX),
        caller_digests: true,
        holder: HolderRights { may_revoke: true, may_renew: false },
    };
    let all = KeyPolicy { project_rule: ProjectRule::All, max_keys: Some(0), ..KeyPolicy::default() };
    for (number, policy) in [full, all, KeyPolicy::default()].into_iter().enumerate() {
        let written = Account { policy, suspended: number == 1, ..account(&format!("account-{number}")) };
        let written = put_account(&store, written).await;
        assert_eq!(store.account(&written.id).await.unwrap(), Some(written));
    }
}

async fn events_of_any_length_round_trip(database: Database) {
    let store = database.store().await;
    let mut said = vec![event(Action::DeleteAccount, &"A".repeat(64), Some(&"K".repeat(64)))];
    said[0].actor = actor(&"a".repeat(64));
    said[0].after = Some("🦀".repeat(100_000));
    said[0].subject = Some(Subject::new(&"🦀".repeat(128)).unwrap());
    for text in STRANGE {
        said.push(AuditEvent {
            before: Some(text.into()),
            after: None,
            ..event(Action::RevealToken, "acme", Some("key_1"))
        });
    }
    for event in &said {
        store.begin().await.unwrap().commit(event.clone()).await.unwrap();
    }
    let logged = store.events(&every_event(), 100, Revision(0)).await.unwrap().items;
    let events: Vec<_> = logged.into_iter().map(|logged| logged.event).collect();
    assert_eq!(events, said);
    assert_eq!(store.verify_log(None, |_| ()).await.unwrap().faults, []);
}

async fn ids_are_case_sensitive_and_byte_exact(database: Database) {
    let store = database.store().await;
    for id in ["acme", "Acme", "ACME", "acme-", "acme_"] {
        put_account(&store, account(id)).await;
        put_key(&store, key(&format!("{id}-key"), id)).await;
    }
    assert_eq!(store.account(&account_id("aCME")).await.unwrap(), None);
    assert_eq!(store.key(&key_id("aCME-key")).await.unwrap(), None);
    for id in ["acme", "Acme", "ACME", "acme-", "acme_"] {
        assert_eq!(store.account(&account_id(id)).await.unwrap().unwrap().id.as_str(), id);
        let found = store.key(&key_id(&format!("{id}-key"))).await.unwrap().unwrap();
        assert_eq!((found.account.as_str(), found.secrets.len()), (id, 1));
        assert_eq!(found.secrets[0].digest, digest(&format!("{id}-key"), 1));
    }
    let named = store.rows(&[account_id("Acme")], &[key_id("ACME-key")]).await.unwrap();
    assert_eq!((named.accounts.len(), named.keys.len()), (1, 1));

    let tx = store.begin().await.unwrap();
    tx.delete_key(&key_id("Acme-key")).await.unwrap();
    tx.delete_account(&account_id("Acme")).await.unwrap();
    tx.commit(event(Action::DeleteAccount, "Acme", None)).await.unwrap();
    assert_eq!(store.account(&account_id("Acme")).await.unwrap(), None);
    assert!(store.account(&account_id("acme")).await.unwrap().is_some());
    assert!(store.key(&key_id("ACME-key")).await.unwrap().is_some());
}

async fn an_empty_reason_is_still_a_revocation(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let mut revoked = put_key(&store, key("key_1", "acme")).await;
    revoked.revoke(String::new(), at(0));
    let tx = store.begin().await.unwrap();
    tx.update_key(&mut revoked).await.unwrap();
    tx.commit(event(Action::RevokeKey, "acme", Some("key_1"))).await.unwrap();
    let read = store.key(&revoked.id).await.unwrap().unwrap();
    assert_eq!(read.revocation, Some(Revocation { time: at(0), reason: String::new() }));
}
