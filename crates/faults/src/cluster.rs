//! A cluster of our own: a private database server, replicas of the real program, and a link between each and the database.

pub(crate) mod database;
pub(crate) mod link;
mod port;
pub(crate) mod process;
pub(crate) mod replica;
pub(crate) mod session;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use self::database::{Database, Kind};
use self::link::Link;
use self::process::User;
use self::replica::Replica;
use crate::chance::Chance;
use crate::client::Client;
use crate::progress::say;
use crate::trouble::{Attempt as _, Trouble};

/// How long a cluster may take to come to rest after a fault: the lease of a replica that was killed, and some more.
const REST_LIMIT: Duration = Duration::from_secs(90);

/// What a cluster is to be.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) database: Kind,
    pub(crate) replicas: usize,
    pub(crate) lease: Duration,
    pub(crate) server: PathBuf,
    /// Whether each replica reaches the database over a link that can fail.
    pub(crate) is_linked: bool,
}

/// A running cluster. Dropping it ends all its processes and removes all its data.
#[derive(Debug)]
pub(crate) struct Cluster {
    // Dropped in this order: those who use the database, then the database.
    pub(crate) replicas: Vec<Replica>,
    pub(crate) database: Database,
    pub(crate) plan: Plan,
    /// The root token.
    pub(crate) token: String,
    folder: TempDir,
}

impl Cluster {
    /// Starts one, and awaits that every replica answers.
    pub(crate) async fn start(plan: Plan, chance: &mut Chance) -> Result<Self, Trouble> {
        let server = plan.server.canonicalize().attempt(format!("the server, {}", plan.server.display()))?;
        let plan = Plan { server, ..plan };
        let database = Database::start(plan.database, chance).await?;
        let folder = tempfile::Builder::new().prefix("key-authority-faults-").tempdir().attempt("a folder")?;
        let token = print_into(&plan.server, "generate-token", &folder.path().join("token")).await?;
        print_into(&plan.server, "generate-secret", &folder.path().join("secret")).await?;
        let mut cluster = Self { replicas: Vec::new(), database, plan, token, folder };
        cluster.grow(cluster.plan.replicas, chance).await?;
        Ok(cluster)
    }

    /// Adds replicas until there are so many, and awaits that all answer.
    pub(crate) async fn grow(&mut self, count: usize, chance: &mut Chance) -> Result<(), Trouble> {
        for index in self.replicas.len()..count {
            let replica = self.make_replica(index + 1, chance).await?;
            self.replicas.push(replica);
            // One after the other: the first makes the schema and the root key.
            self.start_replica(index).await?;
        }
        self.until_at_rest().await?;
        say!("{} and replicas, {count} of them, are up", self.plan.database.name());
        Ok(())
    }

    async fn make_replica(&self, number: usize, chance: &mut Chance) -> Result<Replica, Trouble> {
        let name = format!("replica {number}");
        let address = format!("127.0.0.1:{}", port::free(chance)?);
        let link = if self.plan.is_linked {
            Some(Link::to(self.database.address(), chance).await.attempt("a link")?)
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
            ("--lease", format!("{}ms", self.plan.lease.as_millis())),
            ("--log", "info".to_owned()),
        ];
        let words = words.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        let arguments = std::iter::once("serve".to_owned()).chain(words).collect();
        let log = self.folder.path().join(format!("replica-{number}.log"));
        Ok(Replica::new(name, address, link, self.plan.server.clone(), arguments, log))
    }

    /// Starts a replica that is down, and awaits that it answers.
    pub(crate) async fn start_replica(&mut self, index: usize) -> Result<(), Trouble> {
        let replica = self.replicas.get_mut(index).ok_or("there is no such replica")?;
        replica.start()?;
        let client = Client::new(&replica.address, &self.token)?;
        replica.until_it_answers(&client).await
    }

    /// A caller of each replica, each over a connection of its own.
    pub(crate) fn clients(&self, token: &str) -> Result<Vec<Client>, Trouble> {
        self.replicas.iter().map(|replica| Client::new(&replica.address, token)).collect()
    }

    /// Awaits that every replica answers, and that the registry holds them and nobody else.
    pub(crate) async fn until_at_rest(&mut self) -> Result<(), Trouble> {
        let clients = self.clients(&self.token)?;
        for (replica, client) in self.replicas.iter_mut().zip(&clients) {
            replica.until_it_answers(client).await?;
        }
        let count = self.replicas.len();
        let rest = timeout(REST_LIMIT, async {
            loop {
                for client in &clients {
                    let asked = timeout(Duration::from_secs(1), client.replicas_alive()).await;
                    if matches!(asked, Ok(Ok((alive, registered))) if alive == count && registered == count) {
                        return;
                    }
                    sleep(Duration::from_millis(30)).await;
                }
            }
        });
        rest.await.attempt(format!("the cluster does not come to rest within {REST_LIMIT:?} after a fault"))
    }

    /// Recomputes the chain of the audit log, and says what the program says of it.
    pub(crate) async fn verify_audit(&self) -> Result<String, Trouble> {
        let mut command = process::command(&self.plan.server, User::Us, Signal::KILL);
        command.args(["audit", "verify", "--database-url", &self.database.url(None), "--secret-file"]);
        command.arg(self.folder.path().join("secret")).arg("--data-dir").arg(self.folder.path());
        process::run(command).await.map(|said| said.trim().to_owned())
    }

    /// What the replicas wrote that a server must never have to write.
    pub(crate) fn panics(&self) -> Vec<String> {
        let told = |replica: &Replica| {
            let text = replica.log_text();
            let line = text.lines().find(|line| line.contains("panicked at"));
            line.map(|line| format!("{}: {line}", replica.name))
        };
        self.replicas.iter().filter_map(told).collect()
    }
}

/// Writes what a subcommand prints into a file, and returns it.
async fn print_into(server: &Path, subcommand: &str, file: &Path) -> Result<String, Trouble> {
    let mut command = process::command(server, User::Us, Signal::KILL);
    command.arg(subcommand);
    let printed = process::run(command).await?;
    std::fs::write(file, &printed).attempt(file.display())?;
    Ok(printed.trim().to_owned())
}
