//! The replicas' rows: who answers Verify, up to which revision, and whether it still moves.

use std::time::Duration;

use key_authority_domain::audit::ChainHash;
use key_authority_domain::id::{ReplicaId, Revision};
use key_authority_domain::time::Timestamp;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, Iterable, QueryFilter};

use crate::alone::Alone;
use crate::entity::audit_event;
use crate::entity::replica::{self, Column, Entity};
use crate::error::StorageError;
use crate::rows::Row;
use crate::settings::{Head, lease_of};
use crate::store::{Store, bounded, now_expr};

/// A random value that a replica changes with each heartbeat. Not a counter: after a crash a counter could come round
/// to a value that somebody has observed.
pub type Nonce = [u8; 8];

/// A replica, as its row shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaRow {
    /// Its name.
    pub id: ReplicaId,
    /// Up to where it has applied the log; -1 while it joins, and when what it has applied is not of this log: the
    /// database went back, and the replica has not confirmed anything since.
    pub applied: Revision,
    /// The value of its last heartbeat.
    pub nonce: Nonce,
    /// Which build it runs.
    pub build: String,
    /// Where it listens.
    pub address: String,
    /// When it joined, by the database's clock.
    pub join_time: Timestamp,
    /// When its last heartbeat was, by the database's clock.
    pub seen_time: Timestamp,
}

/// A replica that joins.
#[derive(Debug, Clone, Copy)]
pub struct Joining<'a> {
    /// Its name, fresh at each join.
    pub id: ReplicaId,
    /// The value of its first heartbeat.
    pub nonce: Nonce,
    /// The lease that it would keep to.
    pub lease: Duration,
    /// Which build it runs; the first 64 characters are kept.
    pub build: &'a str,
    /// Where it listens; the first 255 characters are kept.
    pub address: &'a str,
}

/// A replica that would keep to another lease than the others must not join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherLease {
    /// The lease that all keep to.
    pub stored: Duration,
}

impl Store {
    /// Enters a replica that has confirmed nothing yet. It must be there before the log is read for the first lease. A row
    /// that an earlier attempt left, whose answer was lost, is replaced.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn join(&self, joining: Joining<'_>) -> Result<Result<(), OtherLease>, StorageError> {
        let (_turn, (tx, authority, now)) = bounded(self.turn_and_lock()).await?;
        let stored = lease_of(&authority)?;
        if stored != joining.lease {
            return Ok(Err(OtherLease { stored }));
        }
        let id = joining.id.to_string();
        let row = replica::ActiveModel {
            id: Set(id.clone()),
            applied_revision: Set(-1),
            applied_hash: Set(ChainHash::default().0.to_vec()),
            nonce: Set(joining.nonce.to_vec()),
            build: Set(joining.build.chars().take(64).collect()),
            address: Set(joining.address.chars().take(255).collect()),
            join_time: Set(now.micros()),
            seen_time: Set(now.micros()),
        };
        bounded(async {
            Entity::delete_by_id(id).exec(&tx).await?;
            Entity::insert(row).exec_without_returning(&tx).await?;
            tx.commit().await?;
            Ok(Ok(()))
        })
        .await
    }

    /// Confirms that a replica has applied the log up to `applied`. False when its row is gone: it was fenced.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn confirm(&self, id: ReplicaId, applied: Head, nonce: Nonce) -> Result<bool, StorageError> {
        let update = Entity::update_many()
            .col_expr(Column::AppliedRevision, Expr::value(applied.revision.0))
            .col_expr(Column::AppliedHash, Expr::value(applied.hash.0.to_vec()))
            .col_expr(Column::Nonce, Expr::value(nonce.to_vec()))
            .col_expr(Column::SeenTime, now_expr(self.db.get_database_backend()))
            .filter(Column::Id.eq(id.to_string()));
        bounded(async { Ok(update.exec(&self.db).await?.rows_affected > 0) }).await
    }

    /// All replicas.
    ///
    /// # Errors
    /// When nobody could look.
    pub async fn replicas(&self) -> Result<Vec<ReplicaRow>, StorageError> {
        bounded(replicas_in(&self.db)).await
    }

    /// Removes a replica whose last heartbeat is still the one that was observed, and says whether it did.
    ///
    /// # Errors
    /// When it could not be removed.
    pub async fn fence(&self, id: ReplicaId, observed: Nonce) -> Result<bool, StorageError> {
        let row = Column::Id.eq(id.to_string()).and(Column::Nonce.eq(observed.to_vec()));
        bounded(async { Ok(Entity::delete_many().filter(row).exec(&self.db).await?.rows_affected > 0) }).await
    }

    /// Removes all replicas: for the one server that has the database to itself, who knows that the others are gone.
    ///
    /// # Errors
    /// When they could not be removed.
    pub async fn clear_registry(&self, _: &Alone) -> Result<(), StorageError> {
        bounded(async { Ok(Entity::delete_many().exec(&self.db).await.map(|_| ())?) }).await
    }

    /// Removes a replica that ends of its own will.
    ///
    /// # Errors
    /// When it could not be removed.
    pub async fn leave(&self, id: ReplicaId) -> Result<(), StorageError> {
        bounded(async { Ok(Entity::delete_by_id(id.to_string()).exec(&self.db).await.map(|_| ())?) }).await
    }
}

/// All replicas, as this connection sees them.
pub(crate) async fn replicas_in(connection: &impl ConnectionTrait) -> Result<Vec<ReplicaRow>, StorageError> {
    let statement = connection.get_database_backend().build(&replicas_statement());
    let rows = RegistryRow::find_by_statement(statement).all(connection).await?;
    rows.into_iter().map(to_replica).collect()
}

#[derive(FromQueryResult)]
struct RegistryRow {
    id: String,
    applied_revision: i64,
    applied_hash: Vec<u8>,
    nonce: Vec<u8>,
    build: String,
    address: String,
    join_time: i64,
    seen_time: i64,
    /// The hash of the event at the applied revision, if there is one.
    hash: Option<Vec<u8>>,
}

/// Every row, beside the hash of the event that it has applied last.
fn replicas_statement() -> SelectStatement {
    let mut statement = Query::select();
    for column in Column::iter() {
        statement.column((Entity, column));
    }
    let event = Expr::col((audit_event::Entity, audit_event::Column::Revision));
    statement
        .column((audit_event::Entity, audit_event::Column::Hash))
        .from(Entity)
        .left_join(audit_event::Entity, event.equals((Entity, Column::AppliedRevision)))
        .take()
}

fn to_replica(model: RegistryRow) -> Result<ReplicaRow, StorageError> {
    let row = Row { table: "replica", id: &model.id };
    let is_of_this_log = model.applied_revision == 0 || model.hash.is_some_and(|hash| hash == model.applied_hash);
    Ok(ReplicaRow {
        id: ReplicaId::parse(&model.id).ok_or_else(|| row.corrupt("id"))?,
        applied: if is_of_this_log { Revision(model.applied_revision) } else { Revision(-1) },
        nonce: row.bytes("nonce", &model.nonce)?,
        join_time: Timestamp::from_micros(model.join_time),
        seen_time: Timestamp::from_micros(model.seen_time),
        build: model.build,
        address: model.address,
    })
}
