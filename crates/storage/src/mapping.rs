//! Conversion between rows and domain types. An invalid row is an error that names the table, the column and the ID.

pub(crate) mod account;
pub(crate) mod event;
pub(crate) mod key;

use key_authority_domain::audit::ChainHash;
use key_authority_domain::text::ValidationError;

use crate::error::StorageError;

/// The table and ID of a row, for errors about its values.
#[derive(Clone, Copy)]
pub(crate) struct RowContext<'a> {
    pub(crate) table: &'static str,
    pub(crate) id: &'a str,
}

/// The only row of `authority`.
pub(crate) const AUTHORITY: RowContext<'static> = RowContext { table: "authority", id: "1" };

impl RowContext<'_> {
    pub(crate) fn valid<T>(self, column: &'static str, value: Result<T, ValidationError>) -> Result<T, StorageError> {
        value.map_err(|_| self.corrupt(column))
    }

    pub(crate) fn json<T: serde::de::DeserializeOwned>(
        self,
        column: &'static str,
        text: &str,
    ) -> Result<T, StorageError> {
        serde_json::from_str(text).map_err(|_| self.corrupt(column))
    }

    pub(crate) fn number<T, N>(self, column: &'static str, value: N) -> Result<T, StorageError>
    where
        T: TryFrom<N>,
    {
        T::try_from(value).map_err(|_| self.corrupt(column))
    }

    pub(crate) fn bytes<const N: usize>(self, column: &'static str, value: &[u8]) -> Result<[u8; N], StorageError> {
        value.try_into().map_err(|_| self.corrupt(column))
    }

    pub(crate) fn hash(self, column: &'static str, value: &[u8]) -> Result<ChainHash, StorageError> {
        self.bytes(column, value).map(ChainHash)
    }

    pub(crate) fn corrupt(self, column: &'static str) -> StorageError {
        StorageError::corrupt(self.table, column, self.id)
    }
}

/// A list as JSON text.
pub(crate) fn json_list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<serde_json::Value>().to_string()
}
