//! Writing many keys in one change.

use key_authority_domain::key::Key;
use sea_orm::ActiveValue::Set;
use sea_orm::EntityTrait;

use super::WriteTx;
use crate::entity::{api_key, api_key_secret};
use crate::error::StorageError;
use crate::rows;
use crate::store::bounded;

/// Most rows that one statement writes: each is far from its time-out, and more would hardly be faster.
const ROWS: usize = 250;
/// Most bytes that one statement writes of keys. MariaDB takes 16 MiB if nothing else is said.
const BYTES: usize = 4 * 1024 * 1024;

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
            let mut rows: Vec<_> = keys.iter().map(new_row).collect();
            while !rows.is_empty() {
                let rest = rows.split_off(fitting(&rows));
                let insert = api_key::Entity::insert_many(std::mem::replace(&mut rows, rest));
                bounded(async { Ok(insert.exec_without_returning(&self.tx).await?) }).await?;
            }
            // Nothing of a secret is long.
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

/// How many of the rows one statement writes: at least the first.
fn fitting(rows: &[api_key::ActiveModel]) -> usize {
    let mut bytes = 0;
    let fits = |row: &&api_key::ActiveModel| {
        bytes += size(row);
        bytes <= BYTES
    };
    rows.iter().take_while(fits).count().max(1)
}

/// The bytes of those fields of a row that may be long.
fn size(row: &api_key::ActiveModel) -> usize {
    let texts = [&row.display_name, &row.description, &row.scopes, &row.projects, &row.networks, &row.labels];
    texts.into_iter().filter_map(|text| text.try_as_ref()).map(String::len).sum()
}
