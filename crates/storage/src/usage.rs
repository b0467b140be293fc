//! Writes of key usage. They are not changes: they have no revision, and a crash may lose usage that is not written
//! yet.

use std::collections::{BTreeMap, BTreeSet};

use key_authority_domain::id::{KeyId, Revision};
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::TokenDigest;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, SimpleExpr};
use sea_orm::{
    ColumnTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect, TransactionTrait, UpdateMany,
};

use crate::entity::{api_key, api_key_secret};
use crate::error::StorageError;
use crate::one_of::is_one_of;
use crate::store::{StorageKind, Store};
use crate::timeout::bounded;
use crate::writer_queue::Urgency;

/// Maximum number of secret versions in one transaction, which has one statement for each table. The statement compares
/// each row with each version, so larger batches are not faster.
const BATCH: usize = 50;

/// The use of one secret version of a key since the last write.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsageDelta {
    /// The key.
    pub key_id: KeyId,
    /// The digest of the secret version.
    pub digest: TokenDigest,
    /// The revision that created the key. It detects an ID or a digest that a later key uses.
    pub create_revision: Revision,
    /// Number of successful Verify calls.
    pub count: u32,
    /// Time of the last one.
    pub last_used_time: Timestamp,
}

impl Store {
    /// Adds to the counts and advances the times. Times never move back. Keys that no longer exist are skipped.
    ///
    /// # Errors
    /// The number of deltas that are known to be written, and the error. The caller keeps the rest. If the database did
    /// not answer, the next batch may be written as well, and the caller's next attempt counts its uses a second time.
    /// A lost response therefore makes counts too high, never too low. Times are not affected.
    pub async fn record_usage(&self, deltas: &mut [UsageDelta]) -> Result<(), (usize, StorageError)> {
        // All replicas write in the same order, to avoid deadlocks.
        deltas.sort();
        for (batch, deltas) in deltas.chunks(BATCH).enumerate() {
            bounded(self.record_batch(deltas)).await.map_err(|error| (batch * BATCH, error))?;
        }
        Ok(())
    }

    async fn record_batch(&self, deltas: &[UsageDelta]) -> Result<(), StorageError> {
        // SQLite has one writer at a time, and its own lock is not fair.
        let _turn = if self.kind() == StorageKind::Sqlite {
            Some(self.writers.own_turn(Urgency::Ordinary).await)
        } else {
            None
        };
        let (tx, backend) = (self.db.begin().await?, self.db.get_database_backend());
        let ids: BTreeSet<&str> = deltas.iter().map(|delta| delta.key_id.as_str()).collect();
        if self.kind() != StorageKind::Sqlite {
            // All replicas lock in the same order, keys before secrets, to avoid deadlocks. SQLite has no other writer,
            // and a transaction that starts with a read could fail to upgrade its lock.
            let rows = api_key::Entity::find().select_only().column(api_key::Column::Id);
            let these = is_one_of(backend, api_key::Column::Id, ids.iter().copied());
            let rows = rows.filter(these).order_by_asc(api_key::Column::Id);
            rows.lock_exclusive().into_tuple::<String>().all(&tx).await?;
        }
        update_keys(backend, deltas, ids).exec(&tx).await?;
        update_secrets(backend, deltas).exec(&tx).await?;
        Ok(tx.commit().await?)
    }
}

/// Adds to the counts of keys and advances their times.
fn update_keys(backend: DbBackend, deltas: &[UsageDelta], ids: BTreeSet<&str>) -> UpdateMany<api_key::Entity> {
    use api_key::Column;
    let mut used = BTreeMap::<(&KeyId, Revision), (u64, Timestamp)>::new();
    for UsageDelta { key_id, create_revision, count, last_used_time, .. } in deltas {
        let (sum, last) = used.entry((key_id, *create_revision)).or_insert((0, *last_used_time));
        (*sum, *last) = (sum.saturating_add(u64::from(*count)), (*last).max(*last_used_time));
    }
    let (mut counts, mut times) = (CaseStatement::new(), CaseStatement::new());
    for ((key_id, create_revision), (count, last)) in used {
        let is_this = Column::Id.eq(key_id.as_str()).and(Column::CreateRevision.eq(create_revision.0));
        let sum = Expr::col(Column::UseCount).add(i64::try_from(count).unwrap_or(i64::MAX));
        counts = counts.case(is_this.clone(), sum);
        times = times.case(is_this.and(is_earlier(Column::LastUsedTime, last)), last.micros());
    }
    api_key::Entity::update_many()
        .col_expr(Column::UseCount, counts.finally(Expr::col(Column::UseCount)).into())
        .col_expr(Column::LastUsedTime, times.finally(Expr::col(Column::LastUsedTime)).into())
        .filter(is_one_of(backend, Column::Id, ids))
}

/// Advances the times of secret versions.
fn update_secrets(backend: DbBackend, deltas: &[UsageDelta]) -> UpdateMany<api_key_secret::Entity> {
    use api_key_secret::Column;
    let mut used = BTreeMap::<(TokenDigest, &KeyId), Timestamp>::new();
    for UsageDelta { key_id, digest, last_used_time, .. } in deltas {
        let last = used.entry((*digest, key_id)).or_insert(*last_used_time);
        *last = (*last).max(*last_used_time);
    }
    let mut times = CaseStatement::new();
    for ((digest, key_id), last) in &used {
        let is_this = Column::Digest.eq(digest.0.to_vec()).and(Column::KeyId.eq(key_id.as_str()));
        times = times.case(is_this.and(is_earlier(Column::LastUsedTime, *last)), last.micros());
    }
    api_key_secret::Entity::update_many()
        .col_expr(Column::LastUsedTime, times.finally(Expr::col(Column::LastUsedTime)).into())
        .filter(is_one_of(backend, Column::Digest, used.keys().map(|(digest, _)| digest.0.to_vec())))
}

/// Whether `column` is null or earlier than `time`.
fn is_earlier<C: ColumnTrait>(column: C, time: Timestamp) -> SimpleExpr {
    Expr::col(column).is_null().or(Expr::col(column).lt(time.micros()))
}
