//! What a replica reads: the log from a revision on, the rows it names, and at first everything.

use std::collections::BTreeSet;

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
use crate::rows::Row;
use crate::session::MYSQL_SERVER_IS_READ_ONLY;
use crate::settings::{Head, row};
use crate::store::{Store, bounded, now_expr};
use crate::{account_read, key_read};

/// Most events one reading of the log returns.
pub const FEED_LIMIT: u64 = 1_000;
/// How many rows of a table one reading of the snapshot returns.
const SNAPSHOT_BATCH: u64 = 1_000;
/// How many keys of an import one statement returns.
const KEYS_BATCH: usize = 2_500;

/// The log from a revision on, itself included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// The end of the log.
    pub head: Head,
    /// The database's clock, as it is: it may be behind the time of the newest event.
    pub now: Timestamp,
    /// At most [`FEED_LIMIT`] events, in order; and no more after the first import that is new, whose keys are as many as a
    /// replica should read between two confirmations.
    pub events: Vec<FeedEvent>,
}

/// What a replica needs of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedEvent {
    /// Its number.
    pub revision: Revision,
    /// Its link in the chain.
    pub hash: ChainHash,
    /// When it was made.
    pub time: Timestamp,
    /// The account it names.
    pub account: AccountId,
    /// The key it names.
    pub key_id: Option<KeyId>,
    /// Whether an operator accepted the database as it is. What else an event can be, the named rows tell; so that one
    /// of a newer build, under a number that is not known here, is followed like any other.
    pub accepts_restore: bool,
    /// Whether it brought keys that it does not name: see [`Store::keys_of`].
    pub is_import: bool,
    /// Whether the use of the key that it names must be written down before it is confirmed.
    pub records_use: bool,
}

/// Rows as they are now; what was asked for and is not among them is gone.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// The accounts.
    pub accounts: Vec<Account>,
    /// The keys.
    pub keys: Vec<Key>,
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
}

impl Store {
    /// Reads the head of the log and its events from `from` on, `from` included, in one statement.
    ///
    /// # Errors
    /// When nobody could look, and when the server is read-only: what it shows may lag behind, and a privileged user could
    /// confirm it there all the same.
    pub async fn feed(&self, from: Revision) -> Result<Feed, StorageError> {
        bounded(async {
            let backend = self.db.get_database_backend();
            let statement = backend.build(&feed_statement(backend, from));
            let rows = FeedRow::find_by_statement(statement).all(&self.db).await?;
            to_feed(rows, from)
        })
        .await
    }

    /// The named rows as they are now.
    ///
    /// # Errors
    /// When nobody could look.
    pub async fn rows(&self, accounts: &[AccountId], keys: &[KeyId]) -> Result<Rows, StorageError> {
        bounded(async {
            let accounts =
                if accounts.is_empty() { Vec::new() } else { account_read::find_all(&self.db, accounts).await? };
            let keys = if keys.is_empty() { Vec::new() } else { key_read::find_all(&self.db, keys).await? };
            Ok(Rows { accounts, keys })
        })
        .await
    }

    /// The keys that an import brought and that are there still, as they are now.
    ///
    /// # Errors
    /// When nobody could look.
    pub async fn keys_created_by(&self, import: Revision) -> Result<Vec<Key>, StorageError> {
        use api_key::Column;
        let ids = api_key::Entity::find().filter(Column::CreateRevision.eq(import.0)).select_only().column(Column::Id);
        let ids: Vec<String> = bounded(async { Ok(ids.into_tuple().all(&self.db).await?) }).await?;
        let mut keys = Vec::with_capacity(ids.len());
        for ids in ids.chunks(KEYS_BATCH) {
            let select = api_key::Entity::find().filter(Column::Id.is_in(ids.iter().map(String::as_str)));
            keys.extend(bounded(key_read::with_secrets(&self.db, select)).await?);
        }
        Ok(keys)
    }

    /// The events by which operators accepted the database as it was. There are few: none but after a restore.
    ///
    /// # Errors
    /// When nobody could look.
    pub async fn acceptances(&self) -> Result<BTreeSet<ChainHash>, StorageError> {
        use audit_event::Column;
        bounded(async {
            // They belong to the account `system`, which the index finds: this never walks the whole log.
            let select = audit_event::Entity::find()
                .filter(Column::Account.eq(AccountId::system().as_str()))
                .filter(Column::Action.eq(Action::AcceptRestore.number()));
            let select = select.select_only().column(Column::Revision).column(Column::Hash);
            let found: Vec<(i64, Vec<u8>)> = select.into_tuple().all(&self.db).await?;
            let hash_of = |(revision, hash): (i64, Vec<u8>)| {
                Row { table: "audit_event", id: &revision.to_string() }.hash("hash", &hash)
            };
            found.into_iter().map(hash_of).collect()
        })
        .await
    }

    /// Reads everything there is, from one snapshot, in batches: all accounts first, then all keys.
    ///
    /// # Errors
    /// When nobody could look.
    pub async fn snapshot(&self, mut take: impl FnMut(Rows)) -> Result<Head, StorageError> {
        let tx = bounded(self.begin_snapshot()).await?;
        let head = bounded(row(&tx)).await?;
        let mut after = String::new();
        loop {
            let select = account::Entity::find().filter(account::Column::Id.gt(after.as_str()));
            let select = select.order_by_asc(account::Column::Id).limit(SNAPSHOT_BATCH);
            let models = bounded(async { Ok(select.all(&tx).await?) }).await?;
            let Some(last) = models.last() else { break };
            after.clone_from(&last.id);
            let accounts = models.into_iter().map(crate::rows::account::to_domain).collect::<Result<_, _>>()?;
            take(Rows { accounts, keys: Vec::new() });
        }
        all_keys(&tx, |keys| take(Rows { accounts: Vec::new(), keys })).await?;
        bounded(async { Ok(tx.rollback().await?) }).await?;
        let hash = Row { table: "authority", id: "1" }.hash("head_hash", &head.head_hash)?;
        Ok(Head { revision: Revision(head.revision), hash })
    }
}

/// Reads all keys, in batches. Each is made of its rows on a thread of its own, while the next is read and the one before is
/// taken.
async fn all_keys(tx: &DatabaseTransaction, mut take: impl FnMut(Vec<Key>)) -> Result<(), StorageError> {
    let mut after = String::new();
    let mut making = None;
    loop {
        let rows = bounded(key_read::part(tx, &after, SNAPSHOT_BATCH)).await?;
        let made = match making.take() {
            Some(making) => Some(made(making).await?),
            None => None,
        };
        if let Some(last) = &rows.last {
            after.clone_from(last);
            making = Some(tokio::task::spawn_blocking(|| rows.into_keys()));
        }
        made.into_iter().for_each(&mut take);
        if making.is_none() {
            return Ok(());
        }
    }
}

async fn made(making: JoinHandle<Result<Vec<Key>, StorageError>>) -> Result<Vec<Key>, StorageError> {
    match making.await {
        Ok(made) => made,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The server ends.
        Err(_) => Err(StorageError::TimedOut),
    }
}

/// What is read of an event.
const FEED_COLUMNS: [audit_event::Column; 6] = [
    audit_event::Column::Revision,
    audit_event::Column::Hash,
    audit_event::Column::EventTime,
    audit_event::Column::Account,
    audit_event::Column::KeyId,
    audit_event::Column::Action,
];

/// Whether the server is read-only, as a number.
fn is_read_only_sql(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Postgres => "CAST(current_setting('transaction_read_only') = 'on' AS INTEGER)::BIGINT",
        DbBackend::MySql => MYSQL_SERVER_IS_READ_ONLY,
        _ => "0",
    }
}

/// The head, beside each event from `from` on. The events are limited before they are joined: a database that may sort
/// after a join reads the whole rest of the log for it.
fn feed_statement(backend: DbBackend, from: Revision) -> SelectStatement {
    use {audit_event::Column as Event, authority::Column as Head, authority::Entity as Authority};
    let events = Query::select()
        .columns(FEED_COLUMNS)
        .from(audit_event::Entity)
        .and_where(Expr::col(Event::Revision).gte(from.0))
        .order_by(Event::Revision, Order::Asc)
        .limit(FEED_LIMIT)
        .take();
    Query::select()
        .expr_as(Expr::col((Authority, Head::Revision)), "head_revision")
        .expr_as(Expr::col((Authority, Head::HeadHash)), "head_hash")
        .expr_as(now_expr(backend), "now")
        .expr_as(Expr::cust(is_read_only_sql(backend)), "is_read_only")
        .columns(FEED_COLUMNS.map(|column| ("event", column)))
        .from(Authority)
        .join_subquery(JoinType::LeftJoin, events, "event", Expr::cust("1 = 1"))
        .and_where(Expr::col((Authority, Head::Id)).eq(1))
        .order_by(("event", Event::Revision), Order::Asc)
        .take()
}

fn to_feed(rows: Vec<FeedRow>, from: Revision) -> Result<Feed, StorageError> {
    let authority = Row { table: "authority", id: "1" };
    let first = rows.first().ok_or_else(|| authority.corrupt("id"))?;
    if first.is_read_only != 0 {
        return Err(StorageError::ReadOnly);
    }
    let head = Head { revision: Revision(first.head_revision), hash: authority.hash("head_hash", &first.head_hash)? };
    let now = Timestamp::from_micros(first.now);
    let events = rows.into_iter().filter_map(|row| to_feed_event(row).transpose());
    let mut events = events.collect::<Result<Vec<_>, _>>()?;
    if let Some(at) = events.iter().position(|event| event.is_import && event.revision > from) {
        events.truncate(at + 1);
    }
    Ok(Feed { head, now, events })
}

/// An event, or nothing when the log has none from there on.
fn to_feed_event(row: FeedRow) -> Result<Option<FeedEvent>, StorageError> {
    let (Some(revision), Some(hash), Some(time), Some(account), Some(action)) =
        (row.revision, row.hash, row.event_time, row.account, row.action)
    else {
        return Ok(None);
    };
    let id = revision.to_string();
    let event = Row { table: "audit_event", id: &id };
    Ok(Some(FeedEvent {
        revision: Revision(revision),
        hash: event.hash("hash", &hash)?,
        time: Timestamp::from_micros(time),
        account: event.valid("account", AccountId::new(&account))?,
        key_id: event.valid("key_id", row.key_id.as_deref().map(KeyId::new).transpose())?,
        accepts_restore: action == Action::AcceptRestore.number(),
        is_import: action == Action::ImportKeys.number(),
        records_use: action == Action::PrepareDeleteKey.number(),
    }))
}
