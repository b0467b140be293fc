//! TLS and mTLS with certificates in files, which are read again when they change.

use std::path::Path;

use key_authority_proto::v1::*;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::support::authority::connect;
use crate::support::certificates::Certificates;
use crate::support::{Authority, Client, Database, Setup, eventually, on_sqlite};

/// How a client connects that trusts this authority, with or without a certificate of its own.
fn client(of: &Certificates, with_identity: bool) -> ClientTlsConfig {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(of.read("ca.pem"))).domain_name("localhost");
    let identity = || Identity::from_pem(of.read("client.pem"), of.read("client.key"));
    if with_identity { tls.identity(identity()) } else { tls }
}

/// Whether a caller who connects so is answered.
async fn is_answered(authority: &Authority, tls: Option<ClientTlsConfig>) -> bool {
    let credential = format!("Bearer {}", authority.root_token());
    let caller = Client::with_authorization(connect(authority.grpc(), tls), Some(&credential));
    caller.list_accounts(ListAccountsRequest::default()).await.is_ok()
}

async fn with_certificates_it_speaks_tls_and_nothing_else(database: Database) {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let authority =
        Setup::on(database).flags(certificates.flags(false)).tls(client(&certificates, false)).start().await;
    assert!(is_answered(&authority, Some(client(&certificates, false))).await);
    assert!(!is_answered(&authority, None).await, "no plaintext");
    assert!(!is_answered(&authority, Some(client(&others, false))).await, "the client knows another authority");
    let status = authority.anonymous().list_accounts(ListAccountsRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated, "TLS is no credential");
    assert_eq!(crate::support::http::get(authority.http(), "/readyz").await.0, 200, "the side port stays plain");
}

async fn with_a_client_ca_callers_need_a_certificate(database: Database) {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let setup = Setup::on(database).flags(certificates.flags(true)).tls(client(&certificates, true));
    let authority = setup.start().await;
    assert!(is_answered(&authority, Some(client(&certificates, true))).await);
    assert!(!is_answered(&authority, Some(client(&certificates, false))).await, "none");
    let stranger = Identity::from_pem(others.read("client.pem"), others.read("client.key"));
    assert!(
        !is_answered(&authority, Some(client(&certificates, false).identity(stranger))).await,
        "of another authority"
    );
    let status = authority.anonymous().list_accounts(ListAccountsRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated, "a certificate is no credential");
}

async fn changed_files_are_read_again(database: Database) {
    let (certificates, next) = (Certificates::new(), Certificates::new());
    let setup = Setup::on(database).flags(certificates.flags(true)).tls(client(&certificates, true));
    let authority = setup.start().await;
    let open = authority.client();
    open.list_accounts(ListAccountsRequest::default()).await.unwrap();

    // Nonsense first: what was read goes on.
    let put = |from: &Certificates, names: &[&str]| {
        for name in names {
            replace(&from.path(name), &certificates.path(name));
        }
    };
    let old_client = client(&certificates, true);
    std::fs::write(certificates.path("server.pem"), "nonsense").unwrap();
    assert!(is_answered(&authority, Some(old_client.clone())).await);

    put(&next, &["server.pem", "server.key", "ca.pem"]);
    eventually("new connections get the new certificate", async || {
        is_answered(&authority, Some(client(&next, true))).await.then_some(())
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
