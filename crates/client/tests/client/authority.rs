//! A server that can be stopped and restarted on the same address, and its operator.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use key_authority_client::{Verifier, VerifierBuilder};
use key_authority_proto::v1;
use key_authority_proto::v1::key_authority_client::KeyAuthorityClient;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use crate::built;

/// A command that runs the server, without the configuration in the environment of the tests.
pub(crate) fn program() -> Command {
    let mut command = Command::new(built("key-authority"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("KEY_AUTHORITY_") || text.starts_with("OTEL_") || text == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// A running server. Drop kills it.
pub(crate) struct Authority {
    child: Child,
    /// Kept open, because the server may write to it.
    stdout: BufReader<ChildStdout>,
    folder: TempDir,
    flags: Vec<String>,
    /// The address of gRPC. A restart does not change it.
    pub(crate) grpc: String,
    /// The address of HTTP.
    pub(crate) http: String,
    /// A token with the scope `verify`.
    pub(crate) service_token: String,
}

impl Authority {
    /// Starts a server on the embedded database, with an account `acme` and a key for services.
    pub(crate) async fn start() -> Self {
        let mut authority = Self::start_with(Vec::new());
        authority.operator().create_account("acme").await;
        authority.service_token = authority.operator().create_service().await.token;
        authority
    }

    /// Starts a server with additional flags.
    pub(crate) fn start_with(flags: Vec<String>) -> Self {
        let folder = tempfile::Builder::new().prefix("key-authority-").tempdir().unwrap();
        let (child, stdout, [grpc, http]) = spawn(folder.path(), "127.0.0.1:0", &flags);
        Self { child, stdout, folder, flags, grpc, http, service_token: String::new() }
    }

    /// A folder for temporary files, which lives as long as the server.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops the server with a signal, and waits until its process has ended.
    pub(crate) fn stop(&mut self, signal: Signal) {
        self.signal(signal);
        self.child.wait().unwrap();
    }

    /// Restarts the server on the same address.
    pub(crate) fn restart(&mut self) {
        let (child, stdout, [grpc, http]) = spawn(self.folder.path(), &self.grpc, &self.flags);
        (self.child, self.stdout, self.http) = (child, stdout, http);
        assert_eq!(grpc, self.grpc);
    }

    /// The token of the root key.
    pub(crate) fn root_token(&self) -> String {
        std::fs::read_to_string(self.folder().join("data/root.token")).unwrap().trim().to_owned()
    }

    /// An operator with the root token.
    pub(crate) fn operator(&self) -> Operator {
        Operator::new(&self.grpc, &self.root_token())
    }

    /// A builder with the endpoint of this server and the token of the service.
    pub(crate) fn builder(&self) -> VerifierBuilder {
        Verifier::builder().endpoint(format!("http://{}", self.grpc)).token(&self.service_token)
    }
}

/// Starts a server and waits until it prints its addresses, which are returned.
fn spawn(folder: &Path, listen: &str, flags: &[String]) -> (Child, BufReader<ChildStdout>, [String; 2]) {
    let log = folder.join("stderr.log");
    let mut child = program()
        .arg("--data-dir")
        .arg(folder.join("data"))
        .args(["--listen", listen, "--http-listen", "127.0.0.1:0", "--api-listen", ""])
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(File::options().create(true).append(true).open(&log).unwrap())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut addresses = [String::new(), String::new()];
    let mut line = String::new();
    while addresses.iter().any(String::is_empty) {
        line.clear();
        if stdout.read_line(&mut line).unwrap() == 0 {
            let status = child.wait().unwrap();
            panic!("the server ended ({status}):\n{}", std::fs::read_to_string(&log).unwrap());
        }
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("gRPC"), Some(address)) => address.clone_into(&mut addresses[0]),
            (Some("HTTP"), Some(address)) => address.clone_into(&mut addresses[1]),
            _ => {}
        }
    }
    (child, stdout, addresses)
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("stderr.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the last lines of the server's log:\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}

/// Creates, renews and revokes keys.
pub(crate) struct Operator {
    rpc: KeyAuthorityClient<Channel>,
    authorization: String,
}

impl Operator {
    pub(crate) fn new(address: &str, token: &str) -> Self {
        let channel = Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy();
        Self { rpc: KeyAuthorityClient::new(channel), authorization: format!("Bearer {token}") }
    }

    /// A request with the operator's token, and the client that sends it.
    pub(crate) fn call<T>(&self, message: T) -> (KeyAuthorityClient<Channel>, Request<T>) {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.parse().unwrap());
        (self.rpc.clone(), request)
    }

    pub(crate) async fn create_account(&self, id: &str) {
        let account = v1::Account { id: id.into(), ..v1::Account::default() };
        let request = v1::CreateAccountRequest { account: Some(account), ..v1::CreateAccountRequest::default() };
        let (mut rpc, request) = self.call(request);
        rpc.create_account(request).await.unwrap();
    }

    pub(crate) async fn create(&self, request: v1::CreateKeyRequest) -> v1::CreateKeyResponse {
        let (mut rpc, request) = self.call(request);
        rpc.create_key(request).await.unwrap().into_inner()
    }

    /// Creates a key in account `acme`, and returns its token.
    pub(crate) async fn create_key(&self, key_id: &str, scopes: &[&str]) -> String {
        self.create(key(key_id, scopes)).await.token
    }

    /// Creates a key for a service that verifies tokens.
    pub(crate) async fn create_service(&self) -> v1::CreateKeyResponse {
        let scopes = vec!["verify".to_owned()];
        self.create(v1::CreateKeyRequest { account: "system".into(), scopes, ..v1::CreateKeyRequest::default() }).await
    }

    pub(crate) async fn revoke(&self, key_id: &str) {
        let request = v1::RevokeKeyRequest { key_id: key_id.into(), ..v1::RevokeKeyRequest::default() };
        let (mut rpc, request) = self.call(request);
        rpc.revoke_key(request).await.unwrap();
    }

    /// Renews a key without overlap, and returns its new token.
    pub(crate) async fn renew(&self, key_id: &str) -> String {
        let request = v1::RenewKeyRequest { key_id: key_id.into(), ..v1::RenewKeyRequest::default() };
        let (mut rpc, request) = self.call(request);
        rpc.renew_key(request).await.unwrap().into_inner().token
    }
}

/// A key of account `acme`.
pub(crate) fn key(key_id: &str, scopes: &[&str]) -> v1::CreateKeyRequest {
    v1::CreateKeyRequest {
        account: "acme".into(),
        key_id: key_id.into(),
        scopes: scopes.iter().map(|&scope| scope.into()).collect(),
        ..v1::CreateKeyRequest::default()
    }
}
