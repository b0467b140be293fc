//! TLS and mTLS with certificates in files, which are read again when they change.

use std::path::{Path, PathBuf};
use std::process::Command;

use key_authority_proto::v1::*;
use tempfile::TempDir;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::support::authority::connect;
use crate::support::{Authority, Client, Database, Setup, eventually, on_sqlite};

/// Certificates of one authority: its own, the server's, a client's.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let certificates = Self { folder: tempfile::tempdir().unwrap() };
        certificates.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca");
        for name in ["server", "client"] {
            certificates.openssl(&format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
            ));
            std::fs::write(certificates.path("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
            certificates.openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem -days 2 -extfile names"
            ));
        }
        certificates
    }

    fn openssl(&self, words: &str) {
        let output = Command::new("openssl").args(words.split(' ')).current_dir(&self.folder).output();
        let output = output.expect("openssl is installed");
        assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// How a client connects that trusts this authority, with or without a certificate of its own.
    fn client(&self, with_identity: bool) -> ClientTlsConfig {
        let tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.read("ca.pem"))).domain_name("localhost");
        let identity = || Identity::from_pem(self.read("client.pem"), self.read("client.key"));
        if with_identity { tls.identity(identity()) } else { tls }
    }

    fn flags(&self, mutual: bool) -> Vec<String> {
        let flag = |flag: &str, file: &str| [flag.to_owned(), self.path(file).display().to_string()];
        let mut flags = [flag("--tls-cert", "server.pem"), flag("--tls-key", "server.key")].concat();
        if mutual {
            flags.extend(flag("--client-ca", "ca.pem"));
        }
        flags
    }
}

/// Whether a caller who connects so is answered.
async fn is_answered(authority: &Authority, tls: Option<ClientTlsConfig>) -> bool {
    let credential = format!("Bearer {}", authority.root_token());
    let caller = Client::with_authorization(connect(authority.grpc(), tls), Some(&credential));
    caller.list_accounts(ListAccountsRequest::default()).await.is_ok()
}

async fn with_certificates_it_speaks_tls_and_nothing_else(database: Database) {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let authority = Setup::on(database).flags(certificates.flags(false)).tls(certificates.client(false)).start().await;
    assert!(is_answered(&authority, Some(certificates.client(false))).await);
    assert!(!is_answered(&authority, None).await, "no plaintext");
    assert!(!is_answered(&authority, Some(others.client(false))).await, "the client knows another authority");
    let status = authority.anonymous().list_accounts(ListAccountsRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated, "TLS is no credential");
    assert_eq!(crate::support::http::get(authority.http(), "/readyz").await.0, 200, "the side port stays plain");
}

async fn with_a_client_ca_callers_need_a_certificate(database: Database) {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let setup = Setup::on(database).flags(certificates.flags(true)).tls(certificates.client(true));
    let authority = setup.start().await;
    assert!(is_answered(&authority, Some(certificates.client(true))).await);
    assert!(!is_answered(&authority, Some(certificates.client(false))).await, "none");
    let stranger = Identity::from_pem(others.read("client.pem"), others.read("client.key"));
    assert!(
        !is_answered(&authority, Some(certificates.client(false).identity(stranger))).await,
        "of another authority"
    );
    let status = authority.anonymous().list_accounts(ListAccountsRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated, "a certificate is no credential");
}

async fn changed_files_are_read_again(database: Database) {
    let (certificates, next) = (Certificates::new(), Certificates::new());
    let setup = Setup::on(database).flags(certificates.flags(true)).tls(certificates.client(true));
    let authority = setup.start().await;
    let open = authority.client();
    open.list_accounts(ListAccountsRequest::default()).await.unwrap();

    // Nonsense first: what was read goes on.
    let put = |from: &Certificates, names: &[&str]| {
        for name in names {
            replace(&from.path(name), &certificates.path(name));
        }
    };
    let old_client = certificates.client(true);
    std::fs::write(certificates.path("server.pem"), "nonsense").unwrap();
    assert!(is_answered(&authority, Some(old_client.clone())).await);

    put(&next, &["server.pem", "server.key", "ca.pem"]);
    eventually("new connections get the new certificate", async || {
        is_answered(&authority, Some(next.client(true))).await.then_some(())
    })
    .await;
    assert!(!is_answered(&authority, Some(old_client)).await, "the old authority is no longer trusted");
    open.list_accounts(ListAccountsRequest::default()).await.expect("open connections go on");
}

/// Puts a file in the place of another at one stroke.
fn replace(from: &Path, to: &Path) {
    let beside = to.with_extension("new");
    std::fs::copy(from, &beside).unwrap();
    std::fs::rename(beside, to).unwrap();
}

on_sqlite! {
    with_certificates_it_speaks_tls_and_nothing_else,
    with_a_client_ca_callers_need_a_certificate,
    changed_files_are_read_again,
}
