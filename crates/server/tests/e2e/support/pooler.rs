//! `PgBouncer` in front of a database.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::database::Login;
use super::{eventually, in_time};

/// A running `PgBouncer`. Dropping it ends it.
pub(crate) struct Pooler {
    process: Child,
    address: String,
    home: TempDir,
}

impl Pooler {
    /// Starts one that pools the sessions of `login` in this mode: `session`, `transaction` or `statement`.
    pub(crate) async fn start(mode: &str, login: &Login) -> Self {
        Self::start_with(mode, login, "ignore_startup_parameters = extra_float_digits").await
    }

    /// Starts one as it is installed.
    pub(crate) async fn start_without_ignored_parameters(login: &Login) -> Self {
        Self::start_with("session", login, "").await
    }

    async fn start_with(mode: &str, login: &Login, setting: &str) -> Self {
        let home = tempfile::Builder::new().prefix("key-authority-pooler-").tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (users, config) = (home.path().join("users"), home.path().join("pgbouncer.ini"));
        std::fs::write(&users, format!("\"{}\" \"{}\"\n", login.user, login.password)).unwrap();
        let settings = format!(
            "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\npool_mode = {mode}\nlogfile = {}\n\
             {setting}\n",
            login.host,
            login.port,
            users.display(),
            home.path().join("log").display(),
        );
        std::fs::write(&config, settings).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if rustix::process::geteuid().is_root() {
            // It refuses to be root.
            assert!(Command::new("chown").args(["-R", "nobody"]).arg(home.path()).status().unwrap().success());
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
        }
        command.arg("/usr/sbin/pgbouncer").arg("--quiet").arg(config).stdin(Stdio::null());
        let process = command.spawn().expect("PgBouncer is installed: scripts/install-tools");
        let pooler = Self { process, address: format!("127.0.0.1:{port}"), home };
        let listens = async || std::net::TcpStream::connect(&pooler.address).ok();
        in_time("PgBouncer listens", eventually("PgBouncer listens", listens)).await;
        pooler
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.home.path().join("log"));
            eprintln!("the log of PgBouncer:\n{}", log.unwrap_or_default());
        }
    }
}
