//! What the `authority` row holds beside the head of the log: settings that all replicas must agree on.

use std::fmt::Write;
use std::time::Duration;

use key_authority_domain::audit::ChainHash;
use key_authority_domain::id::Revision;
use key_authority_domain::secret::Keyring;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter};

use crate::entity::{authority, replica};
use crate::error::StorageError;
use crate::rows::Row;
use crate::store::{Store, bounded};
use crate::writer_queue::Urgency;

/// The end of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Head {
    /// The revision of the last event; 0 before the first.
    pub revision: Revision,
    /// Its hash.
    pub hash: ChainHash,
}

/// Why a server must not work with this database.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The authority secret is another than the one the database was filled with.
    #[error(
        "the authority secret is not the one this database was filled with (version {version} differs); \
         start with the secret file that belongs to it"
    )]
    OtherSecret {
        /// The version that differs.
        version: u32,
    },
    /// A version of the authority secret is missing from the secret file.
    #[error(
        "version {version} of the authority secret, which this database was filled with, is not in the secret file"
    )]
    SecretMissing {
        /// The version.
        version: u32,
    },
    /// Nobody could look.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Store {
    /// The end of the log.
    ///
    /// # Errors
    /// When nobody could look.
    pub async fn head(&self) -> Result<Head, StorageError> {
        bounded(async {
            let row = row(&self.db).await?;
            let hash = Row { table: "authority", id: "1" }.hash("head_hash", &row.head_hash)?;
            Ok(Head { revision: Revision(row.revision), hash })
        })
        .await
    }

    /// Checks the authority secret against the database and notes the versions that are new to it.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub async fn check_secret(&self) -> Result<(), SettingsError> {
        // Under the lock, so that what another replica notes meanwhile is looked at as well.
        let (_turn, (tx, stored, _)) = bounded(self.turn_and_lock(Urgency::Ordinary, None)).await?;
        let noted = merge_checks(&stored.secret_checks, &self.keyring)?;
        bounded(async {
            if noted != stored.secret_checks {
                authority::Entity::update_many()
                    .col_expr(authority::Column::SecretChecks, Expr::value(noted))
                    .filter(authority::Column::Id.eq(1))
                    .exec(&tx)
                    .await?;
            }
            Ok(tx.commit().await?)
        })
        .await?;
        Ok(())
    }

    /// The lease that all replicas keep to.
    ///
    /// # Errors
    /// When nobody could look.
    pub async fn lease(&self) -> Result<Duration, StorageError> {
        lease_of(&bounded(row(&self.db)).await?)
    }

    /// Sets the lease that all replicas keep to, unless one is registered, and says whether it did.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn set_lease(&self, lease: Duration) -> Result<bool, StorageError> {
        // Under the lock that replicas take to join, so that none does so meanwhile.
        let (_turn, (tx, ..)) = bounded(self.turn_and_lock(Urgency::Ordinary, None)).await?;
        bounded(async {
            if replica::Entity::find().count(&tx).await? > 0 {
                return Ok(false);
            }
            let (millis, micros) = (lease.as_millis(), lease.as_micros());
            authority::Entity::update_many()
                .col_expr(authority::Column::LeaseMs, Expr::value(i64::try_from(millis).unwrap_or(i64::MAX)))
                .col_expr(authority::Column::LeaseUs, Expr::value(i64::try_from(micros).unwrap_or(i64::MAX)))
                .filter(authority::Column::Id.eq(1))
                .exec(&tx)
                .await?;
            tx.commit().await?;
            Ok(true)
        })
        .await
    }
}

/// The lease in the `authority` row.
pub(crate) fn lease_of(row: &authority::Model) -> Result<Duration, StorageError> {
    Ok(Duration::from_micros(Row { table: "authority", id: "1" }.number("lease_us", row.lease_us)?))
}

pub(crate) async fn row(db: &impl ConnectionTrait) -> Result<authority::Model, StorageError> {
    authority::Entity::find_by_id(1).one(db).await?.ok_or(StorageError::corrupt("authority", "id", "1"))
}

/// The check values of all versions, stored and held, as `<version>:<hexadecimal>` joined by commas.
fn merge_checks(stored: &str, keyring: &Keyring) -> Result<String, SettingsError> {
    let mut held: std::collections::BTreeMap<u32, String> = keyring
        .check_values()
        .map(|(version, value)| {
            let mut hex = String::new();
            for byte in value {
                let _ = write!(hex, "{byte:02x}");
            }
            (version, hex)
        })
        .collect();
    for entry in stored.split(',').filter(|entry| !entry.is_empty()) {
        let (version, value) = entry.split_once(':').ok_or(StorageError::corrupt("authority", "secret_checks", "1"))?;
        let version: u32 = version.parse().map_err(|_| StorageError::corrupt("authority", "secret_checks", "1"))?;
        match held.get(&version) {
            None => return Err(SettingsError::SecretMissing { version }),
            Some(mine) if mine != value => return Err(SettingsError::OtherSecret { version }),
            Some(_) => {}
        }
    }
    let all: Vec<String> =
        std::mem::take(&mut held).into_iter().map(|(version, hex)| format!("{version}:{hex}")).collect();
    Ok(all.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(text: &str) -> Keyring {
        Keyring::parse(text).unwrap()
    }

    #[test]
    fn the_first_secret_is_noted_and_known_again_and_another_is_refused() {
        let one = format!("1:{}", "07".repeat(32));
        let noted = merge_checks("", &ring(&one)).unwrap();
        assert_eq!(merge_checks(&noted, &ring(&one)).unwrap(), noted);
        let other = ring(&"08".repeat(32));
        assert!(matches!(merge_checks(&noted, &other), Err(SettingsError::OtherSecret { version: 1 })));
        let both = ring(&format!("{one}\n2:{}", "08".repeat(32)));
        let noted_both = merge_checks(&noted, &both).unwrap();
        assert!(matches!(merge_checks(&noted_both, &ring(&one)), Err(SettingsError::SecretMissing { version: 2 })));
        assert!(!noted_both.contains(&"07".repeat(8)));
    }
}
