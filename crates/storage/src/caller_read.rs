//! Reads of a caller inside a transaction, to authorize it in the transaction of its change.

use key_authority_domain::access::Access;
use key_authority_domain::id::{AccountId, KeyId};
use key_authority_domain::key::effective_retire_time;
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::TokenDigest;
use key_authority_domain::verdict::KeyFacts;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{ConnectionTrait, FromQueryResult};

use crate::entity::{account, api_key, api_key_secret};
use crate::error::StorageError;
use crate::mapping::RowContext;
use crate::mapping::key::AccessColumns;
use crate::read_tx::ReadTx;
use crate::timeout::bounded;

/// The key and the token of a caller, as read in the transaction.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, as in `KeyFacts`")]
pub struct StoredCaller {
    /// The ID of the key.
    pub key_id: KeyId,
    /// The account of the key.
    pub account: AccountId,
    /// Scopes, projects and networks of the key.
    pub access: Access,
    /// Whether the presented token is the newest of the key: no renewal has replaced it.
    pub is_newest_token: bool,
    account_suspended: bool,
    revoked: bool,
    disabled: bool,
    expire_time: Option<Timestamp>,
    retire_time: Option<Timestamp>,
}

impl StoredCaller {
    /// The facts for the decision.
    #[must_use]
    pub fn facts(&self) -> KeyFacts<'_> {
        KeyFacts {
            key_id: self.key_id.as_str(),
            account: self.account.as_str(),
            account_suspended: self.account_suspended,
            revoked: self.revoked,
            disabled: self.disabled,
            expire_time: self.expire_time,
            retire_time: self.retire_time,
            access: &self.access,
        }
    }

    /// The end of the presented token: the earlier of the expiry of the key and the retirement of the secret version.
    #[must_use]
    pub fn token_end(&self) -> Option<Timestamp> {
        self.expire_time.into_iter().chain(self.retire_time).min()
    }
}

impl ReadTx {
    /// The key that has the digest, in one statement. None if no key has it.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn caller(&self, digest: &TokenDigest) -> Result<Option<StoredCaller>, StorageError> {
        bounded(async {
            let statement = self.tx.get_database_backend().build(&caller_statement(digest));
            CallerRow::find_by_statement(statement).one(&self.tx).await?.map(to_caller).transpose()
        })
        .await
    }
}

#[derive(FromQueryResult)]
#[expect(clippy::struct_excessive_bools, reason = "columns as stored")]
struct CallerRow {
    id: String,
    account: String,
    scopes: String,
    all_projects: bool,
    projects: String,
    networks: String,
    disabled: bool,
    revoke_time: Option<i64>,
    expire_time: Option<i64>,
    retire_time: Option<i64>,
    retired: bool,
    suspended: bool,
    newer_version: Option<i32>,
}

fn caller_statement(digest: &TokenDigest) -> SelectStatement {
    use {account::Column as Account, api_key::Column as Key, api_key_secret::Column as Secret};
    let newer = Alias::new("newer");
    let newer_version = Query::select()
        .expr(Expr::col((newer.clone(), Secret::Version)).max())
        .from_as(api_key_secret::Entity, newer.clone())
        .and_where(Expr::col((newer.clone(), Secret::KeyId)).equals((api_key_secret::Entity, Secret::KeyId)))
        .and_where(Expr::col((newer, Secret::Version)).gt(Expr::col((api_key_secret::Entity, Secret::Version))))
        .take();
    let mut statement = Query::select();
    for column in [
        Key::Id,
        Key::Account,
        Key::Scopes,
        Key::AllProjects,
        Key::Projects,
        Key::Networks,
        Key::Disabled,
        Key::RevokeTime,
        Key::ExpireTime,
    ] {
        statement.column((api_key::Entity, column));
    }
    statement
        .column((api_key_secret::Entity, Secret::RetireTime))
        .column((api_key_secret::Entity, Secret::Retired))
        .column((account::Entity, Account::Suspended))
        .expr_as(Expr::expr(newer_version), "newer_version")
        .from(api_key_secret::Entity)
        .inner_join(
            api_key::Entity,
            Expr::col((api_key::Entity, Key::Id)).equals((api_key_secret::Entity, Secret::KeyId)),
        )
        .inner_join(account::Entity, Expr::col((account::Entity, Account::Id)).equals((api_key::Entity, Key::Account)))
        .and_where(Expr::col((api_key_secret::Entity, Secret::Digest)).eq(digest.0.to_vec()))
        .take()
}

#[expect(clippy::needless_pass_by_value, reason = "as the other translations of rows")]
fn to_caller(model: CallerRow) -> Result<StoredCaller, StorageError> {
    let row = RowContext { table: "api_key", id: &model.id };
    let CallerRow { scopes, all_projects, projects, networks, .. } = &model;
    let access = AccessColumns { scopes, all_projects: *all_projects, projects, networks };
    Ok(StoredCaller {
        key_id: row.valid("id", KeyId::new(&model.id))?,
        account: row.valid("account", AccountId::new(&model.account))?,
        access: access.to_domain(row)?,
        is_newest_token: model.newer_version.is_none(),
        account_suspended: model.suspended,
        revoked: model.revoke_time.is_some(),
        disabled: model.disabled,
        expire_time: model.expire_time.map(Timestamp::from_micros),
        retire_time: effective_retire_time(model.retired, model.retire_time.map(Timestamp::from_micros)),
    })
}
