//! A private database server on loopback, with temporary data. `scripts/services` starts shared servers for the tests;
//! this one is private, so that the harness can crash it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::ValueEnum;
use key_authority_testkit::port::free_port;
use key_authority_testkit::process::{self, Process, User, log_end};
use key_authority_testkit::rng::SeededRng;
use rustix::process::Signal;
use serde::Serialize;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::session::Session;

/// How long a start may take, including recovery.
const START_LIMIT: Duration = Duration::from_mins(1);
const USER: &str = "faults";
/// The name of the authority's database.
const NAME: &str = "authority";

/// A kind of database.
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
    // The order of the fields is the drop order: the process ends before its files are removed.
    process: Option<Process>,
    pub(crate) kind: Kind,
    programs: PathBuf,
    port: u16,
    password: String,
    home: TempDir,
}

impl Database {
    /// Creates a server and starts it.
    pub(crate) async fn start(kind: Kind, rng: &mut SeededRng) -> Result<Self> {
        let home = tempfile::Builder::new()
            .prefix("key-authority-faults-")
            .tempdir()
            .context("cannot create a temporary folder")?;
        let programs = if kind == Kind::Postgres { postgres_programs()? } else { PathBuf::new() };
        let port = free_port(rng)?;
        let password = rng.name();
        let mut database = Self { process: None, kind, programs, port, password, home };
        database.create().await?;
        database.resume().await?;
        let mut session = database.session("").await.context("cannot connect to the new database server")?;
        session.execute(&format!("CREATE DATABASE {NAME}")).await.context("CREATE DATABASE")?;
        Ok(database)
    }

    /// The URL of the authority's database, at the address `via` if it is set.
    pub(crate) fn url(&self, via: Option<&str>) -> String {
        self.url_of(NAME, via.unwrap_or(&self.address()))
    }

    /// The address on which it listens.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Opens a session on the authority's database.
    pub(crate) async fn open(&self) -> Result<Session> {
        self.session(NAME).await.context("cannot connect to the database")
    }

    /// Crashes it: it writes nothing more, and the next start must recover.
    pub(crate) async fn crash(&mut self) -> Result<()> {
        // PostgreSQL's immediate shutdown, like `pg_ctl -m immediate`, also ends its child processes.
        let signal = if self.kind == Kind::Postgres { Signal::QUIT } else { Signal::KILL };
        self.process.take().context("the database is already down")?.end(signal).await
    }

    /// Starts it again after a crash, and waits until it accepts connections.
    pub(crate) async fn resume(&mut self) -> Result<()> {
        let (command, stop_signal) = match self.kind {
            Kind::Postgres => (self.serve_postgres(), Signal::QUIT),
            Kind::MariaDb => (self.serve_mariadb(), Signal::KILL),
        };
        let log = self.path("server.log");
        self.process = Some(Process::start(self.kind.name(), command, &log)?.with_stop_signal(stop_signal));
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
        Err(anyhow!("{} does not accept connections; its log ends with:\n{}", self.kind.name(), log_end(&log)))
    }

    async fn session(&self, name: &str) -> Result<Session, sqlx::Error> {
        // PostgreSQL needs the name of a database that exists; MariaDB needs none.
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

    async fn create(&self) -> Result<()> {
        if rustix::process::geteuid().is_root() {
            let mut chown = tokio::process::Command::new("chown");
            chown.arg("nobody").arg(self.home.path());
            process::run(chown).await?;
        }
        // Only the owner can enter this folder, so the files may hold the password.
        let (user, password) = (USER, &self.password);
        let grant = format!(
            "CREATE USER IF NOT EXISTS '{user}'@'127.0.0.1' IDENTIFIED BY '{password}';\n\
             GRANT ALL PRIVILEGES ON *.* TO '{user}'@'127.0.0.1' WITH GRANT OPTION;\n"
        );
        std::fs::write(self.path("password"), password).context("cannot write a file for the database server")?;
        std::fs::write(self.path("init.sql"), grant).context("cannot write a file for the database server")?;
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

    // Durability stays on, so that results about crashes and latency also hold in production.

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

    fn command(&self, program: &Path, parent_death_signal: Signal) -> tokio::process::Command {
        let mut command = process::command_as(program, User::Unprivileged, parent_death_signal);
        // Debian installs servers in folders that are not in an unprivileged user's PATH.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
        command.current_dir(self.home.path()).env("HOME", self.home.path());
        command
    }
}

/// The folder of Debian's newest PostgreSQL, or of the one in PATH.
fn postgres_programs() -> Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).filter(|path| path.join("bin/postgres").exists());
    if let Some(newest) = newest.max_by_key(|path| version(path)) {
        return Ok(newest.join("bin"));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).find(|folder| folder.join("postgres").exists());
    found.context("no PostgreSQL server found; install it with scripts/install-tools")
}
