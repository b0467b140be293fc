//! Lookup of the keys that already hold tokens or IDs, for many at once.

use std::collections::{HashMap, HashSet};

use key_authority_domain::id::{AccountId, KeyId, Revision};
use key_authority_domain::token::TokenDigest;
use sea_orm::{ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};

use crate::entity::{api_key, api_key_secret};
use crate::error::StorageError;
use crate::mapping::RowContext;
use crate::one_of::is_one_of;
use crate::read_tx::{IDS_PER_STATEMENT, ReadTx};
use crate::timeout::bounded;

/// The key that holds a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The ID of the key.
    pub key_id: KeyId,
    /// The account that owns the key.
    pub account: AccountId,
    /// The revision that created the key.
    pub create_revision: Revision,
}

impl ReadTx {
    /// The keys that hold these tokens, including retired ones.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn holders(&self, digests: &[TokenDigest]) -> Result<HashMap<TokenDigest, Holder>, StorageError> {
        use api_key_secret::Column;
        let mut held = Vec::new();
        for digests in digests.chunks(IDS_PER_STATEMENT) {
            let digests = digests.iter().map(|digest| digest.0.to_vec());
            let these = is_one_of(self.tx.get_database_backend(), Column::Digest, digests);
            let select = api_key_secret::Entity::find().filter(these);
            let select = select.select_only().column(Column::Digest).column(Column::KeyId);
            let found: Vec<(Vec<u8>, String)> = bounded(async { Ok(select.into_tuple().all(&self.tx).await?) }).await?;
            held.extend(found);
        }
        let ids: Vec<&str> = held.iter().map(|(_, id)| id.as_str()).collect();
        let owners = self.owners(&ids).await?;
        held.iter()
            .map(|(digest, id)| {
                let row = RowContext { table: "api_key_secret", id };
                let holder = owners.get(id).ok_or_else(|| row.corrupt("key_id"))?;
                Ok((TokenDigest(row.bytes("digest", digest)?), holder.clone()))
            })
            .collect()
    }

    /// The IDs that belong to existing keys.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn existing_key_ids(&self, ids: &[KeyId]) -> Result<HashSet<KeyId>, StorageError> {
        let ids: Vec<&str> = ids.iter().map(KeyId::as_str).collect();
        Ok(self.owners(&ids).await?.into_values().map(|holder| holder.key_id).collect())
    }

    async fn owners(&self, ids: &[&str]) -> Result<HashMap<String, Holder>, StorageError> {
        use api_key::Column;
        let mut owners = HashMap::new();
        for ids in ids.chunks(IDS_PER_STATEMENT) {
            let these = is_one_of(self.tx.get_database_backend(), Column::Id, ids.iter().copied());
            let select = api_key::Entity::find().filter(these);
            let select = select.select_only().columns([Column::Id, Column::Account]).column(Column::CreateRevision);
            let found: Vec<(String, String, i64)> =
                bounded(async { Ok(select.into_tuple().all(&self.tx).await?) }).await?;
            for (id, account, create_revision) in found {
                let row = RowContext { table: "api_key", id: &id };
                let key_id = row.valid("id", KeyId::new(&id))?;
                let account = row.valid("account", AccountId::new(&account))?;
                owners.insert(id, Holder { key_id, account, create_revision: Revision(create_revision) });
            }
        }
        Ok(owners)
    }
}
