//! A server process with a database of its own.

mod setup;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Command;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

pub(crate) use self::setup::Setup;
use super::client::{Client, NewKey, only};
use super::database::{Database, Provisioned};
use super::link::Link;
use super::process::{self, Ended, Server};
use super::{DEADLINE, eventually, http, in_time, v1};

/// The health name of Verify.
pub(crate) const VERIFY: &str = "keyauthority.v1.KeyAuthority";
/// The health name of admin RPCs.
pub(crate) const STORAGE: &str = "storage";

/// An authority. Dropping it ends the process and removes the database.
pub(crate) struct Authority {
    // Dropped in this order: the process, then what it uses.
    server: Option<Server>,
    channel: Option<Channel>,
    setup: Setup,
    provisioned: Arc<Provisioned>,
    link: Option<Link>,
    folder: TempDir,
}

impl Authority {
    /// Starts another replica on the same database, set up as this one with a few `changes`.
    pub(crate) async fn another(&self, changes: impl FnOnce(Setup) -> Setup) -> Self {
        let mut replica = self.prepare_another(changes).await;
        replica.restart().await;
        replica
    }

    /// The same, but does not start it.
    pub(crate) async fn prepare_another(&self, changes: impl FnOnce(Setup) -> Setup) -> Self {
        let folder = tempfile::Builder::new().prefix("key-authority-").tempdir().unwrap();
        for file in ["secret", "token"] {
            std::fs::copy(self.file(file), folder.path().join(file)).unwrap();
        }
        changes(self.setup.clone()).on_provisioned(Arc::clone(&self.provisioned), folder).await
    }

    async fn make_secrets(&self) {
        for (command, file) in [("generate-secret", "secret"), ("generate-token", "token")] {
            let printed = process::subcommand([command]).await.well().stdout;
            assert_eq!(printed.lines().count(), 1, "{command} prints one line");
            std::fs::write(self.file(file), printed).unwrap();
        }
    }

    /// Its data folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Where its database is.
    pub(crate) fn database(&self) -> &Provisioned {
        &self.provisioned
    }

    /// The link to the database, where the setup has one.
    pub(crate) fn link(&self) -> &Link {
        self.link.as_ref().expect("the setup is linked")
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("the server runs")
    }

    /// Its process ID.
    pub(crate) fn pid(&self) -> u32 {
        self.server().pid()
    }

    /// Where it serves gRPC.
    pub(crate) fn grpc(&self) -> &str {
        &self.server().grpc
    }

    /// Where it serves HTTP.
    pub(crate) fn http(&self) -> &str {
        &self.server().http
    }

    /// Where it serves the HTTP door.
    pub(crate) fn api(&self) -> &str {
        &self.server().api
    }

    /// Where it says that the root token lies.
    pub(crate) async fn printed_token_path(&self) -> PathBuf {
        eventually("the path of the root token is printed", async || {
            self.output().lines().find_map(|line| line.trim().strip_prefix("root token").map(|path| path.trim().into()))
        })
        .await
    }

    /// The flags that say which database and which secret: for `serve` and every other subcommand.
    pub(crate) fn storage_flags(&self) -> Vec<String> {
        let mut flags = vec!["--data-dir".into(), self.folder().display().to_string()];
        if let Some(url) = self.provisioned.url(self.link.as_ref().map(|link| link.address.as_str())) {
            flags.extend(["--database-url".into(), url]);
            flags.extend(["--secret-file".into(), self.secret_file().display().to_string()]);
        }
        flags
    }

    /// A subcommand on this authority's database.
    pub(crate) async fn subcommand(&self, words: &[&str], flags: &[&str]) -> Ended {
        let storage = self.storage_flags();
        let words = words.iter().map(|&word| word.to_owned());
        process::subcommand(words.chain(storage).chain(flags.iter().map(|&flag| flag.to_owned()))).await
    }

    /// The command that starts it.
    pub(crate) fn serve_command(&self) -> Command {
        let mut command = process::program_under(&self.setup.wrapper);
        command.arg("serve").args(self.storage_flags());
        command.args(["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"]);
        command.args(["--log-format", "json", "--log", self.setup.log]);
        if self.setup.database != Database::Sqlite {
            command.arg("--bootstrap-token-file").arg(self.file("token"));
        }
        command.args(&self.setup.flags);
        command
    }

    /// Starts the server again, after [`Authority::stop`] or [`Authority::kill`], and awaits that it can verify.
    pub(crate) async fn restart(&mut self) {
        self.start_process().await;
        self.await_health(VERIFY, ServingStatus::Serving).await;
        self.await_health(STORAGE, ServingStatus::Serving).await;
    }

    /// The same without waiting for more than that it listens.
    pub(crate) async fn start_process(&mut self) {
        assert!(self.server.is_none(), "the server runs already");
        let server = Server::start(self.serve_command(), self.folder.path()).await;
        self.channel = Some(connect(&server.grpc, self.setup.tls.clone()));
        self.server = Some(server);
    }

    /// Starts it from now on without the program that limited it.
    pub(crate) fn unlimited(&mut self) {
        self.setup.wrapper.clear();
    }

    /// Asks it to end and awaits that it does.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        self.server().signal(Signal::TERM);
        self.wait().await
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.server().signal(signal);
    }

    /// Awaits its end.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        let status = self.server.as_mut().expect("the server runs").wait().await;
        self.server = None;
        status
    }

    /// Ends it as a power cut would.
    pub(crate) async fn kill(&mut self) {
        self.server.as_mut().expect("the server runs").kill().await;
        self.server = None;
    }

    /// The connection that all clients share.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone().expect("the server was started")
    }

    /// A connection of its own.
    pub(crate) fn new_channel(&self) -> Channel {
        connect(self.grpc(), self.setup.tls.clone())
    }

    /// The file that the authority secret is in.
    pub(crate) fn secret_file(&self) -> PathBuf {
        self.file(if self.setup.database == Database::Sqlite { "authority.secret" } else { "secret" })
    }

    /// The root token.
    pub(crate) fn root_token(&self) -> String {
        let file = self.file(if self.setup.database == Database::Sqlite { "root.token" } else { "token" });
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        text.trim().to_owned()
    }

    /// A caller with the root token.
    pub(crate) fn client(&self) -> Client {
        self.client_with(&self.root_token())
    }

    /// A caller with this token.
    pub(crate) fn client_with(&self, token: &str) -> Client {
        Client::with_authorization(self.channel(), Some(&format!("Bearer {token}")))
    }

    /// A caller without a credential.
    pub(crate) fn anonymous(&self) -> Client {
        Client::with_authorization(self.channel(), None)
    }

    /// Makes a key of account `system` with these permissions, for these accounts or for all.
    pub(crate) async fn new_caller(&self, permissions: &[&str], accounts: Option<&[&str]>) -> (NewKey, Client) {
        let request = v1::CreateKeyRequest {
            account: "system".into(),
            scopes: permissions.iter().map(|&permission| permission.into()).collect(),
            projects: accounts.and_then(only),
            ..v1::CreateKeyRequest::default()
        };
        let key = self.client().new_key(request).await;
        let client = self.client_with(&key.token);
        (key, client)
    }

    /// The ID of the root key.
    pub(crate) async fn root_id(&self) -> String {
        self.client().ask_in("system", &self.root_token()).await.key_id
    }

    /// Health, as `grpc.health.v1` tells it.
    pub(crate) fn health(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel())
    }

    /// Awaits that a service has this health.
    pub(crate) async fn await_health(&self, service: &str, wanted: ServingStatus) {
        let what = format!("health {service:?} is {wanted:?}");
        let watched = in_time(&what, async {
            let request = HealthCheckRequest { service: service.into() };
            let mut states = self.health().watch(request).await?.into_inner();
            while let Some(state) = states.message().await? {
                if state.status() == wanted {
                    return Ok(true);
                }
            }
            Ok::<_, tonic::Status>(false)
        })
        .await;
        assert_eq!(watched.ok(), Some(true), "{what}: the watch ended; the log:\n{}", process::tail(self.folder()));
    }

    /// What a service's health is now.
    pub(crate) async fn health_of(&self, service: &str) -> ServingStatus {
        let request = HealthCheckRequest { service: service.into() };
        self.health().check(request).await.unwrap().into_inner().status()
    }

    /// All that `/metrics` says.
    pub(crate) async fn metrics(&self) -> String {
        let (code, body) = http::get(self.http(), "/metrics").await;
        assert_eq!(code, 200);
        body
    }

    /// All that it has written so far.
    pub(crate) fn output(&self) -> String {
        process::output(self.folder())
    }
}

/// A connection, made when it is first used.
pub(crate) fn connect(address: &str, tls: Option<ClientTlsConfig>) -> Channel {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::try_from(format!("{scheme}://{address}")).unwrap();
    endpoint = endpoint.connect_timeout(DEADLINE);
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls).unwrap();
    }
    endpoint.connect_lazy()
}

impl Drop for Authority {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            server.start_kill();
        }
        if std::thread::panicking() {
            eprintln!("the end of the server's log:\n{}", process::tail(self.folder()));
        } else {
            assert!(!self.output().contains("panicked at"), "the server panicked:\n{}", process::tail(self.folder()));
        }
    }
}
