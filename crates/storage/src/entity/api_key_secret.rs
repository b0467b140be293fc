//! Table `api_key_secret`.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_key_secret")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub key_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub version: i32,
    pub digest: Vec<u8>,
    pub secret_version: i32,
    pub hint: String,
    pub sealed: Option<Vec<u8>>,
    pub create_time: i64,
    pub retire_time: Option<i64>,
    pub last_used_time: Option<i64>,
    pub scheme: i32,
    pub retired: bool,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
