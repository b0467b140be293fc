//! Settings in the `authority` row that all replicas must agree on, and the head of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use key_authority_domain::audit::ChainHash;
use key_authority_domain::id::Revision;
use key_authority_domain::secret::{Keyring, SecretVersion};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter};

use crate::entity::{authority, replica};
use crate::error::StorageError;
use crate::mapping::AUTHORITY;
use crate::store::Store;
use crate::timeout::bounded;
use crate::writer_queue::Urgency;

/// The head of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Head {
    /// The revision of the last event, or 0 if there is none.
    pub revision: Revision,
    /// The hash of the last event.
    pub hash: ChainHash,
}

/// A server must not use this database.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The authority secret differs from the one that the database was used with.
    #[error(
        "the authority secret does not match this database (version {version} differs); \
         start with the secret file of this database"
    )]
    SecretMismatch {
        /// The version that differs.
        version: u32,
    },
    /// A version of the authority secret is missing from the secret file.
    #[error("version {version} of the authority secret, which this database uses, is not in the secret file")]
    SecretMissing {
        /// The version.
        version: u32,
    },
    /// The database did not answer.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Store {
    /// The head of the log.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn head(&self) -> Result<Head, StorageError> {
        bounded(async {
            let row = row(&self.db).await?;
            head_of(row.revision, &row.head_hash)
        })
        .await
    }

    /// Checks the authority secret against the database, and stores the check values of new versions.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub async fn check_secret(&self) -> Result<(), SettingsError> {
        // Under the lock, so that versions that another replica adds concurrently are checked as well.
        let (_turn, (tx, stored, _)) = bounded(self.turn_and_lock(Urgency::Ordinary, None)).await?;
        let merged = merge_checks(&stored.secret_checks, &self.keyring)?;
        bounded(async {
            if merged != stored.secret_checks {
                authority::Entity::update_many()
                    .col_expr(authority::Column::SecretChecks, Expr::value(merged))
                    .filter(authority::Column::Id.eq(1))
                    .exec(&tx)
                    .await?;
            }
            Ok(tx.commit().await?)
        })
        .await?;
        Ok(())
    }

    /// The lease that all replicas use.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn lease(&self) -> Result<Duration, StorageError> {
        lease_of(&bounded(row(&self.db)).await?)
    }

    /// Sets the lease that all replicas use. Returns false, and changes nothing, if a replica is registered.
    ///
    /// # Errors
    /// If the write failed. If the database did not answer, the lease may be set all the same.
    pub async fn set_lease(&self, lease: Duration) -> Result<bool, StorageError> {
        // Under the lock that replicas take to join, so that none joins concurrently.
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

/// The head of the log in the columns of the `authority` row.
pub(crate) fn head_of(revision: i64, hash: &[u8]) -> Result<Head, StorageError> {
    Ok(Head { revision: Revision(revision), hash: AUTHORITY.hash("head_hash", hash)? })
}

/// The lease in the `authority` row.
pub(crate) fn lease_of(row: &authority::Model) -> Result<Duration, StorageError> {
    Ok(Duration::from_micros(AUTHORITY.number("lease_us", row.lease_us)?))
}

pub(crate) async fn row(db: &impl ConnectionTrait) -> Result<authority::Model, StorageError> {
    authority::Entity::find_by_id(1).one(db).await?.ok_or_else(|| AUTHORITY.corrupt("id"))
}

/// The check values of the versions in use, as `<version>:<hexadecimal>` joined by commas, after a comparison of the
/// stored ones with the keyring. A next version of the keyring is in use if it is stored: another replica uses it
/// already.
fn merge_checks(stored: &str, keyring: &Keyring) -> Result<String, SettingsError> {
    let hex_of = |value: [u8; 32]| {
        let mut hex = String::new();
        for byte in value {
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    };
    let values: BTreeMap<u32, String> =
        keyring.check_values().map(|check| (check.version, hex_of(check.value))).collect();
    let mut used: BTreeSet<u32> =
        keyring.check_values().filter(|check| !check.is_next).map(|check| check.version).collect();
    for entry in entries(stored) {
        let (version, value) = entry?;
        match values.get(&version) {
            None => return Err(SettingsError::SecretMissing { version }),
            Some(mine) if mine != value => return Err(SettingsError::SecretMismatch { version }),
            Some(_) => drop(used.insert(version)),
        }
    }
    let of_used = values.into_iter().filter(|(version, _)| used.contains(version));
    Ok(of_used.map(|(version, hex)| format!("{version}:{hex}")).collect::<Vec<_>>().join(","))
}

/// The versions in use, with their check values.
fn entries(stored: &str) -> impl Iterator<Item = Result<(SecretVersion, &str), StorageError>> {
    stored.split(',').filter(|entry| !entry.is_empty()).map(|entry| {
        let entry = entry.split_once(':').and_then(|(version, value)| Some((version.parse().ok()?, value)));
        entry.ok_or_else(|| AUTHORITY.corrupt("secret_checks"))
    })
}

/// The newest version that the database uses and the keyring lacks.
pub(crate) fn missing_secret(stored: &str, keyring: &Keyring) -> Result<Option<SecretVersion>, StorageError> {
    let versions: Vec<_> = entries(stored).map(|entry| entry.map(|(version, _)| version)).collect::<Result<_, _>>()?;
    Ok(versions.into_iter().filter(|version| !keyring.has(*version)).max())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(text: &str) -> Keyring {
        Keyring::parse(text).unwrap()
    }

    #[test]
    fn the_first_secret_is_stored_and_another_is_rejected() {
        let one = format!("1:{}", "07".repeat(32));
        let stored = merge_checks("", &ring(&one)).unwrap();
        assert_eq!(merge_checks(&stored, &ring(&one)).unwrap(), stored);
        let other = ring(&"08".repeat(32));
        assert!(matches!(merge_checks(&stored, &other), Err(SettingsError::SecretMismatch { version: 1 })));
        let both = ring(&format!("{one}\n2:{}", "08".repeat(32)));
        let stored_both = merge_checks(&stored, &both).unwrap();
        assert!(matches!(merge_checks(&stored_both, &ring(&one)), Err(SettingsError::SecretMissing { version: 2 })));
        assert!(!stored_both.contains(&"07".repeat(8)));

        assert_eq!(missing_secret(&stored_both, &ring(&one)).unwrap(), Some(2));
        assert_eq!(missing_secret(&stored, &ring(&one)).unwrap(), None);
        assert!(missing_secret("two:", &ring(&one)).is_err());

        let next = ring(&format!("{one}\nnext 2:{}", "08".repeat(32)));
        assert_eq!(merge_checks(&stored, &next).unwrap(), stored, "replicas without it may start");
        assert_eq!(merge_checks(&stored_both, &next).unwrap(), stored_both, "another replica uses it already");
        let other_next = ring(&format!("{one}\nnext 2:{}", "09".repeat(32)));
        assert!(matches!(merge_checks(&stored_both, &other_next), Err(SettingsError::SecretMismatch { version: 2 })));
    }
}
