//! The filter of keys, which lists and revocations of many keys share.

use key_authority_domain::id::{AccountId, Actor, KeyId};
use key_authority_domain::key::{Key, KeyState, Labels};
use key_authority_domain::time::Timestamp;
use sea_orm::sea_query::{Expr, ExprTrait, Func, LikeExpr};
use sea_orm::{ColumnTrait, Condition, DbBackend, EntityTrait, QueryFilter, QuerySelect, QueryTrait};

use crate::entity::api_key::{self, Column};
use crate::entity::api_key_secret;
use crate::one_of::is_one_of;
use crate::page::AccountScope;

/// Maximum number of keys that a page of a filtered list looks at.
pub const KEYS_SCANNED_MAX: u64 = 20_000;

/// Which keys a statement is about: those that match every field that is set.
#[derive(Debug, Clone)]
pub struct KeyQuery {
    /// Keys of these accounts.
    pub accounts: AccountScope,
    /// Keys with one of these IDs. Empty: any.
    pub ids: Vec<KeyId>,
    /// Keys in these states at `now`. Empty: any.
    pub states: Vec<KeyState>,
    /// Keys that cover this project, including those that cover all projects.
    pub project: Option<String>,
    /// Keys whose display name, ID or token hint contains this text. ASCII letters match in either case.
    pub text: Option<String>,
    /// Keys that have all of these labels. Empty: any.
    pub labels: Labels,
    /// Keys that this caller created.
    pub created_by: Option<Actor>,
    /// Keys that were created before this time.
    pub created_before: Option<Timestamp>,
    /// Keys that expire before this time.
    pub expires_before: Option<Timestamp>,
    /// Keys that were created before this time and have no use at or after it.
    pub unused_since: Option<Timestamp>,
    /// The instant at which states are computed.
    pub now: Timestamp,
    /// Maximum number of keys that a page looks at.
    pub scanned_max: u64,
}

impl KeyQuery {
    /// All keys of these accounts, in their states at `now`.
    #[must_use]
    pub fn of(accounts: AccountScope, now: Timestamp) -> Self {
        Self {
            accounts,
            ids: Vec::new(),
            states: Vec::new(),
            project: None,
            text: None,
            labels: Labels::new(),
            created_by: None,
            created_before: None,
            expires_before: None,
            unused_since: None,
            now,
            scanned_max: KEYS_SCANNED_MAX,
        }
    }

    /// The query as a condition on `api_key`. It may match keys that [`KeyQuery::covers`] rejects: projects and labels
    /// are compared as text.
    pub(crate) fn condition(&self, backend: DbBackend) -> Condition {
        let accounts = match &self.accounts {
            AccountScope::All => None,
            AccountScope::Only(ids) => Some(Column::Account.is_in(ids.iter().map(AccountId::as_str))),
        };
        let ids = (!self.ids.is_empty()).then(|| is_one_of(backend, Column::Id, self.ids.iter().map(KeyId::as_str)));
        let unused = self.unused_since.map(|since| {
            let before =
                Condition::any().add(Column::LastUsedTime.is_null()).add(Column::LastUsedTime.lt(since.micros()));
            before_time(Column::CreateTime, since).add(before)
        });
        Condition::all()
            .add(in_states(&self.states, self.now))
            .add_option(accounts)
            .add_option(ids)
            .add_option(self.project.as_deref().map(may_cover))
            .add_option(self.text.as_deref().map(|text| contains(backend, text)))
            .add_option(self.created_by.as_ref().map(|actor| Column::CreatedBy.eq(actor.as_str())))
            .add_option(self.created_before.map(|time| before_time(Column::CreateTime, time)))
            .add_option(self.expires_before.map(|time| before_time(Column::ExpireTime, time)))
            .add_option(unused)
            .add_option((!self.labels.is_empty()).then(|| may_have_labels(&self.labels)))
    }

    /// Whether a key that matches [`KeyQuery::condition`] also matches where the database compared text.
    pub(crate) fn covers(&self, key: &Key) -> bool {
        self.project.as_deref().is_none_or(|project| key.access.projects.covers(Some(project)))
            && self.has_labels(&key.labels)
    }

    /// Whether the labels contain those of the query.
    pub(crate) fn has_labels(&self, labels: &Labels) -> bool {
        self.labels.iter().all(|(name, value)| labels.get(name) == Some(value))
    }
}

fn before_time(column: Column, time: Timestamp) -> Condition {
    Condition::all().add(column.lt(time.micros()))
}

/// The states as a condition. The precedence of states is the same as in [`Key::state`].
pub(crate) fn in_states(states: &[KeyState], now: Timestamp) -> Condition {
    if states.is_empty() {
        return Condition::all();
    }
    let unrevoked = || Condition::all().add(Column::RevokeTime.is_null());
    let expired = || Column::ExpireTime.lte(now.micros());
    states.iter().fold(Condition::any(), |any, state| {
        any.add(match state {
            KeyState::Revoked => Condition::all().add(Column::RevokeTime.is_not_null()),
            KeyState::Disabled => unrevoked().add(Column::Disabled.eq(true)),
            KeyState::Expired => unrevoked().add(Column::Disabled.eq(false)).add(expired()),
            KeyState::Active => unrevoked()
                .add(Column::Disabled.eq(false))
                .add(Condition::any().add(Column::ExpireTime.is_null()).add(Column::ExpireTime.gt(now.micros()))),
        })
    })
}

/// Whether the JSON list of projects contains `project` as text: no false negatives, but false positives.
fn may_cover(project: &str) -> Condition {
    let quoted = serde_json::Value::from(project).to_string();
    Condition::any().add(Column::AllProjects.eq(true)).add(Column::Projects.like(within(&quoted)))
}

/// Whether the JSON object of labels contains each label as text: no false negatives, but false positives.
fn may_have_labels(labels: &Labels) -> Condition {
    labels.iter().fold(Condition::all(), |all, (name, value)| {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        all.add(Column::Labels.like(within(&format!("{}:{}", quoted(name), quoted(value)))))
    })
}

/// Whether the display name, the ID or the hint of a token contains `text`. The database converts both to lower case by
/// its own rules, so that a text matches at least itself.
fn contains(backend: DbBackend, text: &str) -> Condition {
    let position = if backend == DbBackend::Postgres { "STRPOS" } else { "INSTR" };
    let within = |column: Expr| {
        let lower = [Func::lower(column), Func::lower(Expr::val(text))].map(Expr::from);
        Expr::expr(Func::cust(position).args(lower)).gt(0)
    };
    let hints = api_key_secret::Entity::find()
        .select_only()
        .column(api_key_secret::Column::KeyId)
        .filter(Expr::col(api_key_secret::Column::KeyId).equals((api_key::Entity, Column::Id)))
        .filter(within(Expr::col((api_key_secret::Entity, api_key_secret::Column::Hint))));
    Condition::any()
        .add(within(Expr::col((api_key::Entity, Column::DisplayName))))
        .add(within(Expr::col((api_key::Entity, Column::Id))))
        .add(Expr::exists(hints.into_query()))
}

/// A pattern that matches texts which contain `text`.
fn within(text: &str) -> LikeExpr {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    LikeExpr::new(pattern).escape('!')
}
