//! A private cluster: a database server, replicas of the real server, and a link between each replica and the database.

pub(crate) mod database;
pub(crate) mod link;
pub(crate) mod replica;
pub(crate) mod session;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use key_authority_testkit::port::free_port;
use key_authority_testkit::process;
use key_authority_testkit::rng::SeededRng;
use key_authority_testkit::say;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use self::database::{Database, Kind};
use self::link::Link;
use self::replica::Replica;
use crate::client::Client;

/// How long a cluster may take to become stable after a fault: the lease of a killed replica, and a margin.
const STABLE_TIMEOUT: Duration = Duration::from_secs(90);

/// The configuration of a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) database: Kind,
    pub(crate) replicas: usize,
    pub(crate) lease: Duration,
    pub(crate) server: PathBuf,
    /// Whether each replica reaches the database over a fault-injecting link.
    pub(crate) is_linked: bool,
}

/// A running cluster. Dropping it ends all its processes and removes all its data.
#[derive(Debug)]
pub(crate) struct Cluster {
    // The order of the fields is the drop order: the database must outlive its replicas.
    pub(crate) replicas: Vec<Replica>,
    pub(crate) database: Database,
    pub(crate) plan: Plan,
    /// The root token.
    pub(crate) token: String,
    folder: TempDir,
}

impl Cluster {
    /// Starts a cluster, and waits until every replica is ready.
    pub(crate) async fn start(plan: Plan, rng: &mut SeededRng) -> Result<Self> {
        let server = plan.server.canonicalize().with_context(|| format!("no server at {}", plan.server.display()))?;
        let plan = Plan { server, ..plan };
        let database = Database::start(plan.database, rng).await?;
        let folder = tempfile::Builder::new()
            .prefix("key-authority-faults-")
            .tempdir()
            .context("cannot create a temporary folder")?;
        let token = save_output(&plan.server, "generate-token", &folder.path().join("token")).await?;
        save_output(&plan.server, "generate-secret", &folder.path().join("secret")).await?;
        let mut cluster = Self { replicas: Vec::new(), database, plan, token, folder };
        cluster.grow(cluster.plan.replicas, rng).await?;
        Ok(cluster)
    }

    /// Adds replicas until there are `count`, and waits until all are ready.
    pub(crate) async fn grow(&mut self, count: usize, rng: &mut SeededRng) -> Result<()> {
        for index in self.replicas.len()..count {
            let replica = self.new_replica(index + 1, rng).await?;
            self.replicas.push(replica);
            // One at a time: the first creates the schema and the root key.
            self.start_replica(index).await?;
        }
        self.wait_until_stable().await?;
        say!("{} and {count} replicas are up", self.plan.database.name());
        Ok(())
    }

    async fn new_replica(&self, number: usize, rng: &mut SeededRng) -> Result<Replica> {
        let name = format!("replica {number}");
        let address = format!("127.0.0.1:{}", free_port(rng)?);
        let link = if self.plan.is_linked {
            Some(Link::to(self.database.address(), rng).await.context("cannot open a link")?)
        } else {
            None
        };
        let url = self.database.url(link.as_ref().map(|link| link.address.as_str()));
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let words = [
            ("--data-dir", file(&format!("data-{number}"))),
            ("--database-url", url),
            ("--secret-file", file("secret")),
            ("--bootstrap-token-file", file("token")),
            ("--listen", address.clone()),
            ("--http-listen", "127.0.0.1:0".to_owned()),
            ("--api-listen", String::new()),
            ("--lease", format!("{}ms", self.plan.lease.as_millis())),
            ("--log", "info".to_owned()),
        ];
        let words = words.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        let arguments = std::iter::once("serve".to_owned()).chain(words).collect();
        let log = self.folder.path().join(format!("replica-{number}.log"));
        Ok(Replica::new(name, address, link, self.plan.server.clone(), arguments, log))
    }

    /// Starts a stopped replica, and waits until it is ready.
    pub(crate) async fn start_replica(&mut self, index: usize) -> Result<()> {
        let replica = self.replicas.get_mut(index).context("no such replica")?;
        replica.start()?;
        let client = Client::new(&replica.address, &self.token)?;
        replica.wait_until_ready(&client).await
    }

    /// A client for each replica, each with a connection of its own.
    pub(crate) fn clients(&self, token: &str) -> Result<Vec<Client>> {
        self.replicas.iter().map(|replica| Client::new(&replica.address, token)).collect()
    }

    /// Waits until every replica is ready and the registry holds exactly these replicas.
    pub(crate) async fn wait_until_stable(&mut self) -> Result<()> {
        let clients = self.clients(&self.token)?;
        for (replica, client) in self.replicas.iter_mut().zip(&clients) {
            replica.wait_until_ready(client).await?;
        }
        let count = self.replicas.len();
        let stable = timeout(STABLE_TIMEOUT, async {
            loop {
                for client in &clients {
                    let status = timeout(Duration::from_secs(1), client.replicas_alive()).await;
                    if matches!(status, Ok(Ok((alive, registered))) if alive == count && registered == count) {
                        return;
                    }
                    sleep(Duration::from_millis(30)).await;
                }
            }
        });
        stable.await.with_context(|| format!("the cluster is not stable {STABLE_TIMEOUT:?} after a fault"))
    }

    /// Verifies the hash chain of the audit log, and returns the output of `audit verify`.
    pub(crate) async fn verify_audit(&self) -> Result<String> {
        let mut command = process::command(&self.plan.server);
        command.args(["audit", "verify", "--database-url", &self.database.url(None), "--secret-file"]);
        command.arg(self.folder.path().join("secret")).arg("--data-dir").arg(self.folder.path());
        process::run(command).await.map(|output| output.trim().to_owned())
    }

    /// The first panic in the log of each replica.
    pub(crate) fn panics(&self) -> Vec<String> {
        let panic = |replica: &Replica| {
            let text = replica.log_text();
            let line = text.lines().find(|line| line.contains("panicked at"));
            line.map(|line| format!("{}: {line}", replica.name))
        };
        self.replicas.iter().filter_map(panic).collect()
    }
}

/// Runs a subcommand, writes its output to a file, and returns it.
async fn save_output(server: &Path, subcommand: &str, file: &Path) -> Result<String> {
    let mut command = process::command(server);
    command.arg(subcommand);
    let printed = process::run(command).await?;
    std::fs::write(file, &printed).with_context(|| file.display().to_string())?;
    Ok(printed.trim().to_owned())
}
