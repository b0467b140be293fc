//! The orders of a list of keys, and its cursors.

use sea_orm::sea_query::{BinOper, Expr, ExprTrait, Func, SimpleExpr};
use sea_orm::{Condition, DbBackend};

use crate::entity::api_key::{self, Column};

/// What a list of keys is ordered by. Keys of equal rank are ordered by their IDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRank {
    /// The creation. Keys of one change have the same rank.
    Created,
    /// The last use. A key that was never used comes before all others.
    LastUsed,
    /// The expiry. A key that never expires comes after all others.
    Expires,
    /// The display name, as the database orders texts.
    DisplayName,
}

/// The order of a list of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyOrder {
    /// What the keys are ordered by.
    pub rank: KeyRank,
    /// Whether the order is descending.
    pub is_descending: bool,
}

impl KeyOrder {
    /// Newest first.
    pub const NEWEST: Self = Self { rank: KeyRank::Created, is_descending: true };
}

/// The value of a rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RankValue {
    /// A revision, or a time in microseconds.
    Number(i64),
    /// A name.
    Text(String),
}

/// The cursor of a list of keys: the last key of the previous page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCursor {
    /// The value that the list is ordered by.
    pub value: RankValue,
    /// The ID of the key.
    pub id: String,
}

/// The rank of a key that was never used: before all times.
pub(crate) const NEVER_USED: i64 = i64::MIN + 1;
/// The rank of a key that never expires: after all times.
pub(crate) const NEVER_EXPIRES: i64 = i64::MAX;

impl KeyRank {
    pub(crate) fn expression(self) -> SimpleExpr {
        let or = |column: Column, never: i64| Func::coalesce([Expr::col(column), Expr::val(never)]).into();
        match self {
            Self::Created => Expr::col(Column::CreateRevision),
            Self::LastUsed => or(Column::LastUsedTime, NEVER_USED),
            Self::Expires => or(Column::ExpireTime, NEVER_EXPIRES),
            Self::DisplayName => Expr::col(Column::DisplayName),
        }
    }
}

impl KeyOrder {
    /// The keys after the cursor.
    pub(crate) fn beyond(self, backend: DbBackend, cursor: &KeyCursor) -> Condition {
        self.compared_with(backend, cursor, self.is_descending, false)
    }

    /// The keys up to the cursor, with its own key.
    pub(crate) fn up_to(self, backend: DbBackend, cursor: &KeyCursor) -> Condition {
        self.compared_with(backend, cursor, !self.is_descending, true)
    }

    /// The keys before or after the cursor in ascending order. The first condition is the end of the index range.
    fn compared_with(self, backend: DbBackend, cursor: &KeyCursor, is_before: bool, with_own: bool) -> Condition {
        let (rank, id) = (|| self.rank.expression(), || Expr::col((api_key::Entity, Column::Id)));
        let (value, own_id) = (|| cursor.value.expression(), || Expr::val(cursor.id.as_str()));
        let (strictly, at_most) = if is_before {
            (BinOper::SmallerThan, BinOper::SmallerThanOrEqual)
        } else {
            (BinOper::GreaterThan, BinOper::GreaterThanOrEqual)
        };
        let of_id = if with_own { at_most } else { strictly };
        let range = Condition::all().add(rank().binary(at_most, value()));
        if backend == DbBackend::MySql {
            // With an OR, MariaDB merges two indexes instead of reading the range of one.
            let tuple = Expr::tuple([rank(), id()]).binary(of_id, Expr::tuple([value(), own_id()]));
            return range.add(tuple);
        }
        range.add(Condition::any().add(rank().binary(strictly, value())).add(id().binary(of_id, own_id())))
    }
}

impl RankValue {
    fn expression(&self) -> Expr {
        match self {
            Self::Number(number) => Expr::val(*number),
            Self::Text(text) => Expr::val(text.as_str()),
        }
    }
}
