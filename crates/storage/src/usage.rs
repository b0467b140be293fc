//! Writing down how keys have been used. Not a change: it takes no revision, and a crash may lose what was not written yet.

use std::collections::{BTreeMap, BTreeSet};

use key_authority_domain::id::{KeyId, Revision};
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::TokenDigest;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, SimpleExpr};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, TransactionTrait, UpdateMany};

use crate::entity::{api_key, api_key_secret};
use crate::error::StorageError;
use crate::store::{StorageKind, Store, bounded};
use crate::writer_queue::Urgency;

/// Most versions that one transaction writes, with one statement a table: each row is compared with each of them, so that more
/// would not be faster.
const BATCH: usize = 50;

/// How one version of a key was used since the last time this was written down.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsageDelta {
    /// Which key.
    pub key_id: KeyId,
    /// Which secret of it.
    pub digest: TokenDigest,
    /// The revision that created the key: an ID may come to name another, and a digest another's secret.
    pub create_revision: Revision,
    /// How often it passed.
    pub count: u32,
    /// When last.
    pub last_used_time: Timestamp,
}

impl Store {
    /// Adds to the counts and moves the times forward, never back. Keys that are gone are passed over.
    ///
    /// Returns how many of `deltas` were written; on an error, the rest is the caller's to keep.
    ///
    /// # Errors
    /// The number written before it, and what went wrong.
    pub async fn record_usage(&self, deltas: &mut [UsageDelta]) -> Result<(), (usize, StorageError)> {
        // All replicas write in one order, so that none waits for another that waits for it.
        deltas.sort();
        for (batch, deltas) in deltas.chunks(BATCH).enumerate() {
            bounded(self.record_batch(deltas)).await.map_err(|error| (batch * BATCH, error))?;
        }
        Ok(())
    }

    async fn record_batch(&self, deltas: &[UsageDelta]) -> Result<(), StorageError> {
        // SQLite has one writer at a time, and its own waiting is not fair.
        let _turn = if self.kind() == StorageKind::Sqlite {
            Some(self.writers.turn(Urgency::Ordinary, None).await)
        } else {
            None
        };
        let tx = self.db.begin().await?;
        let ids: BTreeSet<&str> = deltas.iter().map(|delta| delta.key_id.as_str()).collect();
        if self.kind() != StorageKind::Sqlite {
            // All replicas write in one order, so that none waits for another that waits for it: versions after their keys. On
            // SQLite nobody else writes, and who has read first might have read what is old.
            let rows = api_key::Entity::find().select_only().column(api_key::Column::Id);
            let rows = rows.filter(api_key::Column::Id.is_in(ids.iter().copied())).order_by_asc(api_key::Column::Id);
            rows.lock_exclusive().into_tuple::<String>().all(&tx).await?;
        }
        update_keys(deltas, ids).exec(&tx).await?;
        update_secrets(deltas).exec(&tx).await?;
        Ok(tx.commit().await?)
    }
}

/// Adds to the counts of keys, and moves their times.
fn update_keys(deltas: &[UsageDelta], ids: BTreeSet<&str>) -> UpdateMany<api_key::Entity> {
    use api_key::Column;
    let mut used = BTreeMap::<(&KeyId, Revision), (u64, Timestamp)>::new();
    for UsageDelta { key_id, create_revision, count, last_used_time, .. } in deltas {
        let (sum, last) = used.entry((key_id, *create_revision)).or_insert((0, *last_used_time));
        (*sum, *last) = (sum.saturating_add(u64::from(*count)), (*last).max(*last_used_time));
    }
    let (mut counts, mut times) = (CaseStatement::new(), CaseStatement::new());
    for ((key_id, create_revision), (count, last)) in used {
        let is_it = Column::Id.eq(key_id.as_str()).and(Column::CreateRevision.eq(create_revision.0));
        let sum = Expr::col(Column::UseCount).add(i64::try_from(count).unwrap_or(i64::MAX));
        counts = counts.case(is_it.clone(), sum);
        times = times.case(is_it.and(is_earlier(Column::LastUsedTime, last)), last.micros());
    }
    api_key::Entity::update_many()
        .col_expr(Column::UseCount, counts.finally(Expr::col(Column::UseCount)).into())
        .col_expr(Column::LastUsedTime, times.finally(Expr::col(Column::LastUsedTime)).into())
        .filter(Column::Id.is_in(ids))
}

/// Moves the times of versions.
fn update_secrets(deltas: &[UsageDelta]) -> UpdateMany<api_key_secret::Entity> {
    use api_key_secret::Column;
    let mut used = BTreeMap::<(TokenDigest, &KeyId), Timestamp>::new();
    for UsageDelta { key_id, digest, last_used_time, .. } in deltas {
        let last = used.entry((*digest, key_id)).or_insert(*last_used_time);
        *last = (*last).max(*last_used_time);
    }
    let mut times = CaseStatement::new();
    for ((digest, key_id), last) in &used {
        let is_it = Column::Digest.eq(digest.0.to_vec()).and(Column::KeyId.eq(key_id.as_str()));
        times = times.case(is_it.and(is_earlier(Column::LastUsedTime, *last)), last.micros());
    }
    api_key_secret::Entity::update_many()
        .col_expr(Column::LastUsedTime, times.finally(Expr::col(Column::LastUsedTime)).into())
        .filter(Column::Digest.is_in(used.keys().map(|(digest, _)| digest.0.to_vec())))
}

/// Whether `column` holds an earlier time, or none.
fn is_earlier<C: ColumnTrait>(column: C, time: Timestamp) -> SimpleExpr {
    Expr::col(column).is_null().or(Expr::col(column).lt(time.micros()))
}
