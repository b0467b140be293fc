//! Inserts of many keys in one change.

use key_authority_domain::key::Key;
use sea_orm::ActiveValue::Set;
use sea_orm::EntityTrait;

use super::WriteTx;
use crate::entity::{api_key, api_key_secret};
use crate::error::StorageError;
use crate::mapping;
use crate::timeout::bounded;

/// Maximum number of rows in one statement. It stays far below the timeout; larger statements are hardly faster.
const ROWS: usize = 250;
/// Maximum size of the keys in one statement, in bytes. The default limit of MariaDB is 16 MiB.
const BYTES: usize = 4 * 1024 * 1024;

impl WriteTx<'_> {
    /// Inserts keys and their secrets. All have the revision of the change, by which replicas find them.
    ///
    /// If the ID or a digest of one key already exists, the database rejects the statement. To find which one, the
    /// caller reads before. The lock is held for the whole insert and blocks all other changes.
    ///
    /// # Errors
    /// If the write failed. Then the change must be rolled back.
    pub async fn insert_keys(&self, keys: &[Key]) -> Result<(), StorageError> {
        for keys in keys.chunks(ROWS) {
            let mut rows: Vec<_> = keys.iter().map(new_row).collect();
            while !rows.is_empty() {
                let rest = rows.split_off(fitting(&rows));
                let insert = api_key::Entity::insert_many(std::mem::replace(&mut rows, rest));
                bounded(async { Ok(insert.exec_without_returning(self.writer()).await?) }).await?;
            }
            // Rows of secrets are short, so only their number is limited.
            let secrets = keys.iter().flat_map(|key| key.secrets.iter().map(move |secret| (key, secret)));
            let rows = secrets.map(|(key, secret)| mapping::key::secret_to_row(key, secret));
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            for rows in rows.chunks(ROWS) {
                let insert = api_key_secret::Entity::insert_many(rows.to_vec());
                bounded(async { Ok(insert.exec_without_returning(self.writer()).await?) }).await?;
            }
        }
        Ok(())
    }
}

/// The row of a key that has not been used.
fn new_row(key: &Key) -> api_key::ActiveModel {
    api_key::ActiveModel { use_count: Set(0), ..mapping::key::to_row(key) }
}

/// Number of rows that fit into one statement, at least one.
fn fitting(rows: &[api_key::ActiveModel]) -> usize {
    let mut bytes = 0;
    let fits = |row: &&api_key::ActiveModel| {
        bytes += size(row);
        bytes <= BYTES
    };
    rows.iter().take_while(fits).count().max(1)
}

/// Total size of the fields of a row that may be long, in bytes.
fn size(row: &api_key::ActiveModel) -> usize {
    let texts = [&row.display_name, &row.description, &row.scopes, &row.projects, &row.networks, &row.labels];
    texts.into_iter().filter_map(|text| text.try_as_ref()).map(String::len).sum()
}
