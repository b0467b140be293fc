//! The first schema: `authority`, `account`, `api_key`, `api_key_secret`, `audit_event`, `replica`.
//!
//! Instants are microseconds since the Unix epoch. Lists are JSON texts. IDs are compared byte by byte on every
//! database; their sort order depends on the database.
//!
//! MySQL and MariaDB commit each DDL statement implicitly. There, a table is created together with its indexes in one
//! statement, and tables that a killed process created before are skipped.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// The first migration. Its name is stored in every migrated database.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0001_initial"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let schema = Schema { backend: manager.get_database_backend() };
        for (name, mut table) in schema.tables() {
            let mut indexes = indexes_of(name);
            if schema.backend == DbBackend::MySql {
                for mut index in indexes.drain(..) {
                    table.index(&mut index);
                }
                table.if_not_exists();
            }
            manager.create_table(table).await?;
            for index in indexes {
                manager.create_index(index).await?;
            }
        }
        let first = Query::insert()
            .into_table("authority")
            .columns(["id", "revision", "head_hash", "lease_ms", "secret_checks"])
            .values_panic([1.into(), 0_i64.into(), vec![0_u8; 32].into(), 10_000_i64.into(), "".into()])
            .on_conflict(OnConflict::column("id").do_nothing_on(["id"]).to_owned())
            .to_owned();
        manager.execute(first).await
    }
}

struct Schema {
    backend: DbBackend,
}

impl Schema {
    fn tables(&self) -> [(&'static str, TableCreateStatement); 6] {
        [
            ("authority", self.authority()),
            ("account", self.account()),
            ("api_key", self.api_key()),
            ("api_key_secret", self.api_key_secret()),
            ("audit_event", self.audit_event()),
            ("replica", self.replica()),
        ]
    }

    fn table(&self, name: &'static str) -> TableCreateStatement {
        let mut table = Table::create();
        table.table(name);
        if self.backend == DbBackend::MySql {
            table.engine("InnoDB").character_set("utf8mb4").collate("utf8mb4_bin");
        }
        table
    }

    /// Text without a practical limit. `text` of MySQL is limited to 64 KiB.
    fn long_text(&self, name: &'static str) -> ColumnDef {
        let mut column = ColumnDef::new(name);
        if self.backend == DbBackend::MySql {
            column.custom("longtext")
        } else {
            column.text()
        };
        column
    }

    fn authority(&self) -> TableCreateStatement {
        self.table("authority")
            .col(ColumnDef::new("id").integer().not_null().primary_key())
            .col(ColumnDef::new("revision").big_integer().not_null())
            .col(ColumnDef::new("head_hash").binary_len(32).not_null())
            .col(ColumnDef::new("lease_ms").big_integer().not_null())
            .col(ColumnDef::new("secret_checks").string_len(2000).not_null())
            .take()
    }

    fn account(&self) -> TableCreateStatement {
        self.table("account")
            .col(ColumnDef::new("id").string_len(64).not_null().primary_key())
            .col(ColumnDef::new("display_name").string_len(200).not_null())
            .col(ColumnDef::new("suspended").boolean().not_null())
            .col(self.long_text("policy").not_null())
            .col(ColumnDef::new("create_time").big_integer().not_null())
            .col(ColumnDef::new("update_time").big_integer().not_null())
            .col(ColumnDef::new("create_revision").big_integer().not_null())
            .col(ColumnDef::new("revision").big_integer().not_null())
            .take()
    }

    fn api_key(&self) -> TableCreateStatement {
        self.table("api_key")
            .col(ColumnDef::new("id").string_len(64).not_null().primary_key())
            .col(ColumnDef::new("account").string_len(64).not_null())
            .col(ColumnDef::new("display_name").string_len(200).not_null())
            .col(ColumnDef::new("description").string_len(2000).not_null())
            .col(self.long_text("scopes").not_null())
            .col(ColumnDef::new("all_projects").boolean().not_null())
            .col(self.long_text("projects").not_null())
            .col(self.long_text("networks").not_null())
            .col(self.long_text("labels").not_null())
            .col(ColumnDef::new("disabled").boolean().not_null())
            .col(ColumnDef::new("revoke_time").big_integer())
            .col(ColumnDef::new("revoke_reason").string_len(500))
            .col(ColumnDef::new("expire_time").big_integer())
            .col(ColumnDef::new("create_time").big_integer().not_null())
            .col(ColumnDef::new("update_time").big_integer().not_null())
            .col(ColumnDef::new("created_by").string_len(64).not_null())
            .col(ColumnDef::new("create_revision").big_integer().not_null())
            .col(ColumnDef::new("revision").big_integer().not_null())
            .col(ColumnDef::new("last_used_time").big_integer())
            .col(ColumnDef::new("use_count").big_integer().not_null())
            .foreign_key(ForeignKey::create().name("api_key_account_fk").from("api_key", "account").to("account", "id"))
            .take()
    }

    fn api_key_secret(&self) -> TableCreateStatement {
        self.table("api_key_secret")
            .col(ColumnDef::new("key_id").string_len(64).not_null())
            .col(ColumnDef::new("version").integer().not_null())
            .col(ColumnDef::new("digest").binary_len(32).not_null())
            .col(ColumnDef::new("secret_version").integer().not_null())
            .col(ColumnDef::new("hint").string_len(64).not_null())
            .col(ColumnDef::new("sealed").var_binary(1024))
            .col(ColumnDef::new("create_time").big_integer().not_null())
            .col(ColumnDef::new("retire_time").big_integer())
            .col(ColumnDef::new("last_used_time").big_integer())
            .primary_key(Index::create().name("api_key_secret_pk").col("key_id").col("version"))
            .foreign_key(
                ForeignKey::create().name("api_key_secret_key_fk").from("api_key_secret", "key_id").to("api_key", "id"),
            )
            .take()
    }

    fn audit_event(&self) -> TableCreateStatement {
        self.table("audit_event")
            .col(ColumnDef::new("revision").big_integer().not_null().primary_key())
            .col(ColumnDef::new("event_time").big_integer().not_null())
            .col(ColumnDef::new("actor").string_len(64).not_null())
            .col(ColumnDef::new("action").integer().not_null())
            .col(ColumnDef::new("account").string_len(64).not_null())
            .col(ColumnDef::new("key_id").string_len(64))
            .col(ColumnDef::new("request_id").string_len(128))
            .col(ColumnDef::new("request_digest").binary_len(32))
            .col(self.long_text("before_json"))
            .col(self.long_text("after_json"))
            .col(ColumnDef::new("secret_version").integer().not_null())
            .col(ColumnDef::new("hash").binary_len(32).not_null())
            .take()
    }

    fn replica(&self) -> TableCreateStatement {
        self.table("replica")
            .col(ColumnDef::new("id").string_len(32).not_null().primary_key())
            .col(ColumnDef::new("applied_revision").big_integer().not_null())
            .col(ColumnDef::new("applied_hash").binary_len(32).not_null())
            .col(ColumnDef::new("nonce").binary_len(8).not_null())
            .col(ColumnDef::new("build").string_len(64).not_null())
            .col(ColumnDef::new("address").string_len(255).not_null())
            .col(ColumnDef::new("join_time").big_integer().not_null())
            .col(ColumnDef::new("seen_time").big_integer().not_null())
            .take()
    }
}

fn indexes_of(table: &'static str) -> Vec<IndexCreateStatement> {
    let index = |name: &'static str, columns: &[&'static str]| {
        let mut index = Index::create();
        index.name(name).table(table);
        for column in columns {
            index.col(*column);
        }
        index
    };
    match table {
        "account" => vec![index("account_newest", &["create_revision", "id"])],
        "api_key" => vec![
            index("api_key_newest", &["create_revision", "id"]),
            index("api_key_account_newest", &["account", "create_revision", "id"]),
        ],
        "api_key_secret" => vec![index("api_key_secret_digest", &["digest"]).unique().take()],
        "audit_event" => vec![
            index("audit_event_request", &["actor", "request_id"]).unique().take(),
            index("audit_event_account", &["account", "revision"]),
            index("audit_event_key", &["key_id", "revision"]),
            index("audit_event_actor", &["actor", "revision"]),
            index("audit_event_time", &["event_time", "revision"]),
        ],
        _ => Vec::new(),
    }
}
