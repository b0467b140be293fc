//! How a database runs a statement.

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};

use crate::support::Kind;

/// A line of a plan.
#[derive(Debug)]
pub(crate) struct Step {
    /// The access method, as the database names it.
    access: String,
    /// The index, if the database reports it separately.
    index: Option<String>,
}

impl Step {
    /// Whether it uses the index.
    pub(crate) fn uses(&self, index: &str) -> bool {
        match &self.index {
            Some(used) => used == index,
            None => self.access.contains(&format!(" {index}")),
        }
    }

    /// A list scans an index from one end, and the feed and counts scan their limited result. Any other scan is a
    /// mistake.
    pub(crate) fn reads_all(&self) -> bool {
        let is_walk =
            ["SCAN ", "ALL "].iter().any(|word| self.access.starts_with(word)) || self.access.contains("Seq Scan");
        is_walk
            && ![" USING INDEX ", " USING COVERING INDEX ", "SCAN event ", "SCAN counted", "<derived"]
                .iter()
                .any(|fine| self.access.contains(fine))
    }

    /// Whether the scan starts at the page instead of the end of the index.
    pub(crate) fn begins_within(&self) -> bool {
        let is_range = |bound: &str| self.access.contains(bound) && self.access.contains("create_revision");
        is_range("SEARCH ") || is_range("Index Cond: ") || self.access.starts_with("range ")
    }

    /// Whether the rows are sorted.
    pub(crate) fn sorts(&self) -> bool {
        ["Sort", "TEMP B-TREE", "filesort"].iter().any(|word| self.access.contains(word))
    }
}

/// Asks the database how it would run a statement.
pub(crate) async fn plan(session: &DatabaseConnection, kind: Kind, statement: &Statement) -> Vec<Step> {
    let explain = if kind == Kind::Sqlite { "EXPLAIN QUERY PLAN" } else { "EXPLAIN" };
    let explained = match kind {
        // As a text, an array of digests has the type of an array of texts.
        Kind::Postgres => Statement { sql: format!("{explain} {}", statement.sql), ..statement.clone() },
        _ => Statement::from_string(session.get_database_backend(), format!("{explain} {statement}")),
    };
    let rows = session.query_all_raw(explained).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    let rows = rows.iter().map(|row| match kind {
        Kind::Sqlite => Step { access: row.try_get("", "detail").unwrap(), index: None },
        Kind::Postgres => Step { access: row.try_get("", "QUERY PLAN").unwrap(), index: None },
        Kind::MariaDb => Step {
            access: ["type", "Extra", "table"]
                .map(|column| row.try_get::<Option<String>>("", column).unwrap().unwrap_or_default())
                .join(" "),
            index: row.try_get("", "key").unwrap(),
        },
    });
    rows.collect()
}
