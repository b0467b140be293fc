//! Pages of a listing: how many, and where the last one ended.

use key_authority_domain::id::{AccountId, Revision};

/// Which accounts a caller may see. Every query starts with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountScope {
    /// Every account.
    All,
    /// These alone.
    Only(Vec<AccountId>),
}

/// Where a listing of keys or accounts, newest first, goes on: after this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// The revision that created it.
    pub create_revision: Revision,
    /// Its ID.
    pub id: String,
}

/// A page, and where the next one begins; None after the last.
#[derive(Debug, Clone)]
pub struct Page<T, C> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one begins.
    pub next: Option<C>,
}

/// Cuts one item more than was asked for off, and tells where the next page begins if there was one.
pub(crate) fn cut<T, C>(mut items: Vec<T>, size: u32, cursor: impl Fn(&T) -> C) -> Page<T, C> {
    let size = size as usize;
    let has_more = items.len() > size;
    items.truncate(size);
    let next = items.last().filter(|_| has_more).map(cursor);
    Page { items, next }
}
