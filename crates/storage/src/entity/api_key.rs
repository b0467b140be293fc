//! Table `api_key`.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_key")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub account: String,
    pub display_name: String,
    pub description: String,
    pub scopes: String,
    pub all_projects: bool,
    pub projects: String,
    pub networks: String,
    pub labels: String,
    pub disabled: bool,
    pub revoke_time: Option<i64>,
    pub revoke_reason: Option<String>,
    pub expire_time: Option<i64>,
    pub create_time: i64,
    pub update_time: i64,
    pub created_by: String,
    pub create_revision: i64,
    pub revision: i64,
    pub last_used_time: Option<i64>,
    pub use_count: i64,
    pub created_by_subject: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
