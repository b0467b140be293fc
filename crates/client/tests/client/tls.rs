//! TLS and mTLS, on a real wire.

use std::time::Duration;

use key_authority_client::{Builder, Error, Question, SetupError, Verdict, Verifier};

use crate::authority::Authority;
use crate::certificates::Certificates;

/// The settings of a verifier that asks by TLS, and trusts what the system trusts.
fn builder(authority: &Authority) -> Builder {
    let endpoint = format!("https://{}", authority.grpc);
    Verifier::builder().endpoint(endpoint).token(authority.root_token()).deadline(Duration::from_secs(2))
}

/// What comes of asking about the operator's token.
async fn asked(authority: &Authority, builder: Builder) -> Result<Verdict, Error> {
    let verifier = builder.connect().await.unwrap();
    verifier.verify(&Question::new(authority.root_token()).account("system")).await
}

#[track_caller]
fn allowed(outcome: &Result<Verdict, Error>) {
    assert!(matches!(outcome, Ok(Verdict::Allowed(key)) if key.account == "system"), "{outcome:?}");
}

/// Fails unless there is no verdict, and it is said why.
#[track_caller]
fn refused(outcome: &Result<Verdict, Error>, why: &str) {
    let Err(error @ Error::Unavailable { .. }) = outcome else { panic!("{outcome:?}") };
    assert!(error.to_string().contains(why), "{error}");
}

mod sqlite {
    use super::*;

    #[tokio::test]
    async fn only_an_authority_that_is_trusted_is_asked() {
        let (certificates, others) = (Certificates::new(), Certificates::new());
        let authority = Authority::start_with(certificates.flags(false));
        let trusting = |of: &Certificates| builder(&authority).ca_certificate(of.read("ca.pem"));
        let plain = Verifier::builder().endpoint(format!("http://{}", authority.grpc)).token(authority.root_token());
        let (trusted, other, system, plain) = tokio::join!(
            asked(&authority, trusting(&certificates)),
            asked(&authority, trusting(&others)),
            asked(&authority, builder(&authority)),
            asked(&authority, plain.deadline(Duration::from_secs(2))),
        );
        allowed(&trusted);
        refused(&other, "invalid peer certificate");
        refused(&system, "invalid peer certificate: UnknownIssuer");
        refused(&plain, &authority.grpc);
    }

    #[tokio::test]
    async fn who_must_show_a_certificate_does() {
        let (certificates, others) = (Certificates::new(), Certificates::new());
        let authority = Authority::start_with(certificates.flags(true));
        let without = || builder(&authority).ca_certificate(certificates.read("ca.pem"));
        let with = |of: &Certificates| without().client_identity(of.read("client.pem"), of.read("client.key"));
        let (ours, none, stranger) = tokio::join!(
            asked(&authority, with(&certificates)),
            asked(&authority, without()),
            asked(&authority, with(&others)),
        );
        allowed(&ours);
        // In TLS 1.3 a client has finished its handshake when it is turned away, so it learns of an end only.
        refused(&none, &authority.grpc);
        refused(&stranger, &authority.grpc);
    }
}

#[tokio::test]
async fn what_is_no_certificate_is_refused_before_anything_is_asked() {
    let certificates = Certificates::new();
    let builder = || Verifier::builder().endpoint("https://127.0.0.1:1");
    let refused = async |builder: Builder| builder.connect().await.map(drop).unwrap_err();
    for ca in [&b"nonsense"[..], b"", &certificates.read("ca.key")] {
        assert!(matches!(refused(builder().ca_certificate(ca)).await, SetupError::Endpoint { .. }));
    }
    let no_key = builder().client_identity(certificates.read("client.pem"), "nonsense");
    assert!(matches!(refused(no_key).await, SetupError::Endpoint { .. }));
    let no_certificate = builder().client_identity("nonsense", certificates.read("client.key"));
    assert!(matches!(refused(no_certificate).await, SetupError::Endpoint { .. }));
}
