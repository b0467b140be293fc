//! Pages of a list, and the cursor of the next page.

use key_authority_domain::account::Account;
use key_authority_domain::id::{AccountId, Revision};

/// The accounts that a caller may access. Every query is restricted to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountScope {
    /// All accounts.
    All,
    /// Only these accounts.
    Only(Vec<AccountId>),
}

/// The cursor of a list of accounts, newest first: the last account of the previous page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// The revision that created the account.
    pub create_revision: Revision,
    /// The ID of the account.
    pub id: String,
}

/// A page of a list. Its rows are limited in number and in bytes.
#[derive(Debug, Clone)]
pub struct Page<T, C> {
    /// The items of the page.
    pub items: Vec<T>,
    /// The cursor of the next page. None on the last page.
    pub next: Option<C>,
}

impl Newest {
    /// The cursor of the page after an account.
    #[must_use]
    pub fn after_account(account: &Account) -> Self {
        Self { create_revision: account.create_revision, id: account.id.as_str().to_owned() }
    }
}

/// Makes a page of `items`, which were read with a limit of `size + 1`: an extra item means that there is a next page.
pub(crate) fn cut<T, C>(mut items: Vec<T>, size: u32, cursor: impl Fn(&T) -> C) -> Page<T, C> {
    let size = size as usize;
    let has_more = items.len() > size;
    items.truncate(size);
    let next = items.last().filter(|_| has_more).map(cursor);
    Page { items, next }
}
