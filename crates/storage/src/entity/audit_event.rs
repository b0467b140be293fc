//! Table `audit_event`.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_event")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub revision: i64,
    pub event_time: i64,
    pub actor: String,
    pub action: i32,
    pub account: String,
    pub key_id: Option<String>,
    pub request_id: Option<String>,
    pub request_digest: Option<Vec<u8>>,
    pub before_json: Option<String>,
    pub after_json: Option<String>,
    pub secret_version: i32,
    pub hash: Vec<u8>,
    pub subject: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
