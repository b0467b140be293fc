//! A private database server: on loopback, with data that goes when it goes. `scripts/services` starts such servers for the
//! tests; this one is ours alone, so that it can be crashed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use rustix::process::Signal;
use serde::Serialize;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::port;
use super::process::{self, Process, User};
use super::session::Session;
use crate::chance::Chance;
use crate::trouble::{Attempt as _, Trouble};

/// How long it may take until it answers, recovery included.
const START_LIMIT: Duration = Duration::from_mins(1);
const USER: &str = "faults";
/// What the authority's database is called.
const NAME: &str = "authority";

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Postgres,
    #[value(name = "mariadb")]
    MariaDb,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::MariaDb => "MariaDB",
        }
    }
}

/// A database server. Dropping it ends it and removes its data.
#[derive(Debug)]
pub(crate) struct Database {
    // Dropped in this order: the process, then what it works on.
    process: Option<Process>,
    pub(crate) kind: Kind,
    programs: PathBuf,
    port: u16,
    password: String,
    home: TempDir,
}

impl Database {
    /// Makes one and starts it.
    pub(crate) async fn start(kind: Kind, chance: &mut Chance) -> Result<Self, Trouble> {
        let home = tempfile::Builder::new().prefix("key-authority-faults-").tempdir().attempt("a folder")?;
        let programs = if kind == Kind::Postgres { postgres_programs()? } else { PathBuf::new() };
        let port = port::free(chance)?;
        let password = chance.name();
        let mut database = Self { process: None, kind, programs, port, password, home };
        database.create().await?;
        database.resume().await?;
        let mut session = database.session("").await.attempt("the first session")?;
        session.execute(&format!("CREATE DATABASE {NAME}")).await.attempt("CREATE DATABASE")?;
        Ok(database)
    }

    /// Its address for the replicas; over a link, when there is one.
    pub(crate) fn url(&self, via: Option<&str>) -> String {
        self.url_of(NAME, via.unwrap_or(&self.address()))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A session on the authority's database.
    pub(crate) async fn open(&self) -> Result<Session, Trouble> {
        self.session(NAME).await.attempt("a session")
    }

    /// Ends it as a crash does: nothing is written any more, and the next start has to recover.
    pub(crate) async fn crash(&mut self) -> Result<(), Trouble> {
        // PostgreSQL's immediate shutdown, as `pg_ctl -m immediate` asks for; its children are ended with it.
        let signal = if self.kind == Kind::Postgres { Signal::QUIT } else { Signal::KILL };
        self.process.take().ok_or("the database is down already")?.end(signal).await
    }

    /// Starts it again after a crash, and awaits that it answers.
    pub(crate) async fn resume(&mut self) -> Result<(), Trouble> {
        let (command, last_signal) = match self.kind {
            Kind::Postgres => (self.serve_postgres(), Signal::QUIT),
            Kind::MariaDb => (self.serve_mariadb(), Signal::KILL),
        };
        let log = self.path("server.log");
        self.process = Some(Process::start(self.kind.name(), command, &log, last_signal)?);
        let answers = timeout(START_LIMIT, async {
            while self.session("").await.is_err() {
                if !self.process.as_mut().is_some_and(Process::is_running) {
                    return false;
                }
                sleep(Duration::from_millis(20)).await;
            }
            true
        });
        if answers.await.unwrap_or(false) {
            return Ok(());
        }
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        Err(format!("{} does not answer; its log:\n{said}", self.kind.name()).into())
    }

    async fn session(&self, name: &str) -> Result<Session, sqlx::Error> {
        // One that is not there yet need have no name to be asked for.
        let name = if name.is_empty() && self.kind == Kind::Postgres { "postgres" } else { name };
        Session::open(&self.url_of(name, &self.address())).await
    }

    fn url_of(&self, name: &str, address: &str) -> String {
        let scheme = if self.kind == Kind::Postgres { "postgres" } else { "mysql" };
        format!("{scheme}://{USER}:{}@{address}/{name}", self.password)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn argument(flag: &str, path: &Path) -> String {
        format!("{flag}={}", path.display())
    }

    async fn create(&self) -> Result<(), Trouble> {
        if rustix::process::geteuid().is_root() {
            let mut chown = tokio::process::Command::new("chown");
            chown.arg("nobody").arg(self.home.path());
            process::run(chown).await?;
        }
        // In a folder that only its owner may enter.
        let (user, password) = (USER, &self.password);
        let grant = format!(
            "CREATE USER IF NOT EXISTS '{user}'@'127.0.0.1' IDENTIFIED BY '{password}';\n\
             GRANT ALL PRIVILEGES ON *.* TO '{user}'@'127.0.0.1' WITH GRANT OPTION;\n"
        );
        std::fs::write(self.path("password"), password).attempt("a file")?;
        std::fs::write(self.path("init.sql"), grant).attempt("a file")?;
        let command = match self.kind {
            Kind::Postgres => {
                let mut initdb = self.command(&self.programs.join("initdb"), Signal::KILL);
                initdb.arg(Self::argument("--pgdata", &self.path("data"))).arg(format!("--username={USER}"));
                initdb.arg(Self::argument("--pwfile", &self.path("password")));
                initdb.args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]);
                initdb.args(["--no-sync", "--no-instructions"]);
                initdb
            }
            Kind::MariaDb => {
                let mut install = self.command(Path::new("mariadb-install-db"), Signal::KILL);
                install.arg("--no-defaults").arg(Self::argument("--datadir", &self.path("data")));
                install.args(["--skip-test-db", "--skip-name-resolve", "--auth-root-authentication-method=normal"]);
                install
            }
        };
        process::run(command).await.map(drop)
    }

    // Durability stays on, as in production: what is said of a crash or of a wait shall hold there.

    fn serve_postgres(&self) -> tokio::process::Command {
        let mut command = self.command(&self.programs.join("postgres"), Signal::QUIT);
        command.arg("-D").arg(self.path("data")).arg("-p").arg(self.port.to_string());
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=300", "fsync=on"] {
            command.args(["-c", setting]);
        }
        command
    }

    fn serve_mariadb(&self) -> tokio::process::Command {
        let mut command = self.command(Path::new("mariadbd"), Signal::KILL);
        command.arg("--no-defaults").arg(Self::argument("--datadir", &self.path("data")));
        command.arg(format!("--port={}", self.port)).arg("--bind-address=127.0.0.1");
        command.arg(Self::argument("--socket", &self.path("socket")));
        command.arg(Self::argument("--pid-file", &self.path("pid")));
        command.arg(Self::argument("--init-file", &self.path("init.sql"))).arg("--skip-name-resolve");
        command.args(["--max-connections=300", "--innodb-flush-log-at-trx-commit=1"]);
        command.args(["--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci"]);
        command
    }

    fn command(&self, program: &Path, at_our_death: Signal) -> tokio::process::Command {
        let mut command = process::command(program, User::Ordinary, at_our_death);
        // Debian keeps servers where an ordinary user does not look.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
        command.current_dir(self.home.path()).env("HOME", self.home.path());
        command
    }
}

/// Debian's newest, or what is in PATH.
fn postgres_programs() -> Result<PathBuf, Trouble> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).filter(|path| path.join("bin/postgres").exists());
    if let Some(newest) = newest.max_by_key(|path| version(path)) {
        return Ok(newest.join("bin"));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).find(|folder| folder.join("postgres").exists());
    found.ok_or_else(|| "no PostgreSQL server found: run scripts/install-tools".into())
}
