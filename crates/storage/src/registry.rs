//! The registry of replicas: which replicas answer Verify, up to which revision each has applied the log, and their
//! heartbeats.

use std::time::Duration;

use key_authority_domain::audit::ChainHash;
use key_authority_domain::id::{ReplicaId, Revision};
use key_authority_domain::time::Timestamp;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, IdenStatic, Iterable, QueryFilter};

use crate::entity::replica::{self, Column, Entity};
use crate::entity::{audit_event, authority};
use crate::error::StorageError;
use crate::exclusive_lock::ExclusiveLock;
use crate::mapping::{AUTHORITY, RowContext};
use crate::settings::{Head, lease_of};
use crate::store::{Store, now_expr};
use crate::timeout::bounded;
use crate::writer_queue::Urgency;

/// A random value that a replica changes with each heartbeat. It is not a counter: after a crash, a counter could
/// return to a value that another replica has observed.
pub type Nonce = [u8; 8];

/// The registry row of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaRow {
    /// The ID of the replica.
    pub id: ReplicaId,
    /// The revision up to which the replica has applied the log. -1 while it joins, and if it has applied events that
    /// are not in this log: the database was restored to an earlier state, and the replica has not confirmed anything
    /// since.
    pub applied: Revision,
    /// The nonce of the last heartbeat.
    pub nonce: Nonce,
    /// The build of the replica.
    pub build: String,
    /// The address that the replica listens on.
    pub address: String,
    /// Time of the join, by the database's clock.
    pub join_time: Timestamp,
    /// Time of the last heartbeat, by the database's clock.
    pub seen_time: Timestamp,
}

impl ReplicaRow {
    /// The log format of the replica's build; see [`key_authority_domain::audit::LOG_FORMAT_VERSION`]. It is the suffix
    /// of the build: `0.1.0+log3`. Builds of format 2 have the suffix `+feed2`.
    #[must_use]
    pub fn log_format(&self) -> u32 {
        let suffix = self.build.rsplit_once('+').map(|(_, suffix)| suffix).unwrap_or_default();
        let number = suffix.strip_prefix("log").or_else(|| suffix.strip_prefix("feed"));
        number.and_then(|number| number.parse().ok()).unwrap_or(1)
    }
}

/// A read of the registry, with evidence of which log it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryScan {
    /// All replicas.
    pub rows: Vec<ReplicaRow>,
    /// The head of the log as of the read.
    pub head: Revision,
    /// The hash of the event at the requested revision. None if there is no such event.
    pub hash: Option<ChainHash>,
}

/// The parameters of a replica that joins.
#[derive(Debug, Clone, Copy)]
pub struct Joining<'a> {
    /// The ID, new at each join.
    pub id: ReplicaId,
    /// The nonce of the first heartbeat.
    pub nonce: Nonce,
    /// The lease that the replica is configured with.
    pub lease: Duration,
    /// The build of the replica; truncated to 64 characters.
    pub build: &'a str,
    /// The log format of the build.
    pub log_format: u32,
    /// The address that the replica listens on; truncated to 255 characters.
    pub address: &'a str,
}

/// The reason why a replica must not join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinRefused {
    /// The replica is configured with a different lease than the stored one.
    OtherLease {
        /// The lease that all replicas use.
        stored: Duration,
    },
    /// The log contains events that the replica's build would misread.
    LogFormat {
        /// The minimum log format.
        needed: u32,
    },
}

impl Store {
    /// Registers a replica that has confirmed nothing yet. The row must exist before the replica reads the log for its
    /// first lease. The row of an earlier attempt whose response was lost is replaced.
    ///
    /// # Errors
    /// If the write failed. If the database did not answer, the row may exist all the same.
    pub async fn join(&self, joining: Joining<'_>) -> Result<Result<(), JoinRefused>, StorageError> {
        let (_turn, (tx, authority, now)) = bounded(self.turn_and_lock(Urgency::Ending, None)).await?;
        let stored = lease_of(&authority)?;
        if stored != joining.lease {
            return Ok(Err(JoinRefused::OtherLease { stored }));
        }
        let needed = AUTHORITY.number("log_format_min", authority.log_format_min)?;
        if joining.log_format < needed {
            return Ok(Err(JoinRefused::LogFormat { needed }));
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

    /// Confirms that a replica has applied the log up to `applied`. Returns false if its row does not exist: it was
    /// fenced.
    ///
    /// # Errors
    /// If the write failed. If the database did not answer, the row may be updated all the same, even after a later
    /// confirmation. It then shows an older revision, and changes wait for the next confirmation.
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
    /// If the database did not answer.
    pub async fn replicas(&self) -> Result<Vec<ReplicaRow>, StorageError> {
        bounded(replicas_in(&self.db)).await
    }

    /// All replicas, with the head of the log and the hash of the event at `at`, in one statement.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn registry(&self, at: Revision) -> Result<RegistryScan, StorageError> {
        bounded(async {
            let statement = self.db.get_database_backend().build(&registry_statement(at));
            to_scan(ScanRow::find_by_statement(statement).all(&self.db).await?, at)
        })
        .await
    }

    /// Removes a replica if the nonce of its last heartbeat is still `observed`. Returns whether it was removed.
    ///
    /// # Errors
    /// If the write failed. If the database did not answer, the replica may be removed all the same.
    pub async fn fence(&self, id: ReplicaId, observed: Nonce) -> Result<bool, StorageError> {
        let row = Column::Id.eq(id.to_string()).and(Column::Nonce.eq(observed.to_vec()));
        bounded(async { Ok(Entity::delete_many().filter(row).exec(&self.db).await?.rows_affected > 0) }).await
    }

    /// Removes all replicas. The exclusive lock proves that no other server is running.
    ///
    /// # Errors
    /// When they could not be removed.
    pub async fn clear_registry(&self, _: &ExclusiveLock) -> Result<(), StorageError> {
        bounded(async { Ok(Entity::delete_many().exec(&self.db).await.map(|_| ())?) }).await
    }

    /// Removes a replica that shuts down.
    ///
    /// # Errors
    /// If the write failed. If the database did not answer, the replica may be removed all the same.
    pub async fn leave(&self, id: ReplicaId) -> Result<(), StorageError> {
        bounded(async { Ok(Entity::delete_by_id(id.to_string()).exec(&self.db).await.map(|_| ())?) }).await
    }
}

/// All replicas, read with `connection`.
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
    /// The hash of the event at the applied revision. None if there is no such event.
    hash: Option<Vec<u8>>,
}

#[derive(FromQueryResult)]
struct ScanRow {
    head_revision: i64,
    requested_hash: Option<Vec<u8>>,
    #[sea_orm(nested)]
    replica: Option<RegistryRow>,
}

/// The head of the log and the hash of its event at `at`, joined with every replica as in [`replicas_statement`].
fn registry_statement(at: Revision) -> SelectStatement {
    use {audit_event::Column as Event, authority::Column as Head, authority::Entity as Authority};
    let requested = Query::select()
        .column(Event::Hash)
        .from(audit_event::Entity)
        .and_where(Expr::col(Event::Revision).eq(at.0))
        .take();
    let mut statement = Query::select();
    statement
        .expr_as(Expr::col((Authority, Head::Revision)), "head_revision")
        .expr_as(Expr::expr(requested), "requested_hash");
    for column in Column::iter() {
        statement.expr_as(Expr::col((Entity, column)), column.as_str());
    }
    let event = Expr::col((audit_event::Entity, Event::Revision));
    statement
        .column((audit_event::Entity, Event::Hash))
        .from(Authority)
        .left_join(Entity, Expr::cust("1 = 1"))
        .left_join(audit_event::Entity, event.equals((Entity, Column::AppliedRevision)))
        .and_where(Expr::col((Authority, Head::Id)).eq(1))
        .take()
}

fn to_scan(rows: Vec<ScanRow>, at: Revision) -> Result<RegistryScan, StorageError> {
    let first = rows.first().ok_or_else(|| AUTHORITY.corrupt("id"))?;
    let event = RowContext { table: "audit_event", id: &at.to_string() };
    let hash = first.requested_hash.as_deref().map(|hash| event.hash("hash", hash)).transpose()?;
    let head = Revision(first.head_revision);
    let rows = rows.into_iter().filter_map(|row| row.replica).map(to_replica).collect::<Result<_, _>>()?;
    Ok(RegistryScan { rows, head, hash })
}

/// Every row, joined with the event at its applied revision.
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
    let row = RowContext { table: "replica", id: &model.id };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corrupt_hash_names_the_requested_revision() {
        let row = ScanRow { head_revision: 9, requested_hash: Some(vec![1]), replica: None };
        let error = to_scan(vec![row], Revision(7)).unwrap_err();
        assert!(matches!(&error, StorageError::Corrupt { id, .. } if id == "7"), "{error}");
    }
}
