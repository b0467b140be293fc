//! Many keys in one change: what is there of them already, and writing those that are new.

use std::collections::{HashMap, HashSet};

use key_authority_domain::id::{AccountId, KeyId, Revision};
use key_authority_domain::key::Key;
use key_authority_domain::token::TokenDigest;
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::WriteTx;
use crate::entity::{api_key, api_key_secret};
use crate::error::StorageError;
use crate::rows::{self, Row};
use crate::store::bounded;

/// How many rows one statement writes: few enough that keys with every field at its limit fit into a packet of MariaDB's
/// 16 MiB, and that each statement is far from its time-out; more would hardly be faster.
const ROWS: usize = 250;
/// How many digests or IDs one statement asks for.
const ASKED: usize = 1_000;

/// The key of a token that is here already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its ID.
    pub key_id: KeyId,
    /// Who owns it.
    pub account: AccountId,
    /// The revision that created it.
    pub create_revision: Revision,
}

impl WriteTx<'_> {
    /// The keys of those of these tokens that are here, retired ones included.
    ///
    /// # Errors
    /// When nobody could look.
    pub async fn holders(&self, digests: &[TokenDigest]) -> Result<HashMap<TokenDigest, Holder>, StorageError> {
        use api_key_secret::Column;
        let mut held = Vec::new();
        for digests in digests.chunks(ASKED) {
            let digests = digests.iter().map(|digest| digest.0.to_vec());
            let select = api_key_secret::Entity::find().filter(Column::Digest.is_in(digests));
            let select = select.select_only().column(Column::Digest).column(Column::KeyId);
            let found: Vec<(Vec<u8>, String)> = bounded(async { Ok(select.into_tuple().all(&self.tx).await?) }).await?;
            held.extend(found);
        }
        let ids: Vec<&str> = held.iter().map(|(_, id)| id.as_str()).collect();
        let owners = self.owners(&ids).await?;
        held.iter()
            .map(|(digest, id)| {
                let row = Row { table: "api_key_secret", id };
                let holder = owners.get(id).ok_or_else(|| row.corrupt("key_id"))?;
                Ok((TokenDigest(row.bytes("digest", digest)?), holder.clone()))
            })
            .collect()
    }

    /// Which of these IDs are those of keys.
    ///
    /// # Errors
    /// When nobody could look.
    pub async fn taken(&self, ids: &[KeyId]) -> Result<HashSet<KeyId>, StorageError> {
        let ids: Vec<&str> = ids.iter().map(KeyId::as_str).collect();
        Ok(self.owners(&ids).await?.into_values().map(|holder| holder.key_id).collect())
    }

    async fn owners(&self, ids: &[&str]) -> Result<HashMap<String, Holder>, StorageError> {
        use api_key::Column;
        let mut owners = HashMap::new();
        for ids in ids.chunks(ASKED) {
            let select = api_key::Entity::find().filter(Column::Id.is_in(ids.iter().copied()));
            let select = select.select_only().columns([Column::Id, Column::Account]).column(Column::CreateRevision);
            let found: Vec<(String, String, i64)> =
                bounded(async { Ok(select.into_tuple().all(&self.tx).await?) }).await?;
            for (id, account, create_revision) in found {
                let row = Row { table: "api_key", id: &id };
                let key_id = row.valid("id", KeyId::new(&id))?;
                let account = row.valid("account", AccountId::new(&account))?;
                owners.insert(id, Holder { key_id, account, create_revision: Revision(create_revision) });
            }
        }
        Ok(owners)
    }

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
