//! Writing many keys in one change.

use key_authority_domain::key::Key;
use sea_orm::ActiveValue::Set;
use sea_orm::EntityTrait;

use super::WriteTx;
use crate::entity::{api_key, api_key_secret};
use crate::error::StorageError;
use crate::rows;
use crate::store::bounded;

/// How many rows one statement writes: few enough that keys with every field at its limit fit into a packet of MariaDB's
/// 16 MiB, and that each statement is far from its time-out; more would hardly be faster.
const ROWS: usize = 250;

impl WriteTx<'_> {
    /// Writes new keys and their secrets. All belong to the one change, and have its revision: whoever follows the log
    /// finds them by it.
    ///
    /// One whose ID or digest is there already makes the database refuse all of them: who wants to know which one must ask
    /// before. The change is held open for as long as it takes, and no other is made meanwhile.
    ///
    /// # Errors
    /// When they could not be written. What was written before goes with the change.
    pub async fn insert_keys(&self, keys: &[Key]) -> Result<(), StorageError> {
        for keys in keys.chunks(ROWS) {
            let rows = keys.iter().map(new_row);
            bounded(async { Ok(api_key::Entity::insert_many(rows).exec_without_returning(&self.tx).await?) }).await?;
            let secrets = keys.iter().flat_map(|key| key.secrets.iter().map(move |secret| (key, secret)));
            let rows = secrets.map(|(key, secret)| rows::key::secret_to_row(key, secret));
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            for rows in rows.chunks(ROWS) {
                let insert = api_key_secret::Entity::insert_many(rows.to_vec());
                bounded(async { Ok(insert.exec_without_returning(&self.tx).await?) }).await?;
            }
        }
        Ok(())
    }
}

/// The row of a key that has not been used.
fn new_row(key: &Key) -> api_key::ActiveModel {
    api_key::ActiveModel { use_count: Set(0), ..rows::key::to_row(key) }
}
