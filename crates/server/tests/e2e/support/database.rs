//! The databases: a fresh one for each authority, in the instances that `scripts/services` starts.
//!
//! SQL goes through the databases' own clients, as processes: sea-orm belongs to storage alone.

mod clock;
mod login;
mod transaction;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) use self::clock::DatabaseClock;
pub(crate) use self::login::Login;
use self::transaction::OpenTransaction;

/// Where the facts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
    MariaDb,
}

impl Database {
    fn variable(self, server: DatabaseServer) -> &'static str {
        match (self, server) {
            (Self::Sqlite, _) => unreachable!("SQLite is a file"),
            (Self::Postgres, DatabaseServer::Shared) => "KEY_AUTHORITY_TEST_POSTGRES_URL",
            (Self::MariaDb, DatabaseServer::Shared) => "KEY_AUTHORITY_TEST_MARIADB_URL",
            (Self::Postgres, DatabaseServer::Clocked) => "KEY_AUTHORITY_TEST_CLOCKED_POSTGRES_URL",
            (Self::MariaDb, DatabaseServer::Clocked) => "KEY_AUTHORITY_TEST_CLOCKED_MARIADB_URL",
        }
    }

    fn instance(self, server: DatabaseServer) -> Login {
        let name = self.variable(server);
        let url = std::env::var(name).unwrap_or_else(|_| {
            panic!(
                "{name} is not set: run the tests with scripts/test, or with `scripts/services run cargo nextest run`"
            )
        });
        Login::parse(&url).unwrap_or_else(|| panic!("{name} must be scheme://user:password@host:port/…"))
    }
}

/// On which of the servers that `scripts/services` starts a database is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DatabaseServer {
    /// The one for most tests, at the same time.
    Shared,
    /// The one for tests of the module `whole_server`, one at a time: they may set its clock, and what concerns all of it.
    Clocked,
}

/// A database of one authority. Dropping it drops the database.
pub(crate) struct Provisioned {
    pub(crate) database: Database,
    name: String,
    /// How the tests reach it; none for SQLite.
    login: Option<Login>,
    /// A role of its own that the server logs in with, where the tests look for its password.
    server_login: Option<Login>,
    sqlite_file: PathBuf,
    /// Whether it stays when this is dropped.
    is_kept: bool,
}

impl Provisioned {
    /// Makes a fresh database on a server of the test's own.
    pub(crate) fn on(login: Login, folder: &Path) -> Self {
        let name = "authority".to_owned();
        let sqlite_file = folder.join("key-authority.db");
        let (database, login, is_kept) = (Database::Postgres, Some(login), true);
        let provisioned = Self { database, name, login, server_login: None, sqlite_file, is_kept };
        provisioned.admin("CREATE DATABASE authority");
        provisioned
    }

    /// Makes a fresh database; with `password`, a user for it who has that password.
    pub(crate) fn new(database: Database, server: DatabaseServer, folder: &Path, password: Option<&str>) -> Self {
        let folder_name = folder.file_name().unwrap().to_string_lossy().to_lowercase();
        let name = format!("{}_{}", folder_name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"), std::process::id());
        let sqlite_file = folder.join("key-authority.db");
        let login = (database != Database::Sqlite).then(|| database.instance(server));
        let mut provisioned = Self { database, name, login, server_login: None, sqlite_file, is_kept: false };
        let name = &provisioned.name;
        if provisioned.login.is_some() {
            provisioned.admin(&format!("CREATE DATABASE {name}"));
        }
        if let (Some(login), Some(password)) = (&provisioned.login, password) {
            let statements = match database {
                Database::Postgres => vec![
                    format!("CREATE ROLE {name} LOGIN PASSWORD '{password}'"),
                    format!("ALTER DATABASE {name} OWNER TO {name}"),
                ],
                _ => vec![
                    format!("CREATE USER '{name}'@'%' IDENTIFIED BY '{password}'"),
                    format!("GRANT ALL ON {name}.* TO '{name}'@'%'"),
                ],
            };
            let server_login = login.as_user(name, password);
            for statement in statements {
                provisioned.admin(&statement);
            }
            provisioned.server_login = Some(server_login);
        }
        provisioned
    }

    /// What the server is told, through the address `via` if there is one. None leaves it the embedded default.
    pub(crate) fn url(&self, via: Option<&str>) -> Option<String> {
        let mut login = self.server_login.as_ref().or(self.login.as_ref())?.clone();
        if let Some((host, port)) = via.and_then(|address| address.split_once(':')) {
            host.clone_into(&mut login.host);
            login.port = port.parse().unwrap();
        }
        Some(login.url(&self.name))
    }

    /// The role that the server logs in with.
    pub(crate) fn server_login(&self) -> &Login {
        self.server_login.as_ref().expect("the setup has a password")
    }

    /// Limits the connections of the role that the server logs in with.
    pub(crate) fn limit_connections(&self, connections: u32) {
        let user = &self.server_login().user;
        self.admin(&match self.database {
            Database::Postgres => format!("ALTER ROLE {user} CONNECTION LIMIT {connections}"),
            _ => format!("ALTER USER '{user}'@'%' WITH MAX_USER_CONNECTIONS {connections}"),
        });
    }

    /// Makes the database again, empty, with these options of `CREATE DATABASE`.
    pub(crate) fn make_again(&self, options: &str) {
        self.admin(&format!("DROP DATABASE {}", self.name));
        self.admin(&format!("CREATE DATABASE {} {options}", self.name));
    }

    /// The name of the database.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where the database listens.
    pub(crate) fn address(&self) -> String {
        self.login.as_ref().expect("SQLite has no address").address()
    }

    /// Executes statements, separated by `;`, and returns the rows of the last: a line a row, `|` between columns.
    pub(crate) fn sql(&self, statements: &str) -> String {
        match self.database {
            Database::Sqlite => {
                let script = "import sqlite3, sys\n\
                    db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                    rows = []\n\
                    for statement in sys.argv[2].split(';'):\n    rows = db.execute(statement).fetchall()\n\
                    print('\\n'.join('|'.join(map(str, row)) for row in rows))";
                succeed(Command::new("python3").args(["-c", script]).arg(self.sqlite_file()).arg(statements))
            }
            Database::Postgres => self.psql(&self.name, statements),
            Database::MariaDb => self.mariadb(&self.name, statements).replace('\t', "|"),
        }
        .trim()
        .to_owned()
    }

    /// Executes statements each by itself, as those must be that concern a whole server.
    pub(crate) fn sql_each(&self, statements: &[&str]) {
        for statement in statements {
            self.sql(statement);
        }
    }

    /// Takes the lock that every change takes, and keeps it until what is returned is dropped.
    pub(crate) fn hold_changes(&self) -> OpenTransaction {
        let held = self.open_transaction();
        held.execute("UPDATE authority SET revision = revision");
        held
    }

    /// Whether a transaction waits for a lock.
    pub(crate) fn has_waiting_transaction(&self) -> bool {
        let waiting = match self.database {
            Database::Postgres => {
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            }
            // Not `innodb_trx`: what it shows is not renewed while it is read more often than every 100 ms.
            _ => {
                "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> connection_id() \
                 AND state IN ('Updating', 'Searching rows for update') AND time_ms > 200"
            }
        };
        self.sql(waiting) != "0"
    }

    /// Opens a transaction in a client of its own, which is undone when what is returned is dropped.
    pub(crate) fn open_transaction(&self) -> OpenTransaction {
        let script = "import sqlite3, sys\n\
            db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
            for statement in sys.stdin:\n    \
                for row in db.execute(statement):\n        print(*row, flush=True)";
        let mut command = match &self.login {
            None => Command::new("python3"),
            Some(_) if self.database == Database::Postgres => Command::new("psql"),
            Some(_) => Command::new("mariadb"),
        };
        match &self.login {
            None => command.args(["-c", script]).arg(self.sqlite_file()),
            Some(login) if self.database == Database::Postgres => {
                command.args(["--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-d"]).arg(login.url(&self.name))
            }
            Some(login) => Self::mariadb_login(&mut command, login).args(["-N", "-B", "-n", &self.name]),
        };
        // In a deadlock, the transaction that looks first is given up: that shall be the other one.
        let settings: &[_] = if self.database == Database::Postgres { &["SET deadlock_timeout = '20s'"] } else { &[] };
        OpenTransaction::begin(&mut command, settings)
    }

    /// All that is stored, as bytes: of SQLite the file and its log, else a dump.
    pub(crate) fn dump(&self) -> Vec<u8> {
        let Some(login) = &self.login else {
            let file = self.sqlite_file();
            let beside = ["-wal", "-shm"].map(|end| PathBuf::from(format!("{}{end}", file.display())));
            let rest = beside.iter().flat_map(|path| std::fs::read(path).unwrap_or_default());
            return std::fs::read(&file).unwrap().into_iter().chain(rest).collect();
        };
        if self.database == Database::Postgres {
            let url = login.url(&self.name);
            return succeed(Command::new("pg_dump").args(["--inserts", "-d", &url])).into_bytes();
        }
        // The client alone is installed, without mariadb-dump.
        let select = |table: &str| format!("SELECT * FROM `{table}`;");
        let all: String = self.mariadb(&self.name, "SHOW TABLES").lines().map(select).collect();
        self.mariadb(&self.name, &all).into_bytes()
    }

    /// The file of the embedded database: the one in the data folder that is neither a log nor a secret.
    fn sqlite_file(&self) -> PathBuf {
        if self.sqlite_file.exists() {
            return self.sqlite_file.clone();
        }
        let folder = self.sqlite_file.parent().unwrap();
        let is_database =
            |path: &PathBuf| std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3\0"));
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.into_iter().find(is_database).unwrap_or_else(|| panic!("no SQLite database in {}", folder.display()))
    }

    fn admin(&self, statement: &str) -> String {
        if self.database == Database::Postgres { self.psql("postgres", statement) } else { self.mariadb("", statement) }
    }

    fn psql(&self, database: &str, statements: &str) -> String {
        let login = self.login.as_ref().unwrap();
        let mut command = Command::new("psql");
        command.args(["--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", statements, "-d"]).arg(login.url(database));
        succeed(&mut command)
    }

    fn mariadb(&self, database: &str, statements: &str) -> String {
        let mut command = Command::new("mariadb");
        Self::mariadb_login(&mut command, self.login.as_ref().unwrap());
        command.args(["-N", "-B", "--binary-as-hex", "-e", statements, database]);
        succeed(&mut command)
    }

    fn mariadb_login<'a>(command: &'a mut Command, login: &Login) -> &'a mut Command {
        let Login { user, password, host, port, .. } = login;
        command.env("MYSQL_PWD", password).args(["--no-defaults", "--protocol=tcp"]);
        command.args([format!("--host={host}"), format!("--port={port}"), format!("--user={user}")])
    }
}

/// Runs a client of a database, whose failure is a failure of the test.
fn succeed(command: &mut Command) -> String {
    let output = execute(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}: {}", command.get_program().display(), text(&output.stderr));
    text(&output.stdout)
}

fn execute(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| {
        panic!("{}: {error}; scripts/install-tools installs the databases' clients", command.get_program().display())
    })
}

impl Drop for Provisioned {
    fn drop(&mut self) {
        let Some(login) = self.login.as_ref().filter(|_| !self.is_kept) else { return };
        let name = &self.name;
        let mut command;
        // What is left over goes with the instance, so nothing here may hide why a test failed.
        if self.database == Database::Postgres {
            command = Command::new("psql");
            command.args(["--no-psqlrc", "-q", "-d"]).arg(login.url("postgres"));
            command.args(["-c", &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")]);
            command.args(["-c", &format!("DROP ROLE IF EXISTS {name}")]);
        } else {
            command = Command::new("mariadb");
            let drop = format!("DROP DATABASE IF EXISTS {name}; DROP USER IF EXISTS '{name}'@'%'");
            Self::mariadb_login(&mut command, login).args(["-e", &drop]);
        }
        let _ = command.output();
    }
}
