//! A change: begin, the writes, and `commit(AuditEvent)` as the only way out.
//!
//! `begin` takes the lock of the `authority` row first of all, by an UPDATE, and holds it to the end. From there on the
//! process is alone in the database as far as changes go: what it reads is what it will change, counts are exact, a
//! request that was seen is seen. Dropping it rolls everything back.

mod bulk;

use std::ops::Deref;

use key_authority_domain::account::Account;
use key_authority_domain::audit::{AuditEvent, ChainHash, LoggedEvent};
use key_authority_domain::id::{AccountId, Actor, KeyId, Revision};
use key_authority_domain::key::Key;
use key_authority_domain::time::Timestamp;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, QueryFilter, QuerySelect, Statement,
    TransactionTrait,
};

use crate::entity::{account, api_key, api_key_secret, audit_event, authority, durability};
use crate::error::StorageError;
use crate::read_tx::{ReadTx, authority_now};
use crate::rows::{self, Row};
use crate::store::{StorageKind, Store, bounded};
use crate::wake::CHANNEL;
use crate::writer_queue::{Urgency, WriterTurn};

/// The last log format whose builds do not look at `log_format_min`. They join only if `lease_ms` is their own lease, so it
/// is changed with the first event of a later format; builds that look at `log_format_min` keep to `lease_us`.
const LAST_UNCHECKED_FORMAT: i32 = 2;
/// How often the database is asked again what became of a COMMIT whose answer was lost.
const OUTCOME_ATTEMPTS: u32 = 3;

/// A change that has begun, and what is read for it. Its revision is the one that it will make.
pub struct WriteTx<'a> {
    reads: ReadTx,
    store: &'a Store,
    head_hash: ChainHash,
    log_format_min: i32,
    _turn: WriterTurn,
}

impl Deref for WriteTx<'_> {
    type Target = ReadTx;

    fn deref(&self) -> &ReadTx {
        &self.reads
    }
}

/// A change that stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The revision it made.
    pub revision: Revision,
    /// The hash of its event.
    pub hash: ChainHash,
    /// When, by the database's clock.
    pub time: Timestamp,
}

impl Store {
    /// Begins an ordinary change.
    ///
    /// # Errors
    /// As [`Store::begin_with`].
    pub async fn begin(&self) -> Result<WriteTx<'_>, StorageError> {
        self.begin_with(Urgency::Ordinary, None).await
    }

    /// Begins a change of `actor`: waits for its turn and takes the lock.
    ///
    /// # Errors
    /// When the database is not there or the lock is not to be had in time.
    pub async fn begin_with(&self, urgency: Urgency, actor: Option<&Actor>) -> Result<WriteTx<'_>, StorageError> {
        let locked = bounded(self.turn_and_lock(urgency, actor)).await;
        let (turn, (tx, row, now)) = locked.map_err(|error| self.explained(error))?;
        let head_hash = Row { table: "authority", id: "1" }.hash("head_hash", &row.head_hash)?;
        let reads = ReadTx { tx, now, revision: Revision(row.revision).next() };
        Ok(WriteTx { reads, store: self, head_hash, log_format_min: row.log_format_min, _turn: turn })
    }

    /// Returns when everything that was visible before the call is as durable as a commit. On a database that waits for
    /// standbys or for a group, a change is visible before they have it, so a read alone is no evidence that it stands.
    ///
    /// # Errors
    /// When the database did not answer, or did not commit.
    pub async fn await_durability(&self) -> Result<(), StorageError> {
        // On SQLite, what is visible is durable.
        if self.kind() == StorageKind::Sqlite {
            return Ok(());
        }
        bounded(raise_barrier(&self.db)).await
    }

    /// The place at the head of the writers' queue, and the lock. To be bounded as one: when the database falls silent,
    /// each writer before this one may take all the time there is.
    pub(crate) async fn turn_and_lock(
        &self,
        urgency: Urgency,
        actor: Option<&Actor>,
    ) -> Result<(WriterTurn, (DatabaseTransaction, authority::Model, Timestamp)), StorageError> {
        let turn = self.writers.turn(urgency, actor).await;
        Ok((turn, self.lock_authority().await?))
    }

    /// Takes the lock by an UPDATE that changes nothing, and only then reads: so the read sees what the last holder
    /// committed, at every isolation level, and SQLite has no read lock to upgrade.
    pub(crate) async fn lock_authority(
        &self,
    ) -> Result<(DatabaseTransaction, authority::Model, Timestamp), StorageError> {
        let tx = self.db.begin().await?;
        authority::Entity::update_many()
            .col_expr(authority::Column::Revision, Expr::col(authority::Column::Revision))
            .filter(authority::Column::Id.eq(1))
            .exec(&tx)
            .await?;
        let (row, now) = authority_now(&tx).await?;
        Ok((tx, row, now))
    }
}

impl WriteTx<'_> {
    /// Moves the time of the change forward to `time`, if that is later: to what the process has already judged by.
    #[must_use]
    pub fn not_before(mut self, time: Timestamp) -> Self {
        self.reads = self.reads.not_before(time);
        self
    }

    /// Writes a new account.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn insert_account(&self, account: &Account) -> Result<(), StorageError> {
        let insert = account::Entity::insert(rows::account::to_row(account));
        bounded(async { Ok(insert.exec_without_returning(&self.tx).await.map(|_| ())?) }).await
    }

    /// Writes an account that exists, and notes the change in it.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn update_account(&self, account: &mut Account) -> Result<(), StorageError> {
        (account.update_time, account.revision) = (self.now, self.revision);
        let update = account::Entity::update_many()
            .set(rows::account::to_row(account))
            .filter(account::Column::Id.eq(account.id.as_str()));
        bounded(async { Ok(update.exec(&self.tx).await.map(|_| ())?) }).await
    }

    /// Removes an account that has no keys.
    ///
    /// # Errors
    /// When it could not be removed.
    pub async fn delete_account(&self, id: &AccountId) -> Result<(), StorageError> {
        bounded(async { Ok(account::Entity::delete_by_id(id.as_str()).exec(&self.tx).await.map(|_| ())?) }).await
    }

    /// Writes a new key and its secrets.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn insert_key(&self, key: &Key) -> Result<(), StorageError> {
        self.insert_keys(std::slice::from_ref(key)).await
    }

    /// Writes a key that exists, and notes the change in it. Its secrets and its usage stay.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn update_key(&self, key: &mut Key) -> Result<(), StorageError> {
        (key.update_time, key.revision) = (self.now, self.revision);
        let update =
            api_key::Entity::update_many().set(rows::key::to_row(key)).filter(api_key::Column::Id.eq(key.id.as_str()));
        bounded(async { Ok(update.exec(&self.tx).await.map(|_| ())?) }).await
    }

    /// Writes a key whose secrets changed: retired ones, a new one, forgotten ones.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn update_key_and_secrets(&self, key: &mut Key) -> Result<(), StorageError> {
        self.update_key(key).await?;
        let of_key = || api_key_secret::Column::KeyId.eq(key.id.as_str());
        let row = Row { table: "api_key_secret", id: key.id.as_str() };
        bounded(async {
            let stored: Vec<i32> = api_key_secret::Entity::find()
                .select_only()
                .column(api_key_secret::Column::Version)
                .filter(of_key())
                .into_tuple()
                .all(&self.tx)
                .await?;
            let mut kept = Vec::with_capacity(key.secrets.len());
            for secret in &key.secrets {
                let version: i32 = row.number("version", secret.version)?;
                kept.push(version);
                if stored.contains(&version) {
                    api_key_secret::Entity::update_many()
                        .col_expr(
                            api_key_secret::Column::RetireTime,
                            Expr::value(secret.retire_time.map(Timestamp::micros)),
                        )
                        .col_expr(api_key_secret::Column::Retired, Expr::value(secret.retired))
                        .filter(of_key())
                        .filter(api_key_secret::Column::Version.eq(version))
                        .exec(&self.tx)
                        .await?;
                } else {
                    let row = rows::key::secret_to_row(key, secret)?;
                    api_key_secret::Entity::insert(row).exec_without_returning(&self.tx).await?;
                }
            }
            let forgotten = of_key().and(api_key_secret::Column::Version.is_not_in(kept));
            api_key_secret::Entity::delete_many().filter(forgotten).exec(&self.tx).await?;
            Ok(())
        })
        .await
    }

    /// Removes a key and its secrets.
    ///
    /// # Errors
    /// When it could not be removed.
    pub async fn delete_key(&self, id: &KeyId) -> Result<(), StorageError> {
        bounded(async {
            // The key's row is locked before those of its secrets, as it is where usage is written: in the other order
            // the two would wait for one another.
            api_key::Entity::update_many()
                .col_expr(api_key::Column::Revision, Expr::value(self.revision.0))
                .filter(api_key::Column::Id.eq(id.as_str()))
                .exec(&self.tx)
                .await?;
            let secrets = api_key_secret::Column::KeyId.eq(id.as_str());
            api_key_secret::Entity::delete_many().filter(secrets).exec(&self.tx).await?;
            api_key::Entity::delete_by_id(id.as_str()).exec(&self.tx).await?;
            Ok(())
        })
        .await
    }

    /// Writes the event, moves the head of the log, and commits.
    ///
    /// When the answer to COMMIT is lost, the database is asked for the outcome: a transaction that holds the lock of the
    /// `authority` row knows that the lost one has ended, and that its event is there or not.
    ///
    /// # Errors
    /// [`StorageError::OutcomeUnknown`] when the database could not be asked; any other means that nothing was changed.
    pub async fn commit(self, event: AuditEvent) -> Result<Committed, StorageError> {
        let Self { reads: ReadTx { tx, now, revision }, store, head_hash, log_format_min, _turn } = self;
        let log_format = i32::try_from(event.action.log_format()).unwrap_or(i32::MAX);
        let secret_version = store.keyring.current();
        let hash = store
            .keyring
            .chain(head_hash, revision, now, &event, secret_version)
            .ok_or(StorageError::corrupt("authority", "secret_checks", "1"))?;
        bounded(async {
            let logged = LoggedEvent { revision, time: now, event, secret_version, hash };
            audit_event::Entity::insert(rows::event::to_row(logged)?).exec_without_returning(&tx).await?;
            let head = authority::ActiveModel {
                revision: Set(revision.0),
                head_hash: Set(hash.0.to_vec()),
                // Under the lock, so no replica of an older build joins after it without noticing.
                log_format_min: Set(std::cmp::max(log_format_min, log_format)),
                ..Default::default()
            };
            let mut update = authority::Entity::update_many().set(head);
            if log_format_min < log_format && log_format > LAST_UNCHECKED_FORMAT {
                update = update.col_expr(authority::Column::LeaseMs, Expr::col(authority::Column::LeaseMs).add(1));
            }
            update.filter(authority::Column::Id.eq(1)).exec(&tx).await?;
            if tx.get_database_backend() == DbBackend::Postgres {
                let wake = Statement::from_sql_and_values(
                    DbBackend::Postgres,
                    "SELECT pg_notify($1, $2)",
                    [CHANNEL.into(), revision.to_string().into()],
                );
                tx.query_one_raw(wake).await?;
            }
            Ok(())
        })
        .await?;
        let committed = Committed { revision, hash, time: now };
        match bounded(async { Ok(tx.commit().await?) }).await {
            Ok(()) => Ok(committed),
            // The database says itself that it gave the transaction up.
            Err(conflict @ StorageError::Conflict(_)) => Err(conflict),
            Err(lost) => store.resolve_unknown_commit(lost, revision, hash).await.map(|()| committed),
        }
    }

    /// Ends the transaction without a change, and returns when all that it has read is as durable as a commit. See
    /// [`Store::await_durability`].
    ///
    /// # Errors
    /// When the database did not commit.
    pub async fn commit_unchanged(self) -> Result<(), StorageError> {
        let Self { reads: ReadTx { tx, .. }, store, .. } = self;
        bounded(async {
            if store.kind() != StorageKind::Sqlite {
                raise_barrier(&tx).await?;
            }
            Ok(tx.commit().await?)
        })
        .await
    }
}

/// Writes a value that differs from the last one: a transaction that changes nothing is not waited for by standbys.
async fn raise_barrier(connection: &impl ConnectionTrait) -> Result<(), StorageError> {
    durability::Entity::update_many()
        .col_expr(durability::Column::Barrier, Expr::col(durability::Column::Barrier).add(1))
        .filter(durability::Column::Id.eq(1))
        .exec(connection)
        .await?;
    Ok(())
}

impl Store {
    /// Finds out whether the change that would have made `revision` stands. That its event is visible does not say that
    /// standbys have it, so the answer "it stands" ends with a commit of its own.
    async fn resolve_unknown_commit(
        &self,
        lost: StorageError,
        revision: Revision,
        hash: ChainHash,
    ) -> Result<(), StorageError> {
        for attempt in 1..=OUTCOME_ATTEMPTS {
            let found = bounded(async {
                let (tx, ..) = self.lock_authority().await?;
                let event = audit_event::Entity::find_by_id(revision.0).one(&tx).await?;
                let stands = event.is_some_and(|event| event.hash == hash.0);
                if stands && self.kind() != StorageKind::Sqlite {
                    raise_barrier(&tx).await?;
                    tx.commit().await?;
                } else {
                    // Needs no room on a disk that is full.
                    tx.rollback().await?;
                }
                Ok(stands)
            })
            .await;
            match found {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(lost),
                Err(error) => {
                    tracing::warn!(attempt, error = %error, "the outcome of a COMMIT is unknown; asking again");
                }
            }
        }
        Err(StorageError::OutcomeUnknown(Box::new(lost)))
    }
}
