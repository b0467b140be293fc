//! Filters of lists: states, projects, labels, text and times.

use key_authority_domain::access::{Project, ProjectAccess};
use key_authority_domain::account::CountedKeys;
use key_authority_domain::key::{Key, KeyState, Revocation};
use key_authority_domain::time::Timestamp;
use key_authority_storage::key_query::KeyQuery;
use key_authority_storage::page::AccountScope;

use super::{every_key, list};
use crate::support::make::{account, account_id, actor, at, key, key_id, only, put_account, put_keys};
use crate::support::{Database, on_every_database};

on_every_database! {
    states_agree_with_the_domain_to_the_microsecond,
    a_project_finds_every_key_that_covers_it_and_no_other,
    each_filter_finds_the_keys_that_match_and_no_other,
}

const STATES: [KeyState; 4] = [KeyState::Active, KeyState::Disabled, KeyState::Revoked, KeyState::Expired];

/// Keys in every state, and in several at once, that expire at `end`.
fn keys_in_all_states(end: Timestamp) -> Vec<Key> {
    let mut keys = Vec::new();
    for expire_time in [None, Some(end)] {
        for disabled in [false, true] {
            for revocation in [None, Some(Revocation { time: at(5), reason: String::new() })] {
                let id = format!("key-{}", keys.len());
                keys.push(Key { expire_time, disabled, revocation, ..key(&id, "acme") });
            }
        }
    }
    keys
}

async fn states_agree_with_the_domain_to_the_microsecond(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let end = at(1_000_000_000);
    let keys = put_keys(&store, keys_in_all_states(end)).await;
    for now in [at(end.micros() - 1), end, at(end.micros() + 1), at(i64::MIN), at(i64::MAX)] {
        for choice in 0..1 << STATES.len() {
            let states: Vec<_> =
                (0..STATES.len()).filter(|bit| choice & (1 << bit) != 0).map(|bit| STATES[bit]).collect();
            let is_chosen = |key: &Key| states.is_empty() || states.contains(&key.state(now));
            let mut expected: Vec<_> =
                keys.iter().filter(|key| is_chosen(key)).map(|key| key.id.as_str().to_owned()).collect();
            expected.reverse();
            for (accounts, scanned_max) in [(AccountScope::All, 1_000), (AccountScope::All, 2), (only(&["acme"]), 2)] {
                let query = KeyQuery { states: states.clone(), scanned_max, ..KeyQuery::of(accounts, now) };
                assert_eq!(list(&store, &query, 3).await, expected, "{query:?}");
            }
        }
    }
    let tx = store.begin().await.unwrap();
    for counted in [CountedKeys::All, CountedKeys::Active] {
        let expected = keys.iter().filter(|key| key.is_counted(counted, tx.now())).count();
        for max in 0..10 {
            let count = tx.count_towards_limit(&account_id("acme"), counted, max).await.unwrap();
            assert_eq!(count, (expected as u64).min(max.into()), "{counted:?}, at most {max}");
        }
        assert_eq!(tx.count_towards_limit(&account_id("other"), counted, 10).await.unwrap(), 0);
    }
    let newest = keys.iter().rfind(|key| key.state(tx.now()) == KeyState::Active).map(|key| key.id.clone());
    let found = tx.newest_active_key(&account_id("acme")).await.unwrap().map(|key| key.id);
    assert!(newest.is_some() && found == newest, "{found:?}, not {newest:?}");
    assert_eq!(tx.newest_active_key(&account_id("other")).await.unwrap(), None);
}

/// Projects that text matching, JSON or SQL may confuse.
const PROJECTS: [&str; 33] = [
    "acme",
    "Acme",
    "ACME",
    "acm",
    "cme",
    "acme ",
    " acme",
    "ac%",
    "ac_e",
    "a!b",
    "a!!b",
    "a!%b",
    "%",
    "_",
    "!",
    "a\"b",
    "\"",
    "\",\"",
    "a\\b",
    "a\\\\b",
    "\\",
    "\\%",
    "a'b",
    "''",
    "[",
    "]",
    ",",
    "ä",
    "Ä",
    "a\u{308}",
    "日本",
    "🦀",
    "[\"acme\"]",
];

async fn a_project_finds_every_key_that_covers_it_and_no_other(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let covering = |id: &str, projects: &[&str]| {
        let mut key = key(id, "acme");
        key.access.projects = ProjectAccess::Only(projects.iter().map(|name| Project::new(name).unwrap()).collect());
        key
    };
    let mut keys = vec![key("all", "acme"), covering("none", &[]), covering("each", &PROJECTS)];
    for (number, project) in PROJECTS.into_iter().enumerate() {
        keys.push(covering(&format!("single-{number}"), &[project]));
        keys.push(covering(&format!("pair-{number}"), &[project, "zebra"]));
    }
    let mut keys = put_keys(&store, keys).await;
    keys.sort_by(|a, b| b.id.cmp(&a.id));
    for project in PROJECTS.into_iter().chain(["zebra", "nobody's", "ACM"]) {
        let query = KeyQuery { project: Some(project.into()), ..every_key() };
        let mut expected: Vec<_> =
            keys.iter().filter(|key| key.access.projects.covers(Some(project))).map(|key| key.id.as_str()).collect();
        for size in [2, 100] {
            let mut listed = list(&store, &query, size).await;
            listed.sort();
            expected.sort_unstable();
            assert_eq!(listed, expected, "{project:?} on pages of {size}");
        }
    }
}

async fn each_filter_finds_the_keys_that_match_and_no_other(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let labelled = |id: &str, labels: &[(&str, &str)]| {
        let mut key = key(id, "acme");
        key.labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        key
    };
    let mut named = labelled("Deploy-1", &[("owner", "ann"), ("team", "a\"b")]);
    named.display_name = "CI of the 100%_shop!".into();
    named.expire_time = Some(at(50));
    let mut other = labelled("other", &[("owner", "Ann"), ("x", "\"owner\":\"ann\"")]);
    other.created_by = actor("robot");
    other.expire_time = Some(at(51));
    let mut school = key("school", "acme");
    school.display_name = "École ß".into();
    let keys = put_keys(&store, vec![named, other, school]).await;
    let created = keys[0].create_time;
    database.tamper("UPDATE api_key SET last_used_time = 7 WHERE id = 'other'").await;
    let text = |text: &str| KeyQuery { text: Some(text.into()), ..every_key() };
    let labels =
        |name: &str, value: &str| KeyQuery { labels: [(name.to_owned(), value.to_owned())].into(), ..every_key() };
    let hint = keys[1].secrets[0].hint.clone();
    let cases = [
        (text("of the 100%_SHOP!"), vec!["Deploy-1"]),
        (text("deploy"), vec!["Deploy-1"]),
        (text(&hint.to_uppercase()), vec!["school", "other", "Deploy-1"]),
        (text("100_"), vec![]),
        (text("École"), vec!["school"]),
        (labels("owner", "ann"), vec!["Deploy-1"]),
        (labels("team", "a\"b"), vec!["Deploy-1"]),
        (labels("owner", "an"), vec![]),
        (KeyQuery { created_by: Some(actor("robot")), ..every_key() }, vec!["other"]),
        (KeyQuery { expires_before: Some(at(51)), ..every_key() }, vec!["Deploy-1"]),
        (KeyQuery { created_before: Some(created), ..every_key() }, vec![]),
        (KeyQuery { unused_since: Some(created), ..every_key() }, vec![]),
        (KeyQuery { ids: vec![key_id("other"), key_id("nobody")], ..every_key() }, vec!["other"]),
    ];
    for (query, expected) in cases {
        for scanned_max in [query.scanned_max, 2, 1] {
            let query = KeyQuery { scanned_max, ..query.clone() };
            assert_eq!(list(&store, &query, 10).await, expected, "{query:?}");
        }
    }
    database.tamper("UPDATE api_key SET create_time = 1").await;
    let unused = |since| KeyQuery { unused_since: Some(at(since)), ..every_key() };
    assert_eq!(list(&store, &unused(7), 10).await, ["school", "Deploy-1"], "the other was used then");
    assert_eq!(list(&store, &unused(8), 10).await, ["school", "other", "Deploy-1"]);
}
