//! What a client knows: which changes it asked for, and which were acknowledged.

use std::collections::BTreeMap;
use std::sync::Mutex;

use key_authority_proto::v1::*;

use crate::support::Client;

/// A change to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    Renew,
    Revoke,
}

impl Step {
    fn action(self) -> Action {
        match self {
            Self::Create => Action::CreateKey,
            Self::Renew => Action::RenewKey,
            Self::Revoke => Action::RevokeKey,
        }
    }
}

/// What was asked for a key, in order. At most the last of it may be unacknowledged.
#[derive(Debug, Clone, Default)]
struct Entry {
    asked: Vec<Step>,
    acknowledged: usize,
    /// The newest token that was acknowledged.
    token: String,
    /// Whether its token was asked about after a kill. Nobody changes it any more.
    is_settled: bool,
}

/// The journal of all callers.
#[derive(Debug, Default)]
pub(super) struct Journal(Mutex<BTreeMap<String, Entry>>);

impl Journal {
    /// Writes down what is about to be asked.
    pub(super) fn ask(&self, key_id: &str, step: Step) {
        self.0.lock().unwrap().entry(key_id.to_owned()).or_default().asked.push(step);
    }

    /// Writes down that it was acknowledged, with the token if that brought one.
    pub(super) fn acknowledge(&self, key_id: &str, token: String) {
        let mut entries = self.0.lock().unwrap();
        let entry = entries.get_mut(key_id).unwrap();
        entry.acknowledged += 1;
        if !token.is_empty() {
            entry.token = token;
        }
    }

    /// How many changes were acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        self.0.lock().unwrap().values().map(|entry| entry.acknowledged).sum()
    }

    /// Compares with what the authority holds, the log and the keys and the verdicts; forgets what was not done.
    pub(super) async fn check(&self, client: &Client) {
        let log = client.events(ListAuditEventsRequest::default()).await;
        let revisions: Vec<_> = log.iter().map(|event| event.revision).collect();
        assert_eq!(revisions, (1..=log.len() as u64).collect::<Vec<_>>(), "the log has no gap");
        let mut done: BTreeMap<&str, Vec<Action>> = BTreeMap::new();
        for event in log.iter().filter(|event| event.account == "acme" && !event.key_id.is_empty()) {
            done.entry(&event.key_id).or_default().push(event.action());
        }
        let mut entries = self.0.lock().unwrap().clone();
        assert!(done.keys().all(|key_id| entries.contains_key(*key_id)), "nothing was done that nobody asked for");
        let keys = all_keys(client).await;
        assert_eq!(
            keys.keys().map(String::as_str).collect::<Vec<_>>(),
            done.keys().copied().collect::<Vec<_>>(),
            "a key for each event of its creation, and an event for each key"
        );
        for (key_id, entry) in &mut entries {
            let done = done.get(key_id.as_str()).cloned().unwrap_or_default();
            let asked: Vec<_> = entry.asked.iter().map(|step| step.action()).collect();
            assert!(done.len() >= entry.acknowledged, "{key_id}: acknowledged {entry:?}, done {done:?}");
            assert!(asked.starts_with(&done), "{key_id}: asked {asked:?}, done {done:?}");
            check_key(client, key_id, entry, &done, keys.get(key_id)).await;
            // What turned out to be done is known from now on; what was not will never be.
            entry.asked.truncate(done.len());
            entry.acknowledged = done.len();
            entry.is_settled = true;
        }
        *self.0.lock().unwrap() = entries;
    }
}

async fn check_key(client: &Client, key_id: &str, entry: &Entry, done: &[Action], key: Option<&Key>) {
    let Some(key) = key else { return };
    let renewals = done.iter().filter(|action| **action == Action::RenewKey).count();
    assert_eq!(key.secrets.len(), 1 + renewals, "{key_id}: a secret for each event that made one");
    let is_revoked = done.contains(&Action::RevokeKey);
    assert_eq!(key.state() == KeyState::Revoked, is_revoked, "{key_id}: {done:?}");
    // The last acknowledged token is the newest, unless an unacknowledged change went through after it.
    let newest_is_ours = entry.token.starts_with(&key.token_hint) && done.len() == entry.acknowledged;
    if !entry.token.is_empty() && !entry.is_settled {
        let verdict = client.verdict(&entry.token).await;
        let expected: &[Verdict] = if is_revoked {
            &[Verdict::Revoked]
        } else if newest_is_ours {
            &[Verdict::Valid]
        } else {
            &[Verdict::Valid, Verdict::Expired]
        };
        assert!(expected.contains(&verdict), "{key_id}: {verdict:?}, {entry:?}, {done:?}");
    }
}

async fn all_keys(client: &Client) -> BTreeMap<String, Key> {
    let mut request = ListKeysRequest { account: "acme".into(), page_size: 1000, ..Default::default() };
    let mut keys = BTreeMap::new();
    loop {
        let page = client.list_keys(request.clone()).await.unwrap();
        keys.extend(page.keys.into_iter().map(|key| (key.id.clone(), key)));
        if page.next_page_token.is_empty() {
            return keys;
        }
        request.page_token = page.next_page_token;
    }
}
