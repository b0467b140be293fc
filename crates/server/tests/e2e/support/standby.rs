//! A PostgreSQL primary with a synchronous standby, of a test's own: to be promoted, and to lose its primary.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::database::Login;
use super::{eventually, in_time};

const PASSWORD: &str = "of-a-test";

/// Both servers. Dropping it ends them and removes their data.
pub(crate) struct Pair {
    pub(crate) primary: Instance,
    pub(crate) standby: Instance,
    _home: TempDir,
}

/// One server.
pub(crate) struct Instance {
    process: Child,
    pub(crate) login: Login,
}

impl Pair {
    /// Starts a primary that acknowledges nothing which the standby does not have.
    pub(crate) async fn start() -> Self {
        let home = tempfile::Builder::new().prefix("key-authority-pair-").tempdir().unwrap();
        if rustix::process::geteuid().is_root() {
            run(Command::new("chown").arg("nobody").arg(home.path()));
        }
        let (data, copy) = (home.path().join("primary"), home.path().join("standby"));
        std::fs::write(home.path().join("password"), PASSWORD).unwrap();
        run(program("initdb")
            .arg(format!("--pgdata={}", data.display()))
            .arg(format!("--pwfile={}", home.path().join("password").display()))
            .args(["--username=tests", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"])
            .args(["--no-sync", "--no-instructions"]));
        let primary = Instance::start(&data, home.path(), &[]).await;
        run(program("pg_basebackup")
            .env("PGPASSWORD", PASSWORD)
            .args(["-h", "127.0.0.1", "-p", &primary.login.port().to_string(), "-U", "tests"])
            .arg("-D")
            .arg(&copy)
            .args(["-R", "-X", "stream", "--checkpoint=fast"]));
        let standby = Instance::start(&copy, home.path(), &[]).await;
        primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        primary.sql("SELECT pg_reload_conf()");
        let is_synchronous = async || {
            let state = primary.sql("SELECT sync_state FROM pg_stat_replication");
            (state.trim() == "sync").then_some(())
        };
        eventually("the standby is synchronous", is_synchronous).await;
        Self { primary, standby, _home: home }
    }

    /// The number that a statement selects in the primary's database of the authority.
    pub(crate) fn primary_count(&self, select: &str) -> u64 {
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "-qAt", "-c", select, "-d"]).arg(self.primary.login.url("authority"));
        run(&mut psql).trim().parse().unwrap()
    }

    /// Makes the standby a primary. The old one lives on, and waits in vain for a standby.
    pub(crate) fn promote(&self) {
        self.standby.sql("SELECT pg_promote()");
    }
}

impl Instance {
    async fn start(data: &Path, home: &Path, settings: &[&str]) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = program("postgres");
        command.arg("-D").arg(data).args(["-p", &port.to_string()]);
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=on"].iter().chain(settings) {
            command.args(["-c", setting]);
        }
        let log = std::fs::File::create(home.join(format!("{port}.log"))).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let process = command.spawn().unwrap();
        let login = Login::local("postgres", "tests", PASSWORD, port);
        let instance = Self { process, login };
        let ready = async || {
            let mut ask = program("pg_isready");
            let asked = ask.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]).status().unwrap();
            asked.success().then_some(())
        };
        in_time("the server answers", eventually("the server answers", ready)).await;
        instance
    }

    /// Stops all its processes, so that it neither answers nor goes away.
    pub(crate) fn freeze(&self) {
        self.signal_all("STOP");
    }

    /// Lets them go on.
    pub(crate) fn thaw(&self) {
        self.signal_all("CONT");
    }

    fn signal_all(&self, signal: &str) {
        let parent = self.process.id().to_string();
        run(Command::new("pkill").args(["--signal", signal, "--parent", &parent]));
        run(Command::new("kill").args(["-s", signal, &parent]));
    }

    /// Executes one statement, and returns what psql prints.
    pub(crate) fn sql(&self, statement: &str) -> String {
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", statement, "-d"])
            .arg(self.login.url("postgres"));
        run(&mut psql)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A program of PostgreSQL, as an ordinary user: its servers refuse to be root. It ends with the test.
fn program(name: &str) -> Command {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed: scripts/install-tools");
    let programs: PathBuf = versions.map(|entry| entry.unwrap().path().join("bin")).max().expect("a version");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if rustix::process::geteuid().is_root() {
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
    }
    command.arg(programs.join(name)).current_dir("/").env("LC_ALL", "C.UTF-8");
    command
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
