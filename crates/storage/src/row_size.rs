//! Sizes of rows, so that a read is limited in bytes as well as in rows.
//!
//! A read first lists the rows with their sizes, in the order of an index, and then reads those that fit. The database
//! computes the sizes; no text is transferred for them.

use sea_orm::DbBackend;
use sea_orm::sea_query::{Expr, SimpleExpr};

/// Maximum size of the rows that one page or batch reads, in bytes. A larger row is read alone.
pub(crate) const READ_BYTES_MAX: i64 = 4 * 1024 * 1024;

/// The texts of a row of `api_key` that may be long.
const KEY_TEXTS: &str = "OCTET_LENGTH(api_key.display_name) + OCTET_LENGTH(api_key.description) \
     + OCTET_LENGTH(api_key.scopes) + OCTET_LENGTH(api_key.projects) + OCTET_LENGTH(api_key.networks) \
     + OCTET_LENGTH(api_key.labels)";
/// The texts of a row of `audit_event` that may be long.
const EVENT_TEXTS: &str = "COALESCE(OCTET_LENGTH(audit_event.before_json), 0) \
     + COALESCE(OCTET_LENGTH(audit_event.after_json), 0)";

/// The size of a row of `api_key`.
pub(crate) fn of_key(backend: DbBackend) -> SimpleExpr {
    as_number(backend, KEY_TEXTS)
}

/// The size of a row of `audit_event`.
pub(crate) fn of_event(backend: DbBackend) -> SimpleExpr {
    as_number(backend, EVENT_TEXTS)
}

fn as_number(backend: DbBackend, sum: &str) -> SimpleExpr {
    let number = match backend {
        DbBackend::Postgres => "BIGINT",
        DbBackend::MySql => "SIGNED",
        _ => "INTEGER",
    };
    Expr::cust(format!("CAST({sum} AS {number})"))
}

/// Number of leading rows that fit into [`READ_BYTES_MAX`], at least one.
pub(crate) fn fitting(sizes: impl IntoIterator<Item = i64>) -> usize {
    let mut bytes = 0_i64;
    let fits = |size: &i64| {
        bytes = bytes.saturating_add(*size);
        bytes <= READ_BYTES_MAX
    };
    sizes.into_iter().take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_fit_up_to_the_limit_and_the_first_one_always() {
        assert_eq!(fitting([READ_BYTES_MAX - 1, 1, 1]), 2);
        assert_eq!(fitting([READ_BYTES_MAX + 1, 0]), 1);
        assert_eq!(fitting([i64::MAX, i64::MAX]), 1);
        assert_eq!(fitting([1; 10]), 10);
    }
}
