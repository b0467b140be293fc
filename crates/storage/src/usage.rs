//! Writing down how keys have been used. Not a change: it takes no revision, and a crash may lose the last few seconds.

use key_authority_domain::id::{KeyId, Revision};
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::TokenDigest;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, SimpleExpr};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, TransactionTrait};

use crate::entity::{api_key, api_key_secret};
use crate::error::StorageError;
use crate::store::{StorageKind, Store, bounded};

/// Most keys that one transaction writes.
const BATCH: usize = 200;

/// How one version of a key was used since the last time this was written down.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsageDelta {
    /// Which key.
    pub key_id: KeyId,
    /// Which secret of it. An ID may come to name another key; a digest never names another secret.
    pub digest: TokenDigest,
    /// The revision that created the key, for the same reason.
    pub create_revision: Revision,
    /// How often it passed.
    pub count: u64,
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
        let _turn = if self.kind() == StorageKind::Sqlite { Some(self.writers_turn().await) } else { None };
        let tx = self.db.begin().await?;
        for delta in deltas {
            let time = delta.last_used_time.micros();
            let count = i64::try_from(delta.count).unwrap_or(i64::MAX);
            api_key::Entity::update_many()
                .col_expr(api_key::Column::UseCount, Expr::col(api_key::Column::UseCount).add(count))
                .col_expr(api_key::Column::LastUsedTime, later(api_key::Column::LastUsedTime, time))
                .filter(api_key::Column::Id.eq(delta.key_id.as_str()))
                .filter(api_key::Column::CreateRevision.eq(delta.create_revision.0))
                .exec(&tx)
                .await?;
            api_key_secret::Entity::update_many()
                .col_expr(api_key_secret::Column::LastUsedTime, later(api_key_secret::Column::LastUsedTime, time))
                .filter(api_key_secret::Column::Digest.eq(delta.digest.0.to_vec()))
                .exec(&tx)
                .await?;
        }
        Ok(tx.commit().await?)
    }
}

/// The later of what `column` holds and `time`.
fn later<C: ColumnTrait>(column: C, time: i64) -> SimpleExpr {
    let is_earlier = Expr::col(column).is_null().or(Expr::col(column).lt(time));
    CaseStatement::new().case(is_earlier, time).finally(Expr::col(column)).into()
}
