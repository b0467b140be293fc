//! The writer of the index, which only the replicator uses. It knows the digests of each key, so that a changed key is
//! replaced as a whole.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use key_authority_domain::account::Account;
use key_authority_domain::id::{AccountId, KeyId, Revision};
use key_authority_domain::key::Key;
use key_authority_domain::secret::{Keyring, SecretVersion};
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::TokenDigest;
use key_authority_storage::feed::ChangedRows;
use key_authority_storage::usage::UsageDelta;

use super::by_key::ByKey;
use super::guard::{ByDigest, Index};
use super::interner::Interner;
use super::record::{AccountRef, KeyRecord, ResidentAccount, SharedKeyRecord};
use super::tombstones::Tombstones;

/// The one writer of an index.
#[derive(Debug, Default)]
pub struct Writer {
    index: Arc<Index>,
    /// The keyring of the authority secret; `None` if it has every version.
    keyring: Option<Arc<Keyring>>,
    by_key: ByKey,
    interner: Interner,
    accounts: HashMap<AccountId, Arc<ResidentAccount>>,
    tombstones: Tombstones,
    /// The versions that an unfinished reload has removed, as they were in the abandoned log.
    taken_out: HashMap<TokenDigest, SharedKeyRecord>,
}

/// Where a row was read.
#[derive(Debug, Clone, Copy)]
enum RowSource {
    /// From the log, whose part up to this revision is applied.
    Log(Revision),
    /// From the state of the database, in a full reload that began at this time.
    Reload(Timestamp),
}

/// A full reload in progress: what it has read so far. At its end, everything else is removed.
#[derive(Debug)]
pub struct Reload {
    /// `None` for an empty index, from which nothing can be removed.
    seen: Option<Seen>,
    /// When the reload began, by the authority's clock.
    now: Timestamp,
}

#[derive(Debug, Default)]
struct Seen {
    keys: HashSet<KeyId>,
    accounts: HashSet<AccountId>,
}

impl Writer {
    /// Makes the writer of an empty index, for a replica with this keyring.
    #[must_use]
    pub fn new(keyring: Arc<Keyring>) -> Self {
        Self { keyring: Some(keyring), ..Self::default() }
    }

    /// Returns the index that it writes.
    #[must_use]
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// Whether there is an account with this ID.
    #[must_use]
    pub fn has_account(&self, id: &AccountId) -> bool {
        self.accounts.contains_key(id)
    }

    /// Applies the rows that a part of the log up to `to` names. The rows in `rows` are current; named rows that are
    /// missing were deleted.
    pub fn apply(&mut self, accounts: &BTreeSet<AccountId>, keys: &BTreeSet<KeyId>, rows: &ChangedRows, to: Revision) {
        let present: HashSet<&KeyId> = rows.keys.iter().map(|key| &key.id).collect();
        for id in keys.iter().filter(|id| !present.contains(id)) {
            // Removals come first, since the token may have been imported again under another ID.
            self.remove_key(id, RowSource::Log(to));
        }
        for account in &rows.accounts {
            self.put_account(account);
        }
        for key in &rows.keys {
            self.put_key(key, RowSource::Log(to));
        }
        let present: HashSet<&AccountId> = rows.accounts.iter().map(|account| &account.id).collect();
        for id in accounts.iter().filter(|id| !present.contains(id)) {
            self.accounts.remove(id);
        }
        self.finish_step();
    }

    /// Returns when this replica last saw each version of a key used, for a flush. Versions without a use are left out.
    #[must_use]
    pub fn last_uses(&self, id: &KeyId) -> Vec<UsageDelta> {
        self.by_key.versions(id).filter_map(|version| version.last_use()).collect()
    }

    /// Begins a full reload at `now` of the authority's clock.
    #[must_use]
    pub fn begin_reload(&self, now: Timestamp) -> Reload {
        let is_empty = self.by_key.keys() == 0 && self.accounts.is_empty();
        Reload { seen: (!is_empty).then(Seen::default), now }
    }

    /// Applies a batch of a full reload.
    pub fn reload(&mut self, reload: &mut Reload, rows: &ChangedRows) {
        if let Some(seen) = &mut reload.seen {
            seen.accounts.extend(rows.accounts.iter().map(|account| account.id.clone()));
            seen.keys.extend(rows.keys.iter().map(|key| key.id.clone()));
        }
        for account in &rows.accounts {
            self.put_account(account);
        }
        for key in &rows.keys {
            self.put_key(key, RowSource::Reload(reload.now));
        }
        self.finish_step();
    }

    /// Ends a full reload of the state at `to`. What it did not show is removed.
    ///
    /// Only now are the removed tokens recorded. Before, a key that was not read yet could have taken one over, under a
    /// revision that is not comparable with those of the abandoned log.
    pub fn finish_reload(&mut self, reload: &Reload, to: Revision) {
        if let Some(seen) = &reload.seen {
            let removed: Vec<KeyId> = self.by_key.ids().filter(|id| !seen.keys.contains(*id)).cloned().collect();
            for id in &removed {
                self.remove_key(id, RowSource::Reload(reload.now));
            }
            self.accounts.retain(|id, _| seen.accounts.contains(id));
        }
        let records = self.index.records.pin();
        for (digest, version) in self.taken_out.drain().filter(|(digest, _)| !records.contains_key(digest)) {
            // A key that ended in the abandoned log stays ended, regardless of its revision in the log that replaced
            // it.
            let at = if version.has_ended(reload.now) { to.max(version.create_revision) } else { to };
            self.tombstones.record_removed(digest, at);
        }
        drop(records);
        self.finish_step();
    }

    /// Releases all quarantined tokens: an operator has accepted the database as it is.
    pub fn release_quarantined(&mut self) {
        let index = Arc::clone(&self.index);
        let records = index.records.pin();
        for secret in self.tombstones.release().filter_map(|digest| records.get(&digest)) {
            secret.release();
        }
        self.finish_step();
    }

    fn put_account(&mut self, account: &Account) {
        let resident = self.resident_account(&account.id);
        resident.suspended.store(account.suspended, Ordering::Release);
    }

    /// Returns the account with this ID. It counts as suspended until its row is read.
    fn resident_account(&mut self, id: &AccountId) -> Arc<ResidentAccount> {
        let resident = self
            .accounts
            .entry(id.clone())
            .or_insert_with(|| Arc::new(ResidentAccount { id: id.clone(), suspended: AtomicBool::new(true) }));
        Arc::clone(resident)
    }

    fn put_key(&mut self, key: &Key, source: RowSource) {
        let account = AccountRef(self.resident_account(&key.account));
        let attributes = self.interner.intern(account, &key.access, &key.labels);
        let index = Arc::clone(&self.index);
        let records = index.records.pin();
        let mut versions = Vec::with_capacity(key.secrets.len());
        for secret in &key.secrets {
            self.note_secret_version(secret.secret_version);
            let known = records.get(&secret.digest).map(|known| &**known);
            let has_come_back = match source {
                RowSource::Log(_) => false,
                RowSource::Reload(now) => {
                    let before = known.or_else(|| self.taken_out.get(&secret.digest).map(|version| &**version));
                    self.tombstones.has_come_back(before, key, secret, now)
                }
            };
            let is_quarantined = self.tombstones.decide_quarantine(secret.digest, key, has_come_back);
            versions.push(SharedKeyRecord::new(KeyRecord::new(
                key,
                secret,
                Arc::clone(&attributes),
                is_quarantined,
                known,
            )));
        }
        for version in &versions {
            // The scheme is counted before a lookup can find the version.
            index.foreign.add(version.scheme);
            if let Some(before) = records.insert(ByDigest(version.clone()), version.clone()) {
                index.foreign.remove(before.scheme);
                // Uses were recorded on the old record until now. Its count is flushed from there.
                if let Some(time) = before.last_used_time_of(key) {
                    version.last_used.note(time);
                }
            }
        }
        for before in self.by_key.replace(&key.id, versions) {
            self.take_out(&before, source);
        }
    }

    /// Records that a token has this version of the authority secret. A missing version stays missing until the
    /// restart: the replica needs another secret file.
    fn note_secret_version(&self, version: SecretVersion) {
        let is_missing = self.keyring.as_ref().is_some_and(|keyring| !keyring.has(version));
        if is_missing && self.index.missing_secret.fetch_max(version, Ordering::Relaxed) < version {
            tracing::error!(
                version,
                "the secret file lacks a version of the authority secret that tokens have; not ready until it is added"
            );
        }
    }

    fn remove_key(&mut self, id: &KeyId, source: RowSource) {
        for version in self.by_key.replace(id, Vec::new()) {
            self.take_out(&version, source);
        }
    }

    /// Removes a version that its key no longer has, unless another key has taken over its digest.
    fn take_out(&mut self, version: &SharedKeyRecord, source: RowSource) {
        let records = self.index.records.pin();
        if records.get(&version.digest).is_some_and(|resident| SharedKeyRecord::ptr_eq(resident, version)) {
            records.remove(&version.digest);
            self.index.foreign.remove(version.scheme);
            match source {
                RowSource::Log(to) => self.tombstones.record_removed(version.digest, to),
                RowSource::Reload(_) => {
                    // If reloads fail and are repeated, the first record is the one of the abandoned log.
                    self.taken_out.entry(version.digest).or_insert_with(|| version.clone());
                }
            }
        }
    }

    /// Sweeps the interner and updates the counters, at the end of each step.
    fn finish_step(&mut self) {
        self.interner.sweep();
        self.index.keys.store(self.by_key.keys(), Ordering::Relaxed);
        self.index.accounts.store(self.accounts.len(), Ordering::Relaxed);
        self.index.quarantined.store(self.tombstones.quarantined(), Ordering::Relaxed);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use key_authority_domain::account::{ExpiryChoice, KeyPolicy};
    use key_authority_domain::foreign::Scheme;
    use key_authority_domain::id::Actor;
    use key_authority_domain::key::{Labels, MintedSecret, NewKey};
    use key_authority_domain::verdict::{Question, Verdict, decide};
    use std::time::Duration;

    use crate::usage::Usage;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000);

    fn account(suspended: bool) -> Account {
        Account {
            id: AccountId::new("acme").unwrap(),
            display_name: String::new(),
            suspended,
            policy: KeyPolicy::default(),
            create_time: NOW,
            update_time: NOW,
            create_revision: Revision(1),
            revision: Revision(1),
        }
    }

    fn minted(byte: u8) -> MintedSecret {
        let (digest, scheme) = (TokenDigest([byte; 32]), Scheme::Own);
        MintedSecret { digest, scheme, secret_version: 1, hint: String::new(), sealed: None }
    }

    pub(crate) fn key(byte: u8) -> Key {
        let new = NewKey {
            id: KeyId::new(&format!("key_{byte}")).unwrap(),
            display_name: String::new(),
            description: String::new(),
            scopes: [].into(),
            projects: None,
            networks: [].into(),
            labels: Labels::new(),
            expiry: ExpiryChoice::Never,
            disabled: false,
            created_by: Actor::bootstrap(),
            created_by_subject: None,
        };
        Key::create(&account(false), new, minted(byte), NOW, Revision(2)).unwrap()
    }

    /// A resident key.
    pub(crate) fn resident() -> SharedKeyRecord {
        let mut writer = Writer::default();
        apply(&mut writer, vec![account(false)], vec![key(1)], &[]);
        writer.index().get(&TokenDigest([1; 32])).unwrap()
    }

    fn verdict(index: &Index, byte: u8) -> Verdict {
        let secret = index.get(&TokenDigest([byte; 32]));
        decide(secret.as_ref().map(|s| s.facts()).as_ref(), &Question::default(), NOW)
    }

    fn apply(writer: &mut Writer, accounts: Vec<Account>, keys: Vec<Key>, named: &[&str]) {
        let account_ids = accounts.iter().map(|a| a.id.clone()).collect();
        let mut key_ids: BTreeSet<KeyId> = keys.iter().map(|k| k.id.clone()).collect();
        key_ids.extend(named.iter().map(|id| KeyId::new(id).unwrap()));
        writer.apply(&account_ids, &key_ids, &ChangedRows { accounts, keys }, Revision(9));
    }

    #[test]
    fn a_change_replaces_a_key_whole_and_a_missing_row_removes_it() {
        let mut writer = Writer::default();
        apply(&mut writer, vec![account(false)], vec![key(1)], &[]);
        assert_eq!(verdict(writer.index(), 1), Verdict::Valid);

        let mut renewed = key(1);
        renewed.renew(&account(false), minted(2), Duration::ZERO, ExpiryChoice::Unspecified, NOW).unwrap();
        apply(&mut writer, vec![], vec![renewed.clone()], &[]);
        assert_eq!((verdict(writer.index(), 1), verdict(writer.index(), 2)), (Verdict::Expired, Verdict::Valid));

        renewed.secrets.remove(0);
        apply(&mut writer, vec![], vec![renewed], &[]);
        assert_eq!((verdict(writer.index(), 1), verdict(writer.index(), 2)), (Verdict::Unknown, Verdict::Valid));

        apply(&mut writer, vec![], vec![], &["key_1"]);
        assert_eq!(verdict(writer.index(), 2), Verdict::Unknown);
        assert_eq!(writer.index().keys(), 0);
    }

    #[test]
    fn a_token_of_a_missing_secret_version_is_noticed() {
        let keyring = Arc::new(Keyring::parse(&format!("1:{0}\nnext 3:{0}", "07".repeat(32))).unwrap());
        let mut writer = Writer::new(keyring);
        let with_version = |version| {
            let mut key = key(1);
            key.secrets.iter_mut().for_each(|secret| secret.secret_version = version);
            key
        };
        for version in [1, 3] {
            apply(&mut writer, vec![account(false)], vec![with_version(version)], &[]);
            assert_eq!(writer.index().missing_secret(), None);
        }
        for (version, missing) in [(2, 2), (4, 4), (2, 4), (1, 4)] {
            apply(&mut writer, vec![], vec![with_version(version)], &[]);
            assert_eq!(writer.index().missing_secret().map(|secret| secret.version), Some(missing));
        }
    }

    #[test]
    fn a_changed_key_was_used_when_the_one_before_it_was() {
        let (mut writer, usage) = (Writer::default(), Usage::default());
        let used = |writer: &Writer| writer.index().get(&TokenDigest([1; 32])).unwrap().last_used_time();
        apply(&mut writer, vec![account(false)], vec![key(1)], &[]);
        assert_eq!(used(&writer), None);
        usage.note(&writer.index().get(&TokenDigest([1; 32])).unwrap(), NOW);
        apply(&mut writer, vec![], vec![key(1)], &[]);
        assert_eq!(used(&writer), Some(NOW));
        let another = Key { create_revision: Revision(10), ..key(1) };
        apply(&mut writer, vec![], vec![another], &[]);
        assert_eq!(used(&writer), None, "another key with the same ID");
    }

    #[test]
    fn foreign_tokens_are_counted_by_their_scheme_for_as_long_as_they_are_resident() {
        let mut writer = Writer::default();
        let of_scheme = |byte, scheme| {
            let mut key = key(byte);
            key.secrets[0].scheme = scheme;
            key
        };
        let foreign = |writer: &Writer| Scheme::FOREIGN.map(|scheme| writer.index().has_any(scheme));
        apply(&mut writer, vec![account(false)], vec![key(1)], &[]);
        assert_eq!(foreign(&writer), [false; 3]);
        let (whole, sha256) = (of_scheme(2, Scheme::Whole), of_scheme(3, Scheme::Sha256));
        for _ in 0..2 {
            // Reading a key again does not count it twice.
            apply(&mut writer, vec![], vec![whole.clone(), sha256.clone()], &[]);
        }
        assert_eq!(foreign(&writer), [true, false, true]);
        let mut renewed = whole;
        renewed.renew(&account(false), minted(4), Duration::ZERO, ExpiryChoice::Unspecified, NOW).unwrap();
        renewed.secrets.remove(0);
        apply(&mut writer, vec![], vec![renewed], &["key_3"]);
        assert_eq!(foreign(&writer), [false; 3]);
    }

    #[test]
    fn suspending_an_account_reaches_all_its_keys() {
        let mut writer = Writer::default();
        apply(&mut writer, vec![account(false)], vec![key(1), key(2)], &[]);
        apply(&mut writer, vec![account(true)], vec![], &[]);
        assert_eq!(
            (verdict(writer.index(), 1), verdict(writer.index(), 2)),
            (Verdict::AccountSuspended, Verdict::AccountSuspended)
        );
    }

    #[test]
    fn a_recreated_account_has_its_own_state() {
        let mut writer = Writer::default();
        apply(&mut writer, vec![account(true)], vec![key(1)], &[]);
        let removed = BTreeSet::from([account(true).id]);
        writer.apply(&removed, &BTreeSet::from([key(1).id]), &ChangedRows::default(), Revision(9));
        apply(&mut writer, vec![account(false)], vec![key(1)], &[]);
        assert_eq!(verdict(writer.index(), 1), Verdict::Valid);
        apply(&mut writer, vec![account(true)], vec![], &[]);
        assert_eq!(verdict(writer.index(), 1), Verdict::AccountSuspended);
    }

    /// A later key with the token of another.
    fn with_token_of(other: &Key, byte: u8) -> Key {
        Key { create_revision: Revision(7), secrets: other.secrets.clone(), ..key(byte) }
    }

    #[test]
    fn a_token_that_is_imported_again_belongs_to_its_new_key() {
        // The old key has lost the token, or was deleted, in either order of the rows.
        let mut renewed = key(1);
        renewed.renew(&account(false), minted(4), Duration::ZERO, ExpiryChoice::Unspecified, NOW).unwrap();
        renewed.secrets.remove(0);
        let next = with_token_of(&key(1), 2);
        for rows in [vec![next.clone()], vec![next.clone(), renewed.clone()], vec![renewed, next]] {
            let mut writer = Writer::default();
            apply(&mut writer, vec![account(false)], vec![key(1)], &[]);
            apply(&mut writer, vec![], rows.clone(), &["key_1"]);
            let id = |writer: &Writer| writer.index().get(&TokenDigest([1; 32])).map(|secret| secret.id().clone());
            assert_eq!((id(&writer), verdict(writer.index(), 1)), (Some(key(2).id), Verdict::Valid));
            reload(&mut writer, rows);
            assert_eq!((id(&writer), verdict(writer.index(), 1)), (Some(key(2).id), Verdict::Valid));
        }
    }

    #[test]
    fn a_reload_that_missed_how_a_token_ended_accepts_its_new_key() {
        let mut revoked = key(1);
        revoked.revoke(String::new(), NOW);
        for before in [key(1), revoked] {
            let mut writer = Writer::default();
            apply(&mut writer, vec![account(false)], vec![before], &[]);
            reload(&mut writer, vec![with_token_of(&key(1), 2)]);
            assert_eq!((verdict(writer.index(), 1), writer.index().quarantined()), (Verdict::Valid, 0));
            assert_eq!(writer.index().keys(), 1);
        }
    }

    /// `key` without the tokens that it had, and with another one.
    fn without_first_token(mut key: Key) -> Key {
        key.renew(&account(false), minted(4), Duration::ZERO, ExpiryChoice::Unspecified, NOW).unwrap();
        key.secrets.remove(0);
        key
    }

    #[test]
    fn a_token_that_changed_its_key_in_another_log_is_valid_in_either_order_of_the_rows() {
        let (lost, next) = (without_first_token(key(1)), with_token_of(&key(1), 2));
        for rows in [[lost.clone(), next.clone()], [next, lost]] {
            let mut writer = Writer::default();
            // Up to revision 9 of the abandoned log.
            apply(&mut writer, vec![account(false)], vec![key(1)], &[]);
            let reload = &mut writer.begin_reload(NOW);
            for row in rows {
                writer.reload(reload, &ChangedRows { accounts: vec![account(false)], keys: vec![row] });
            }
            writer.finish_reload(reload, Revision(7));
            assert_eq!((verdict(writer.index(), 1), writer.index().quarantined()), (Verdict::Valid, 0));
            assert_eq!(verdict(writer.index(), 4), Verdict::Valid);
        }
    }

    #[test]
    fn a_token_that_was_revoked_in_the_abandoned_log_stays_denied_by_a_second_restore() {
        // The key was created after the revision to which the first restore went back.
        let created = Key { create_revision: Revision(8), ..key(1) };
        let mut revoked = created.clone();
        revoked.revoke(String::new(), NOW);
        for rows in [vec![], vec![without_first_token(key(1))]] {
            let mut writer = Writer::default();
            apply(&mut writer, vec![account(false)], vec![revoked.clone()], &[]);
            reload(&mut writer, rows);
            assert_eq!(verdict(writer.index(), 1), Verdict::Unknown);
            reload(&mut writer, vec![created.clone()]);
            assert_eq!((verdict(writer.index(), 1), writer.index().quarantined()), (Verdict::Revoked, 1));
        }
    }

    #[test]
    fn a_reload_that_fails_forgets_no_revocation() {
        let mut revoked = key(1);
        revoked.revoke(String::new(), NOW);
        let mut writer = Writer::default();
        apply(&mut writer, vec![account(false)], vec![revoked], &[]);
        let mut failed = writer.begin_reload(NOW);
        let rows = ChangedRows { accounts: vec![account(false)], keys: vec![without_first_token(key(1))] };
        writer.reload(&mut failed, &rows);
        assert_eq!(verdict(writer.index(), 1), Verdict::Unknown);
        reload(&mut writer, vec![key(1)]);
        assert_eq!((verdict(writer.index(), 1), writer.index().quarantined()), (Verdict::Revoked, 1));
    }

    #[test]
    fn a_key_whose_account_is_not_read_yet_is_denied() {
        let mut writer = Writer::default();
        apply(&mut writer, vec![], vec![key(1)], &[]);
        assert_eq!(verdict(writer.index(), 1), Verdict::AccountSuspended);
    }

    #[test]
    fn a_reload_removes_what_it_did_not_show() {
        let mut writer = Writer::default();
        apply(&mut writer, vec![account(false)], vec![key(1), key(2)], &[]);
        let mut seen = writer.begin_reload(NOW);
        writer.reload(&mut seen, &ChangedRows { accounts: vec![account(false)], keys: vec![] });
        writer.reload(&mut seen, &ChangedRows { accounts: vec![], keys: vec![key(2), key(3)] });
        assert_eq!(verdict(writer.index(), 1), Verdict::Valid);
        writer.finish_reload(&seen, Revision(5));
        let verdicts = [1, 2, 3].map(|byte| verdict(writer.index(), byte));
        assert_eq!(verdicts, [Verdict::Unknown, Verdict::Valid, Verdict::Valid]);
    }

    /// A full reload of a database that went back.
    fn reload(writer: &mut Writer, keys: Vec<Key>) {
        let mut seen = writer.begin_reload(NOW);
        writer.reload(&mut seen, &ChangedRows { accounts: vec![account(false)], keys });
        writer.finish_reload(&seen, Revision(5));
    }

    #[test]
    fn an_ended_token_stays_denied_when_the_database_goes_back() {
        use Verdict::{Revoked, Unknown, Valid};

        let mut writer = Writer::default();
        let (revoked, deleted, renewed) = (key(1), key(2), key(3));
        apply(&mut writer, vec![account(false)], vec![revoked.clone(), deleted.clone(), renewed.clone()], &[]);
        let mut then = revoked.clone();
        then.revoke(String::new(), NOW);
        let mut again = renewed.clone();
        again.renew(&account(false), minted(4), Duration::ZERO, ExpiryChoice::Unspecified, NOW).unwrap();
        apply(&mut writer, vec![], vec![then.clone(), again], &["key_2"]);

        reload(&mut writer, vec![revoked.clone(), deleted.clone(), renewed.clone(), key(5)]);
        let verdicts = |writer: &Writer| [1, 2, 3, 4, 5].map(|byte| verdict(writer.index(), byte));
        assert_eq!(verdicts(&writer), [Revoked, Revoked, Revoked, Unknown, Valid]);
        assert_eq!(writer.index().quarantined(), 3);

        // The token stays quarantined through other changes, and is no longer counted once it is revoked again.
        apply(&mut writer, vec![], vec![then, deleted], &[]);
        assert_eq!(verdicts(&writer), [Revoked, Revoked, Revoked, Unknown, Valid]);
        assert_eq!(writer.index().quarantined(), 2);

        writer.release_quarantined();
        assert_eq!(verdicts(&writer), [Revoked, Valid, Valid, Unknown, Valid]);
        assert_eq!(writer.index().quarantined(), 0);
    }

    #[test]
    fn a_token_that_is_created_again_is_not_quarantined() {
        let mut writer = Writer::default();
        apply(&mut writer, vec![account(false)], vec![key(1)], &[]);
        apply(&mut writer, vec![], vec![], &["key_1"]);
        let later = Key { create_revision: Revision(10), ..key(1) };
        reload(&mut writer, vec![later]);
        assert_eq!((verdict(writer.index(), 1), writer.index().quarantined()), (Verdict::Valid, 0));
    }
}
