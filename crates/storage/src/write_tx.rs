//! A change: begin, writes, and `commit(AuditEvent)` as the only way to complete it.
//!
//! `begin` takes the lock of the `authority` row with an UPDATE and holds it to the end. Under the lock no other
//! process can make a change: reads are current until the commit, counts are exact, and replayed requests are detected.
//! Dropping the transaction rolls it back.

mod bulk;
pub mod revoke;

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};

use key_authority_domain::account::Account;
use key_authority_domain::audit::{AuditEvent, ChainHash, LoggedEvent};
use key_authority_domain::id::{AccountId, Actor, KeyId, Revision};
use key_authority_domain::key::Key;
use key_authority_domain::secret::SecretVersion;
use key_authority_domain::time::Timestamp;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, QueryFilter, QuerySelect, Statement,
    TransactionTrait,
};

use crate::entity::{account, api_key, api_key_secret, audit_event, authority, durability};
use crate::error::StorageError;
use crate::mapping::{self, AUTHORITY, RowContext};
use crate::notify::CHANNEL;
use crate::read_tx::{ReadTx, authority_now};
use crate::settings::{head_of, missing_secret};
use crate::store::{StorageKind, Store};
use crate::timeout::bounded;
use crate::writer_queue::{QueueFull, Urgency, WAITING_MAX, WriterTurn};

/// The last log format whose builds do not check `log_format_min`. They join only if `lease_ms` equals their lease, so
/// the first event of a later format changes `lease_ms` to keep them out. Newer builds use `lease_us`.
const LAST_UNCHECKED_FORMAT: i32 = 2;
/// Maximum number of attempts to find the outcome of a COMMIT whose response was lost.
const OUTCOME_ATTEMPTS: u32 = 3;

/// A change in progress, and the reads for it. Its revision is the one that the commit creates.
pub struct WriteTx<'a> {
    reads: ReadTx,
    store: &'a Store,
    head_hash: ChainHash,
    log_format_min: i32,
    missing_secret: Option<SecretVersion>,
    has_writes: AtomicBool,
    _turn: WriterTurn,
}

impl Deref for WriteTx<'_> {
    type Target = ReadTx;

    fn deref(&self) -> &ReadTx {
        &self.reads
    }
}

/// A committed change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The revision of the change.
    pub revision: Revision,
    /// The hash of the audit event.
    pub hash: ChainHash,
    /// Time of the change, by the database's clock.
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

    /// Begins a change of `actor`: waits in the writer queue and takes the lock.
    ///
    /// # Errors
    /// If the database cannot be reached, or the lock is not acquired within the timeout;
    /// [`StorageError::TooManyChanges`] if too many changes of the actor wait already.
    pub async fn begin_with(&self, urgency: Urgency, actor: Option<&Actor>) -> Result<WriteTx<'_>, StorageError> {
        let locked = bounded(self.turn_and_lock(urgency, actor)).await;
        let (turn, (tx, row, now)) = locked.map_err(|error| self.explained(error))?;
        let head = head_of(row.revision, &row.head_hash)?;
        let reads = ReadTx { tx, now, revision: head.revision.next() };
        Ok(WriteTx {
            reads,
            store: self,
            head_hash: head.hash,
            log_format_min: row.log_format_min,
            missing_secret: missing_secret(&row.secret_checks, &self.keyring)?,
            has_writes: AtomicBool::new(false),
            _turn: turn,
        })
    }

    /// Waits until everything that was visible before the call is as durable as a commit. With synchronous replication,
    /// a change is visible before the standbys have it, so a read alone does not prove that the change is durable.
    ///
    /// # Errors
    /// If the database did not answer, or did not commit.
    pub async fn await_durability(&self) -> Result<(), StorageError> {
        // On SQLite, visible data is durable.
        if self.kind() == StorageKind::Sqlite {
            return Ok(());
        }
        bounded(raise_barrier(&self.db)).await
    }

    /// Waits for the turn in the writer queue and takes the lock. The caller sets one timeout for both: if the database
    /// hangs, each earlier writer may use its whole timeout.
    pub(crate) async fn turn_and_lock(
        &self,
        urgency: Urgency,
        actor: Option<&Actor>,
    ) -> Result<(WriterTurn, (DatabaseTransaction, authority::Model, Timestamp)), StorageError> {
        let full = |QueueFull| StorageError::TooManyChanges { max: WAITING_MAX };
        let turn = self.writers.turn(urgency, actor).await.map_err(full)?;
        Ok((turn, self.lock_authority().await?))
    }

    /// Takes the lock with an UPDATE that changes nothing, and then reads. So the read sees the last committed change
    /// at every isolation level, and SQLite does not have to upgrade a read lock.
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
    /// The transaction, for a statement that writes. All writes use it, so that [`WriteTx::commit_unchanged`] detects
    /// them.
    fn writer(&self) -> &DatabaseTransaction {
        self.has_writes.store(true, Ordering::Relaxed);
        &self.reads.tx
    }

    /// The newest version of the authority secret that the database uses and this process lacks. Tokens with this
    /// version cannot be recognized.
    #[must_use]
    pub fn missing_secret(&self) -> Option<SecretVersion> {
        self.missing_secret
    }

    /// Advances the time of the change to `time` if that is later: to a time that the process has already used for
    /// decisions.
    #[must_use]
    pub fn not_before(mut self, time: Timestamp) -> Self {
        self.reads = self.reads.not_before(time);
        self
    }

    /// Inserts an account.
    ///
    /// # Errors
    /// If the write failed.
    pub async fn insert_account(&self, account: &Account) -> Result<(), StorageError> {
        let insert = account::Entity::insert(mapping::account::to_row(account));
        bounded(async { Ok(insert.exec_without_returning(self.writer()).await.map(|_| ())?) }).await
    }

    /// Updates an account, and sets its update time and revision.
    ///
    /// # Errors
    /// If the write failed.
    pub async fn update_account(&self, account: &mut Account) -> Result<(), StorageError> {
        (account.update_time, account.revision) = (self.now, self.revision);
        let update = account::Entity::update_many()
            .set(mapping::account::to_row(account))
            .filter(account::Column::Id.eq(account.id.as_str()));
        bounded(async { Ok(update.exec(self.writer()).await.map(|_| ())?) }).await
    }

    /// Deletes an account that has no keys.
    ///
    /// # Errors
    /// If the write failed.
    pub async fn delete_account(&self, id: &AccountId) -> Result<(), StorageError> {
        bounded(async { Ok(account::Entity::delete_by_id(id.as_str()).exec(self.writer()).await.map(|_| ())?) }).await
    }

    /// Inserts a key and its secrets.
    ///
    /// # Errors
    /// If the write failed.
    pub async fn insert_key(&self, key: &Key) -> Result<(), StorageError> {
        self.insert_keys(std::slice::from_ref(key)).await
    }

    /// Updates a key, and sets its update time and revision. Its secrets and its usage stay unchanged.
    ///
    /// # Errors
    /// If the write failed.
    pub async fn update_key(&self, key: &mut Key) -> Result<(), StorageError> {
        (key.update_time, key.revision) = (self.now, self.revision);
        let update = api_key::Entity::update_many()
            .set(mapping::key::to_row(key))
            .filter(api_key::Column::Id.eq(key.id.as_str()));
        bounded(async { Ok(update.exec(self.writer()).await.map(|_| ())?) }).await
    }

    /// Updates a key and its secrets: retires, inserts and deletes secrets.
    ///
    /// # Errors
    /// If the write failed.
    pub async fn update_key_and_secrets(&self, key: &mut Key) -> Result<(), StorageError> {
        self.update_key(key).await?;
        let of_key = || api_key_secret::Column::KeyId.eq(key.id.as_str());
        let row = RowContext { table: "api_key_secret", id: key.id.as_str() };
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
                        .exec(self.writer())
                        .await?;
                } else {
                    let row = mapping::key::secret_to_row(key, secret)?;
                    api_key_secret::Entity::insert(row).exec_without_returning(self.writer()).await?;
                }
            }
            let removed = of_key().and(api_key_secret::Column::Version.is_not_in(kept));
            api_key_secret::Entity::delete_many().filter(removed).exec(self.writer()).await?;
            Ok(())
        })
        .await
    }

    /// Deletes a key and its secrets.
    ///
    /// # Errors
    /// If the write failed.
    pub async fn delete_key(&self, id: &KeyId) -> Result<(), StorageError> {
        bounded(async {
            // The key's row is locked before the rows of its secrets, in the same order as for usage, to avoid a
            // deadlock.
            api_key::Entity::update_many()
                .col_expr(api_key::Column::Revision, Expr::value(self.revision.0))
                .filter(api_key::Column::Id.eq(id.as_str()))
                .exec(self.writer())
                .await?;
            let secrets = api_key_secret::Column::KeyId.eq(id.as_str());
            api_key_secret::Entity::delete_many().filter(secrets).exec(self.writer()).await?;
            api_key::Entity::delete_by_id(id.as_str()).exec(self.writer()).await?;
            Ok(())
        })
        .await
    }

    /// Writes the event, updates the head of the log, and commits.
    ///
    /// If the response to COMMIT is lost, the outcome is read from the database: a new transaction that holds the lock
    /// of the `authority` row proves that the lost one has ended, and finds its event or not.
    ///
    /// # Errors
    /// [`StorageError::OutcomeUnknown`] if the outcome could not be read. Any other error means that nothing
    /// was changed.
    pub async fn commit(self, event: AuditEvent) -> Result<Committed, StorageError> {
        let Self { reads: ReadTx { tx, now, revision }, store, head_hash, log_format_min, _turn, .. } = self;
        let log_format = i32::try_from(event.action.log_format()).unwrap_or(i32::MAX);
        let secret_version = store.keyring.current();
        let hash = store
            .keyring
            .chain(head_hash, revision, now, &event, secret_version)
            .ok_or_else(|| AUTHORITY.corrupt("secret_checks"))?;
        bounded(async {
            let logged = LoggedEvent { revision, time: now, event, secret_version, hash };
            audit_event::Entity::insert(mapping::event::to_row(logged)?).exec_without_returning(&tx).await?;
            let head = authority::ActiveModel {
                revision: Set(revision.0),
                head_hash: Set(hash.0.to_vec()),
                // Under the lock, so that a replica of an older build that joins later sees it.
                log_format_min: Set(std::cmp::max(log_format_min, log_format)),
                ..Default::default()
            };
            let mut update = authority::Entity::update_many().set(head);
            if log_format_min < log_format && log_format > LAST_UNCHECKED_FORMAT {
                update = update.col_expr(authority::Column::LeaseMs, Expr::col(authority::Column::LeaseMs).add(1));
            }
            update.filter(authority::Column::Id.eq(1)).exec(&tx).await?;
            if tx.get_database_backend() == DbBackend::Postgres {
                let notification = Statement::from_sql_and_values(
                    DbBackend::Postgres,
                    "SELECT pg_notify($1, $2)",
                    [CHANNEL.into(), revision.to_string().into()],
                );
                tx.query_one_raw(notification).await?;
            }
            Ok(())
        })
        .await?;
        let committed = Committed { revision, hash, time: now };
        match bounded(async { Ok(tx.commit().await?) }).await {
            Ok(()) => Ok(committed),
            // The database reports that it rolled the transaction back.
            Err(conflict @ StorageError::Conflict(_)) => Err(conflict),
            Err(lost) => store.resolve_unknown_commit(lost, revision, hash).await.map(|()| committed),
        }
    }

    /// Ends a transaction that wrote nothing, and waits until everything that it read is as durable as a commit. See
    /// [`Store::await_durability`].
    ///
    /// # Errors
    /// If the database did not commit; [`StorageError::Unaudited`] if the transaction wrote something. Then it is
    /// rolled back: a write is committed together with its audit event or not at all.
    pub async fn commit_unchanged(self) -> Result<(), StorageError> {
        let Self { reads: ReadTx { tx, .. }, store, has_writes, .. } = self;
        if has_writes.into_inner() {
            return Err(StorageError::Unaudited);
        }
        bounded(async {
            if store.kind() != StorageKind::Sqlite {
                raise_barrier(&tx).await?;
            }
            Ok(tx.commit().await?)
        })
        .await
    }
}

/// Increments the barrier: the commit of a transaction that changes nothing does not wait for standbys.
async fn raise_barrier(connection: &impl ConnectionTrait) -> Result<(), StorageError> {
    durability::Entity::update_many()
        .col_expr(durability::Column::Barrier, Expr::col(durability::Column::Barrier).add(1))
        .filter(durability::Column::Id.eq(1))
        .exec(connection)
        .await?;
    Ok(())
}

impl Store {
    /// Finds whether the change with `revision` was committed. Its event may be visible before standbys have it, so a
    /// positive result is confirmed with another commit.
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
                let is_committed = event.is_some_and(|event| event.hash == hash.0);
                if is_committed && self.kind() != StorageKind::Sqlite {
                    raise_barrier(&tx).await?;
                    tx.commit().await?;
                } else {
                    // Succeeds even if the disk is full.
                    tx.rollback().await?;
                }
                Ok(is_committed)
            })
            .await;
            match found {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(lost),
                Err(error) => {
                    tracing::warn!(attempt, error = %error, "commit outcome unknown; reading it from the database");
                }
            }
        }
        Err(StorageError::OutcomeUnknown(Box::new(lost)))
    }
}
