//! The secret, the database connections and, on `SQLite`, the database file of a server.

use std::sync::Arc;

use key_authority_domain::secret::Keyring;
use key_authority_replica::protocol::timings::LeaseTimings;
use key_authority_storage::Store;
use key_authority_storage::sqlite_file::{ClaimedFile, Origin, SqliteFileError};
use tokio_util::sync::CancellationToken;

use super::background::keep_file;
use super::bootstrap::{self, BootstrapError};
use super::config::Config;
use super::connections::ConnectionPlan;
use super::file_permissions::warn_of_open_files;
use super::serve_error::ServeError;
use super::startup::{self, StartupError};
use crate::observability::error_chain::whole;

/// The resources of the server: its secret and its database connections.
pub(super) struct Resources {
    pub(super) keyring: Arc<Keyring>,
    pub(super) store: Store,
    /// The number of its connections.
    pub(super) reads_max: u32,
    /// Separate connections for changes and their propagation: a flood of reads can use all connections of the other
    /// pool, and must not delay a revocation.
    pub(super) changes: Store,
    /// A separate connection, so that a flush of usage never delays an operator's call, if there are enough.
    pub(super) usage: Store,
    /// Whether a session listens for notifications of commits.
    pub(super) listens: bool,
    pub(super) timings: LeaseTimings,
    /// The file of an `SQLite` database.
    pub(super) file: Option<&'static ClaimedFile>,
}

impl Resources {
    /// Opens them, in the order of the startup.
    ///
    /// # Errors
    /// [`ServeError`].
    pub(super) async fn open(config: &Config) -> Result<Self, ServeError> {
        // Nothing is made before the file is claimed: another server on the same file depends on it as it is.
        let file = startup::claim_to_serve(config).await?;
        let keyring = startup::keyring(config, file.is_some_and(|file| file.origin() == Origin::New))?;
        let plan = ConnectionPlan::agree(config).await?;
        let store = startup::connect(config, &keyring, plan.reads).await?;
        if let Some(file) = file {
            file.keep_wal_at_close().map_err(StartupError::from)?;
            startup::check_file(&store, file).await?;
        }
        startup::prepare(config, &store, file.map(ClaimedFile::lock)).await?;
        startup::check_settings(&store).await?;
        if let Some(file) = file {
            // An earlier server may have been killed; no change should wait for its lease.
            store.clear_registry(file.lock()).await.map_err(BootstrapError::from)?;
        }
        let changes = startup::connect(config, &keyring, plan.changes).await?;
        let usage = if plan.has_usage { startup::connect(config, &keyring, 1).await? } else { store.clone() };
        let timings = LeaseTimings::agree(&store, config.lease).await?;
        make_first_key(config, &store).await?;
        if let Some(file) = file {
            file.complete_first_start().await.map_err(StartupError::from)?;
        }
        warn_of_open_files(config);
        let (reads_max, listens) = (plan.reads, plan.listens);
        Ok(Self { keyring, store, reads_max, changes, usage, listens, timings, file })
    }

    /// Makes the checkpoints of an `SQLite` file until `ended`. Returns an error if another program replaces the file.
    pub(super) fn keep_file(
        &self,
        ended: CancellationToken,
    ) -> impl Future<Output = Option<SqliteFileError>> + Send + use<> {
        let (file, store) = (self.file, self.changes.clone());
        async move { keep_file(file?, store, ended).await }
    }

    /// Closes the connections.
    pub(super) async fn close(&self) {
        if let Err(error) = startup::close(&self.changes, self.file).await {
            tracing::warn!(error = %whole(&error), "cannot copy the -wal into the SQLite file; the next start reads it");
        }
        self.store.close().await;
        self.usage.close().await;
    }
}

/// Makes the first root key, from the file that the operator names or from a generated one for the embedded default.
async fn make_first_key(config: &Config, store: &Store) -> Result<(), ServeError> {
    let file = match &config.bootstrap_token_file {
        Some(file) => file.clone(),
        None if config.database.embedded => {
            let file = config.root_token_file();
            bootstrap::prepare_file(store, &file).await?;
            file
        }
        None => {
            let system = key_authority_domain::id::AccountId::system();
            if store.account(&system).await.map_err(BootstrapError::from)?.is_none() {
                tracing::warn!(
                    "no root key exists; run `key-authority bootstrap`, or start with --bootstrap-token-file"
                );
            }
            return Ok(());
        }
    };
    if bootstrap::from_file(store, &file).await? {
        tracing::info!(file = %file.display(), "created the root key from the token in this file");
    } else if config.bootstrap_token_file.is_some() {
        tracing::info!(file = %file.display(), "a root key existed before; ignoring the token in this file");
    }
    Ok(())
}
