//! Databases that are not set up as the server needs them: refused at start, with the statement that helps.

use key_authority_proto::v1::*;

use crate::support::process::run;
use crate::support::{Authority, Database, Setup, on_database_servers};

const PASSWORD: &str = "canary0password0of0a0setting";
/// What every character set but Unicode's lacks.
const TEXT: &str = "π 漢字 😀";

/// What a server says that does not start.
async fn refusal(authority: &Authority) -> String {
    let text = run(authority.serve_command()).await.badly().text();
    assert!(!text.contains(PASSWORD) && !text.contains("at line"), "{text}");
    text
}

/// The statement that a refusal recommends to an administrator.
fn statement(refusal: &str) -> &str {
    let (_, statement) = refusal.split_once("let an administrator run: ").unwrap_or_else(|| panic!("{refusal}"));
    statement.split_once(": the database user lacks a privilege: ").unwrap_or_else(|| panic!("{refusal}")).0
}

/// Stores and reads a text, and makes every kind of change.
async fn work(authority: &Authority) {
    let client = authority.client();
    let account = Account { id: "acme".into(), display_name: TEXT.into(), ..Default::default() };
    client.create_account(CreateAccountRequest { account: Some(account), ..Default::default() }).await.unwrap();
    let read = client.get_account(GetAccountRequest { account: "acme".into() }).await.unwrap();
    assert_eq!(read.display_name, TEXT);
    let key = client.key_in("acme").await;
    assert_eq!(client.verdict(&key.token).await, Verdict::Valid);
    client.revoke(&key.id()).await;
    client.delete_key(DeleteKeyRequest { key_id: key.id(), ..Default::default() }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_store_every_text_is_refused() {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let mut authority = Setup::on(Database::Postgres).prepare().await;
        let options = |encoding: &str| format!("ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
        authority.database().make_again(&options(encoding));
        let mut texts = vec![refusal(&authority).await];
        authority.subcommand(&["bootstrap"], &[]).await.badly();
        for words in [&["migrate"][..], &["audit", "verify"]] {
            texts.push(authority.subcommand(words, &[]).await.badly().text());
        }
        for text in texts {
            let named = format!("{} has the encoding {encoding}", authority.database().name());
            assert!(text.contains(&named) && text.contains(&options("UTF8")), "{text}");
        }
        authority.database().make_again(&options("UTF8"));
        authority.restart().await;
        work(&authority).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_mariadb_may_have_any_character_set() {
    let mut authority = Setup::on(Database::MariaDb).prepare().await;
    authority.database().make_again("CHARACTER SET latin1");
    authority.restart().await;
    work(&authority).await;
}

async fn a_user_who_may_not_create_tables_is_refused_with_the_statement_that_helps(database: Database) {
    let mut authority = Setup::on(database).password(PASSWORD).prepare().await;
    let (provisioned, user) = (authority.database(), &authority.database().server_login().user);
    if database == Database::Postgres {
        // The owner of a database may create tables in its schema `public`; others may not since PostgreSQL 15.
        provisioned.sql_each(&[
            &format!("ALTER DATABASE {user} OWNER TO CURRENT_USER"),
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        ]);
    } else {
        provisioned.sql_each(&[
            &format!("REVOKE ALL ON {user}.* FROM '{user}'@'%'"),
            &format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {user}.* TO '{user}'@'%'"),
        ]);
    }
    let text = refusal(&authority).await;
    assert_eq!(statement(&authority.subcommand(&["migrate"], &[]).await.badly().text()), statement(&text));
    authority.database().sql(statement(&text));
    authority.restart().await;
    work(&authority).await;
}

async fn a_user_who_may_not_change_rows_is_refused_with_the_statement_that_helps(database: Database) {
    let mut authority = Setup::on(database).password(PASSWORD).start().await;
    assert!(authority.stop().await.success());
    let user = authority.database().server_login().user.clone();
    let revoke = match database {
        Database::Postgres => format!("REVOKE DELETE ON api_key FROM {user}"),
        _ => format!("REVOKE DELETE ON {user}.* FROM '{user}'@'%'"),
    };
    authority.database().sql(&revoke);
    let text = refusal(&authority).await;
    authority.database().sql(statement(&text));
    if database == Database::Postgres {
        // An audit log that nobody may change is no reason to refuse.
        authority.database().sql(&format!("REVOKE UPDATE, DELETE, TRUNCATE ON audit_event FROM {user}"));
    }
    authority.restart().await;
    work(&authority).await;
}

async fn a_user_without_any_privilege_on_the_tables_is_refused_with_the_statement_that_helps(database: Database) {
    let mut authority = Setup::on(database).password(PASSWORD).start().await;
    assert!(authority.stop().await.success());
    let user = authority.database().server_login().user.clone();
    let without = match database {
        Database::Postgres => vec![
            "ALTER SCHEMA public OWNER TO CURRENT_USER".to_owned(),
            format!("ALTER DATABASE {user} OWNER TO CURRENT_USER"),
            format!("REASSIGN OWNED BY {user} TO CURRENT_USER"),
            "REVOKE ALL ON SCHEMA public FROM PUBLIC".to_owned(),
        ],
        // It may connect to the database, and nothing else.
        _ => vec![
            format!("REVOKE ALL ON {user}.* FROM '{user}'@'%'"),
            format!("GRANT CREATE TEMPORARY TABLES ON {user}.* TO '{user}'@'%'"),
        ],
    };
    let without: Vec<&str> = without.iter().map(String::as_str).collect();
    authority.database().sql_each(&without);
    let bootstrap = authority.subcommand(&["bootstrap", "--no-migrate"], &[]).await.badly().text();
    let mut command = authority.serve_command();
    command.arg("--no-migrate");
    let serve = run(command).await.badly().text();
    let grants = statement(&serve).to_owned();
    assert_eq!(statement(&bootstrap), grants);
    authority.database().sql(&grants);
    authority.restart().await;
    work(&authority).await;
    // The audit log can still not be changed.
    let may_change = match database {
        Database::Postgres => format!("SELECT has_table_privilege('{user}', 'audit_event', 'UPDATE, DELETE')"),
        _ => format!(
            "SELECT count(*) FROM information_schema.table_privileges WHERE table_name = 'audit_event' \
             AND grantee LIKE '%{user}%' AND privilege_type IN ('UPDATE', 'DELETE')"
        ),
    };
    assert!(["f", "0"].contains(&authority.database().sql(&may_change).as_str()));
}

on_database_servers! {
    a_user_without_any_privilege_on_the_tables_is_refused_with_the_statement_that_helps,
    a_user_who_may_not_create_tables_is_refused_with_the_statement_that_helps,
    a_user_who_may_not_change_rows_is_refused_with_the_statement_that_helps,
}
