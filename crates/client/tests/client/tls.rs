//! TLS and mutual TLS, against a real server.

use std::time::Duration;

use key_authority_client::{Error, Question, SetupError, Verdict, Verifier, VerifierBuilder};

use crate::authority::Authority;
use crate::chain;
use crate::support::certificates::Certificates;

/// A builder with a TLS endpoint, which trusts the system's certificates.
fn builder(authority: &Authority) -> VerifierBuilder {
    let endpoint = format!("https://{}", authority.grpc);
    Verifier::builder().endpoint(endpoint).token(authority.root_token()).deadline(Duration::from_secs(2))
}

/// Verifies the root token.
async fn verify(authority: &Authority, builder: VerifierBuilder) -> Result<Verdict, Error> {
    let verifier = builder.connect().await.unwrap();
    verifier.verify(&Question::new(authority.root_token()).account("system")).await
}

#[track_caller]
fn allowed(outcome: &Result<Verdict, Error>) {
    assert!(matches!(outcome, Ok(Verdict::Allowed(key)) if key.account == "system"), "{outcome:?}");
}

/// Fails unless the outcome is an error with this cause.
#[track_caller]
fn unavailable(outcome: &Result<Verdict, Error>, cause: &str) {
    let Err(error @ Error::Unavailable { .. }) = outcome else { panic!("{outcome:?}") };
    let causes = chain(error);
    assert!(causes.contains(cause), "{causes}");
}

mod sqlite {
    use super::*;

    #[tokio::test]
    async fn only_a_server_with_a_trusted_certificate_gets_questions() {
        let (certificates, others) = (Certificates::new(), Certificates::new());
        let authority = Authority::start_with(certificates.flags(false));
        let trusting = |of: &Certificates| builder(&authority).ca_certificate(of.read("ca.pem"));
        let plain = Verifier::builder().endpoint(format!("http://{}", authority.grpc)).token(authority.root_token());
        let (trusted, other, system, plain) = tokio::join!(
            verify(&authority, trusting(&certificates)),
            verify(&authority, trusting(&others)),
            verify(&authority, builder(&authority)),
            verify(&authority, plain.deadline(Duration::from_secs(2))),
        );
        allowed(&trusted);
        unavailable(&other, "one of the same name");
        unavailable(&system, "no trusted CA has signed the server's certificate");
        unavailable(&plain, &authority.grpc);
    }

    #[tokio::test]
    async fn the_client_presents_its_certificate() {
        let (certificates, others) = (Certificates::new(), Certificates::new());
        let authority = Authority::start_with(certificates.flags(true));
        let without = || builder(&authority).ca_certificate(certificates.read("ca.pem"));
        let with = |of: &Certificates| without().client_identity(of.read("client.pem"), of.read("client.key"));
        let (ours, none, stranger) = tokio::join!(
            verify(&authority, with(&certificates)),
            verify(&authority, without()),
            verify(&authority, with(&others)),
        );
        allowed(&ours);
        // In TLS 1.3 the server rejects a client after the client's handshake is complete. The client sees a closed
        // connection.
        unavailable(&none, &authority.grpc);
        unavailable(&stranger, &authority.grpc);
    }

    #[tokio::test]
    async fn a_byte_order_mark_in_pem_is_skipped() {
        let certificates = Certificates::new();
        let authority = Authority::start_with(certificates.flags(true));
        let marked = |name: &str| ["\u{feff}".as_bytes(), &certificates.read(name)].concat();
        let builder = builder(&authority).ca_certificate(marked("ca.pem"));
        allowed(&verify(&authority, builder.client_identity(marked("client.pem"), marked("client.key"))).await);
    }
}

#[tokio::test]
async fn invalid_certificates_are_rejected_before_a_connection_is_made() {
    let certificates = Certificates::new();
    let builder = || Verifier::builder().endpoint("https://127.0.0.1:1");
    let setup_error = async |builder: VerifierBuilder| builder.connect().await.map(drop).unwrap_err();
    for ca in [&b"nonsense"[..], b"", &certificates.read("ca.key")] {
        assert!(matches!(setup_error(builder().ca_certificate(ca)).await, SetupError::InvalidCa(_)));
    }
    let no_key = builder().client_identity(certificates.read("client.pem"), "nonsense");
    assert!(matches!(setup_error(no_key).await, SetupError::InvalidIdentity(_)));
    let no_certificate = builder().client_identity("nonsense", certificates.read("client.key"));
    assert!(matches!(setup_error(no_certificate).await, SetupError::InvalidIdentity(_)));
}
