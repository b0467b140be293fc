//! The reads of a replica: events of the log from a revision, the rows that they name, and the initial snapshot.

use std::collections::{BTreeSet, HashSet};

use key_authority_domain::account::Account;
use key_authority_domain::audit::{Action, ChainHash};
use key_authority_domain::id::{AccountId, KeyId, Revision};
use key_authority_domain::key::Key;
use key_authority_domain::time::Timestamp;
use sea_orm::sea_query::{Expr, ExprTrait, JoinType, Order, Query, SelectStatement};
use sea_orm::{
    ColumnTrait, DatabaseTransaction, DbBackend, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
};
use tokio::task::JoinHandle;

use crate::entity::{account, api_key, audit_event, authority};
use crate::error::StorageError;
use crate::key_read::Batches;
use crate::mapping::{AUTHORITY, RowContext};
use crate::one_of::is_one_of;
use crate::row_size::{self, READ_BYTES_MAX};
use crate::session::is_read_only_sql;
use crate::settings::{Head, head_of, row};
use crate::store::{Store, now_expr};
use crate::timeout::bounded;
use crate::{account_read, key_read};

/// Maximum number of events in one read of the log.
pub const FEED_LIMIT: u64 = 1_000;
/// Maximum number of rows of a table that one read of the snapshot returns.
const SNAPSHOT_BATCH: usize = 1_000;
/// Number of keys of a [`KeySet`] that one statement returns.
const KEYS_BATCH: usize = 2_500;

/// The log from a revision, inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// The head of the log.
    pub head: Head,
    /// The database's clock, unadjusted: it may be behind the time of the newest event.
    pub now: Timestamp,
    /// At most [`FEED_LIMIT`] events, in order. The list ends at the first new event with a [`KeySet`], whose keys are as
    /// many as a replica should read between two heartbeats. It also ends when the rows of the named keys are too large to be
    /// read at once, but not before the first new event.
    pub events: Vec<FeedEvent>,
}

/// The fields of an event that a replica needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedEvent {
    /// The revision.
    pub revision: Revision,
    /// The hash in the chain.
    pub hash: ChainHash,
    /// Time of the event.
    pub time: Timestamp,
    /// The account that the event names.
    pub account: AccountId,
    /// The key that the event names.
    pub key_id: Option<KeyId>,
    /// Whether the event records that an operator accepted a restored database. For most other events, the named rows
    /// are sufficient, so a replica can follow events of a newer build whose action it does not know.
    pub accepts_restore: bool,
    /// The keys of an event that does not name them: see [`Store::keys_changed_by`].
    pub key_set: Option<KeySet>,
    /// Whether the replica must record the use of the named key before it confirms the event.
    pub records_use: bool,
}

/// The keys of an event that concerns many, none of which it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySet {
    /// The keys that the event created: an import.
    Created,
    /// The keys of the account that the event revoked.
    Revoked,
}

/// The current rows that a read returned. A requested row that is missing was deleted.
#[derive(Debug, Clone, Default)]
pub struct ChangedRows {
    /// The accounts.
    pub accounts: Vec<Account>,
    /// The keys.
    pub keys: Vec<Key>,
}

/// The keys of an event that does not name them.
#[derive(Debug, Clone, Default)]
pub struct ChangedKeys {
    /// Those that exist.
    pub keys: Vec<Key>,
    /// Keys that were deleted since, among them those of the event.
    pub deleted: Vec<KeyId>,
}

#[derive(FromQueryResult)]
struct FeedRow {
    head_revision: i64,
    head_hash: Vec<u8>,
    now: i64,
    is_read_only: i64,
    revision: Option<i64>,
    hash: Option<Vec<u8>>,
    event_time: Option<i64>,
    account: Option<String>,
    key_id: Option<String>,
    action: Option<i32>,
    /// The current size of the named key's row.
    key_bytes: Option<i64>,
}

impl Store {
    /// Reads the head of the log and its events from `from`, inclusive, in one statement.
    ///
    /// # Errors
    /// If the database did not answer, or the server is read-only: its data may be stale, and a privileged
    /// user can write despite read-only mode.
    pub async fn feed(&self, from: Revision) -> Result<Feed, StorageError> {
        bounded(async {
            let backend = self.db.get_database_backend();
            let statement = backend.build(&feed_statement(backend, from));
            let rows = FeedRow::find_by_statement(statement).all(&self.db).await?;
            to_feed(rows, from)
        })
        .await
    }

    /// The current rows with these IDs.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn rows(&self, accounts: &[AccountId], keys: &[KeyId]) -> Result<ChangedRows, StorageError> {
        bounded(async {
            let accounts =
                if accounts.is_empty() { Vec::new() } else { account_read::find_all(&self.db, accounts).await? };
            let keys = if keys.is_empty() { Vec::new() } else { key_read::find_all(&self.db, keys).await? };
            Ok(ChangedRows { accounts, keys })
        })
        .await
    }

    /// The current keys that an event changed without naming them; none for any other event.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn keys_changed_by(&self, event: &FeedEvent) -> Result<ChangedKeys, StorageError> {
        use api_key::Column;
        let Some(key_set) = event.key_set else { return Ok(ChangedKeys::default()) };
        let ids = api_key::Entity::find().filter(match key_set {
            KeySet::Created => Column::CreateRevision.eq(event.revision.0),
            // A revocation is permanent, and its time is the time of its event.
            KeySet::Revoked => {
                Column::Account.eq(event.account.as_str()).and(Column::RevokeTime.eq(event.time.micros()))
            }
        });
        let ids = ids.select_only().column(Column::Id);
        let ids: Vec<String> = bounded(async { Ok(ids.into_tuple().all(&self.db).await?) }).await?;
        let mut keys = Vec::with_capacity(ids.len());
        for ids in ids.chunks(KEYS_BATCH) {
            let these = is_one_of(self.db.get_database_backend(), Column::Id, ids.iter().map(String::as_str));
            let select = api_key::Entity::find().filter(these);
            keys.extend(bounded(key_read::with_secrets(&self.db, select)).await?);
        }
        let deleted = match key_set {
            // A replica does not have a new key that was deleted since.
            KeySet::Created => Vec::new(),
            // After the read of the keys, so that it sees the deletion of each key that is missing there.
            KeySet::Revoked => self.keys_deleted_since(event).await?,
        };
        Ok(ChangedKeys { keys, deleted })
    }

    /// The keys of the account that were deleted after an event. An ID is never reused.
    async fn keys_deleted_since(&self, event: &FeedEvent) -> Result<Vec<KeyId>, StorageError> {
        use audit_event::Column;
        let select = audit_event::Entity::find()
            .filter(Column::Account.eq(event.account.as_str()))
            .filter(Column::Revision.gt(event.revision.0))
            .filter(Column::Action.eq(Action::DeleteKey.number()));
        let select = select.select_only().column(Column::KeyId);
        let ids: Vec<Option<String>> = bounded(async { Ok(select.into_tuple().all(&self.db).await?) }).await?;
        let row = RowContext { table: "audit_event", id: "" };
        ids.iter().flatten().map(|id| row.valid("key_id", KeyId::new(id))).collect()
    }

    /// The hash of the first event of the log. `None` if the log is empty.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn first_hash(&self) -> Result<Option<ChainHash>, StorageError> {
        use audit_event::Column;
        bounded(async {
            let select = audit_event::Entity::find().filter(Column::Revision.eq(1)).select_only().column(Column::Hash);
            let hash: Option<Vec<u8>> = select.into_tuple().one(&self.db).await?;
            let row = RowContext { table: "audit_event", id: "1" };
            hash.map(|hash| row.hash("hash", &hash)).transpose()
        })
        .await
    }

    /// The hashes of the events with which operators accepted a restored database.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn acceptances(&self) -> Result<BTreeSet<ChainHash>, StorageError> {
        use audit_event::Column;
        bounded(async {
            // They belong to the account `system`, so the index on the account avoids a scan of the log.
            let select = audit_event::Entity::find()
                .filter(Column::Account.eq(AccountId::system().as_str()))
                .filter(Column::Action.eq(Action::AcceptRestore.number()));
            let select = select.select_only().column(Column::Revision).column(Column::Hash);
            let found: Vec<(i64, Vec<u8>)> = select.into_tuple().all(&self.db).await?;
            let hash_of = |(revision, hash): (i64, Vec<u8>)| {
                RowContext { table: "audit_event", id: &revision.to_string() }.hash("hash", &hash)
            };
            found.into_iter().map(hash_of).collect()
        })
        .await
    }

    /// Reads all accounts and then all keys in batches, from one snapshot of the database.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn snapshot(&self, mut take: impl FnMut(ChangedRows)) -> Result<Head, StorageError> {
        let tx = bounded(self.begin_snapshot()).await?;
        let head = bounded(row(&tx)).await?;
        let mut after = String::new();
        loop {
            let select = account::Entity::find().filter(account::Column::Id.gt(after.as_str()));
            let select = select.order_by_asc(account::Column::Id).limit(SNAPSHOT_BATCH as u64);
            let models = bounded(async { Ok(select.all(&tx).await?) }).await?;
            let Some(last) = models.last() else { break };
            after.clone_from(&last.id);
            let accounts = models.into_iter().map(crate::mapping::account::to_domain).collect::<Result<_, _>>()?;
            take(ChangedRows { accounts, keys: Vec::new() });
        }
        all_keys(&tx, |keys| take(ChangedRows { accounts: Vec::new(), keys })).await?;
        bounded(async { Ok(tx.rollback().await?) }).await?;
        head_of(head.revision, &head.head_hash)
    }
}

/// Reads all keys in batches, limited in rows and in bytes. Each batch is converted on a blocking thread while the next
/// is read and the one before is consumed.
async fn all_keys(tx: &DatabaseTransaction, mut take: impl FnMut(Vec<Key>)) -> Result<(), StorageError> {
    let (mut after, mut batches) = (String::new(), Batches::new());
    let mut conversion = None;
    loop {
        let end = bounded(batches.end_after(tx, &after, SNAPSHOT_BATCH)).await?;
        let rows = match &end {
            Some(end) => Some(bounded(key_read::batch(tx, &after, end)).await?),
            None => None,
        };
        let converted = match conversion.take() {
            Some(conversion) => Some(join_conversion(conversion).await?),
            None => None,
        };
        if let Some((rows, end)) = rows.zip(end) {
            after = end;
            conversion = Some(tokio::task::spawn_blocking(|| rows.into_keys()));
        }
        converted.into_iter().for_each(&mut take);
        if conversion.is_none() {
            return Ok(());
        }
    }
}

async fn join_conversion(conversion: JoinHandle<Result<Vec<Key>, StorageError>>) -> Result<Vec<Key>, StorageError> {
    match conversion.await {
        Ok(keys) => keys,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Cancelled: the runtime is shutting down.
        Err(_) => Err(StorageError::TimedOut),
    }
}

/// The columns of an event that the feed reads.
const FEED_COLUMNS: [audit_event::Column; 6] = [
    audit_event::Column::Revision,
    audit_event::Column::Hash,
    audit_event::Column::EventTime,
    audit_event::Column::Account,
    audit_event::Column::KeyId,
    audit_event::Column::Action,
];

/// The head, joined with each event from `from` and the size of the key that it names. The limit is applied before the
/// joins: a database that sorts after a join would read the whole rest of the log.
fn feed_statement(backend: DbBackend, from: Revision) -> SelectStatement {
    use {audit_event::Column as Event, authority::Column as Head, authority::Entity as Authority};
    let events = Query::select()
        .columns(FEED_COLUMNS)
        .from(audit_event::Entity)
        .and_where(Expr::col(Event::Revision).gte(from.0))
        .order_by(Event::Revision, Order::Asc)
        .limit(FEED_LIMIT)
        .take();
    let key_of_event = Expr::col((api_key::Entity, api_key::Column::Id)).equals(("event", Event::KeyId));
    Query::select()
        .expr_as(Expr::col((Authority, Head::Revision)), "head_revision")
        .expr_as(Expr::col((Authority, Head::HeadHash)), "head_hash")
        .expr_as(now_expr(backend), "now")
        .expr_as(Expr::cust(is_read_only_sql(backend)), "is_read_only")
        .columns(FEED_COLUMNS.map(|column| ("event", column)))
        .expr_as(row_size::of_key(backend), "key_bytes")
        .from(Authority)
        .join_subquery(JoinType::LeftJoin, events, "event", Expr::cust("1 = 1"))
        .left_join(api_key::Entity, key_of_event)
        .and_where(Expr::col((Authority, Head::Id)).eq(1))
        .order_by(("event", Event::Revision), Order::Asc)
        .take()
}

fn to_feed(rows: Vec<FeedRow>, from: Revision) -> Result<Feed, StorageError> {
    let first = rows.first().ok_or_else(|| AUTHORITY.corrupt("id"))?;
    if first.is_read_only != 0 {
        return Err(StorageError::ReadOnly);
    }
    let head = head_of(first.head_revision, &first.head_hash)?;
    let now = Timestamp::from_micros(first.now);
    let sizes: Vec<i64> = rows.iter().map(|row| row.key_bytes.unwrap_or(0)).collect();
    let events = rows.into_iter().filter_map(|row| to_feed_event(row).transpose());
    let mut events = events.collect::<Result<Vec<_>, _>>()?;
    events.truncate(readable(&events, &sizes, from));
    if let Some(at) = events.iter().position(|event| event.key_set.is_some() && event.revision > from) {
        events.truncate(at + 1);
    }
    Ok(Feed { head, now, events })
}

/// Number of leading events whose keys fit into one read, each key counted once. The event at `from` is read again with
/// those that follow, so at least one event after it is included.
fn readable(events: &[FeedEvent], sizes: &[i64], from: Revision) -> usize {
    let with_a_new_one = events.iter().take_while(|event| event.revision <= from).count() + 1;
    let (mut named, mut bytes) = (HashSet::new(), 0_i64);
    for (count, (event, size)) in events.iter().zip(sizes).enumerate() {
        let is_first_mention = event.key_id.as_ref().is_some_and(|id| named.insert(id));
        if !is_first_mention {
            continue;
        }
        bytes = bytes.saturating_add(*size);
        if bytes > READ_BYTES_MAX && count >= with_a_new_one {
            return count;
        }
    }
    events.len()
}

/// Converts a row. None if the log has no event from the requested revision.
fn to_feed_event(row: FeedRow) -> Result<Option<FeedEvent>, StorageError> {
    let (Some(revision), Some(hash), Some(time), Some(account), Some(action)) =
        (row.revision, row.hash, row.event_time, row.account, row.action)
    else {
        return Ok(None);
    };
    let id = revision.to_string();
    let event = RowContext { table: "audit_event", id: &id };
    Ok(Some(FeedEvent {
        revision: Revision(revision),
        hash: event.hash("hash", &hash)?,
        time: Timestamp::from_micros(time),
        account: event.valid("account", AccountId::new(&account))?,
        key_id: event.valid("key_id", row.key_id.as_deref().map(KeyId::new).transpose())?,
        accepts_restore: action == Action::AcceptRestore.number(),
        key_set: key_set(action),
        records_use: action == Action::PrepareDeleteKey.number(),
    }))
}

fn key_set(action: i32) -> Option<KeySet> {
    match Action::from_number(action)? {
        Action::ImportKeys => Some(KeySet::Created),
        Action::RevokeKeys => Some(KeySet::Revoked),
        _ => None,
    }
}
