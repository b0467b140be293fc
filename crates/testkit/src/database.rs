//! A database of a run's own, on a PostgreSQL or MariaDB server. SQL goes through the server's own client, as a
//! process.

use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail};
use url::Url;

use crate::say;

/// An empty database. Dropping this value drops it.
#[derive(Debug)]
pub struct Database {
    server: Url,
    name: String,
}

impl Database {
    /// Creates a database on the server at this URL (`postgres://…`, or `mysql://…` for MySQL and MariaDB), whose user
    /// may create databases.
    ///
    /// # Errors
    /// When the URL is wrong, or the server refuses.
    pub fn create(server: &str, name: &str) -> Result<Self> {
        // Without the URL, which has a password.
        let server = Url::parse(server).context("the URL of the database server cannot be read")?;
        let database = Self { server, name: format!("{name}_{}", std::process::id()) };
        execute(&database.server, &format!("CREATE DATABASE {}", database.name))?;
        Ok(database)
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> Url {
        let mut url = self.server.clone();
        url.set_path(&self.name);
        url
    }

    /// Runs one statement, or one command of the client.
    ///
    /// # Errors
    /// When the client or the server refuses.
    pub fn run(&self, sql: &str) -> Result<()> {
        execute(&self.url(), sql)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let force = if is_postgres(&self.server) { " WITH (FORCE)" } else { "" };
        if let Err(error) = execute(&self.server, &format!("DROP DATABASE {}{force}", self.name)) {
            say!("cannot drop the database: {error:#}");
        }
    }
}

fn is_postgres(url: &Url) -> bool {
    url.scheme().starts_with("postgres")
}

fn execute(url: &Url, sql: &str) -> Result<()> {
    let Output { status, stderr, .. } = client(url, sql)
        .output()
        .context("cannot run the client of the database (psql or mariadb); install it with scripts/install-tools")?;
    if !status.success() {
        bail!("the database refused: {}", String::from_utf8_lossy(&stderr));
    }
    Ok(())
}

fn client(url: &Url, sql: &str) -> Command {
    if is_postgres(url) {
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--command", sql, url.as_str()]);
        return psql;
    }
    let mut mariadb = Command::new("mariadb");
    mariadb.arg(format!("--user={}", url.username())).arg(format!("--port={}", url.port().unwrap_or(3306)));
    mariadb.arg(format!("--host={}", url.host_str().unwrap_or("127.0.0.1"))).args(["--protocol=TCP", "--execute", sql]);
    mariadb.arg(url.path().trim_start_matches('/'));
    mariadb.env("MYSQL_PWD", url.password().unwrap_or_default());
    mariadb
}
