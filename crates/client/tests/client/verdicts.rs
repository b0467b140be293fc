//! The verdicts and the errors of a verifier.

use std::time::{Duration, UNIX_EPOCH};

use key_authority_client::{Denial, Error, Question, Reason, Verdict, Verifier};
use key_authority_proto::v1;
use rustix::process::Signal;

use crate::authority::{Authority, key};
use crate::chain;

async fn denied(verifier: &Verifier, question: &Question) -> Denial {
    match verifier.verify(question).await.unwrap() {
        Verdict::Denied(denial) => denial,
        Verdict::Allowed(identity) => panic!("{question:?} was allowed for {identity:?}"),
    }
}

mod sqlite {
    use super::*;

    #[tokio::test]
    async fn an_allowed_verdict_describes_the_key() {
        let authority = Authority::start().await;
        let created = authority
            .operator()
            .create(v1::CreateKeyRequest {
                labels: [("team".to_owned(), "build".to_owned())].into(),
                expiry: Some(v1::create_key_request::Expiry::Lifetime(prost_types::Duration {
                    seconds: 3600,
                    nanos: 0,
                })),
                ..key("ci", &["deploy", "read"])
            })
            .await;
        let expire_time = created.key.unwrap().expire_time.unwrap();
        let verifier = authority.builder().connect().await.unwrap();
        let question = Question::new(&created.token).account("acme").key_id("ci").scopes(["deploy"]);
        let Verdict::Allowed(identity) = verifier.verify(&question).await.unwrap() else { panic!("not allowed") };
        assert_eq!((identity.key_id.as_str(), identity.account.as_str()), ("ci", "acme"));
        assert_eq!(identity.scopes, ["deploy", "read"]);
        assert_eq!(identity.labels.into_iter().collect::<Vec<_>>(), [("team".to_owned(), "build".to_owned())]);
        let seconds = identity.expire_time.unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(i64::try_from(seconds).unwrap(), expire_time.seconds);
        assert!(verifier.is_ready());
        verifier.wait_until_ready().await.unwrap();
    }

    #[tokio::test]
    async fn a_denied_verdict_has_a_reason() {
        let authority = Authority::start().await;
        let (operator, verifier) = (authority.operator(), authority.builder().connect().await.unwrap());
        let token = operator.create_key("ci", &["read"]).await;
        let some = |text: &str| Some(text.to_owned());

        let denial = denied(&verifier, &Question::new("no token")).await;
        assert_eq!(denial, Denial::new(Reason::Malformed));
        let denial = denied(&verifier, &Question::new(&token).account("other")).await;
        assert_eq!((denial.reason, denial.key_id), (Reason::Unknown, None));
        let denial = denied(&verifier, &Question::new(&token).scopes(["read", "write"])).await;
        assert_eq!((denial.reason, denial.key_id, denial.account), (Reason::ScopeDenied, some("ci"), some("acme")));
        assert_eq!(denial.missing_scopes, ["write"]);

        let projects = v1::ProjectAccess { only: vec!["web".into()], ..v1::ProjectAccess::default() };
        let in_project = operator.create(v1::CreateKeyRequest { projects: Some(projects), ..key("web", &[]) }).await;
        let denial = denied(&verifier, &Question::new(&in_project.token).project("app")).await;
        assert_eq!(denial.reason, Reason::ProjectDenied);

        let networks = vec!["192.0.2.0/24".to_owned()];
        let near = operator.create(v1::CreateKeyRequest { allowed_networks: networks, ..key("near", &[]) }).await.token;
        assert_eq!(denied(&verifier, &Question::new(&near)).await.reason, Reason::NetworkDenied);
        let question = Question::new(&near).client_ip("192.0.2.7".parse().unwrap());
        assert!(matches!(verifier.verify(&question).await, Ok(Verdict::Allowed(_))));

        let renewed = operator.renew("ci").await;
        assert_eq!(denied(&verifier, &Question::new(&token)).await.reason, Reason::Expired);
        operator.revoke("ci").await;
        assert_eq!(denied(&verifier, &Question::new(&renewed)).await.reason, Reason::Revoked);
    }

    #[tokio::test]
    async fn an_invalid_question_is_an_error_and_does_not_affect_others() {
        let authority = Authority::start().await;
        let token = authority.operator().create_key("ci", &[]).await;
        let verifier = authority.builder().connect().await.unwrap();
        let (wrong, right) = (Question::new(&token).project("p".repeat(257)), Question::new(&token));
        let (wrong, right) = tokio::join!(verifier.verify(&wrong), verifier.verify(&right));
        assert!(matches!(wrong, Err(Error::InvalidQuestion { message, .. }) if message.contains("project")));
        assert!(matches!(right, Ok(Verdict::Allowed(_))));
    }

    #[tokio::test]
    async fn a_question_that_is_too_large_does_not_end_the_stream() {
        let authority = Authority::start().await;
        let token = authority.operator().create_key("ci", &[]).await;
        let verifier = authority.builder().connect().await.unwrap();
        let malformed = denied(&verifier, &Question::new("a".repeat(70_000))).await;
        assert_eq!(malformed.reason, Reason::Malformed);
        assert_eq!(denied(&verifier, &Question::new("")).await.reason, Reason::Malformed);
        let large = Question::new(&token).project("p".repeat(70_000));
        assert!(matches!(verifier.verify(&large).await, Err(Error::InvalidQuestion { .. })));
        // The largest valid question is small enough for a stream.
        let long = |length| "\u{10ffff}".repeat(length);
        let largest = Question::new("a".repeat(512)).project(long(256)).scopes(std::iter::repeat_n(long(128), 100));
        let largest = largest.account(long(64)).key_id(long(64)).client_ip("2001:db8::1".parse().unwrap());
        denied(&verifier, &largest).await;
        assert!(matches!(verifier.verify(&Question::new(&token)).await, Ok(Verdict::Allowed(_))));
    }

    #[tokio::test]
    async fn a_service_without_the_scope_verify_gets_an_error_at_once() {
        let mut authority = Authority::start().await;
        let operator = authority.operator();
        let token = operator.create_key("ci", &[]).await;
        // A key without the scope `verify`.
        authority.service_token.clone_from(&token);
        let verifier = authority.builder().deadline(Duration::from_mins(10)).connect().await.unwrap();
        assert!(matches!(verifier.verify(&Question::new(&token)).await, Err(Error::CallerRejected { .. })));
    }

    #[tokio::test]
    async fn the_token_file_is_read_again_after_its_token_is_rejected() {
        let authority = Authority::start().await;
        let operator = authority.operator();
        let token = operator.create_key("ci", &[]).await;
        let service = operator.create_service().await;
        let file = authority.folder().join("service.token");
        std::fs::write(&file, service.token + "\n").unwrap();
        let verifier = Verifier::builder().endpoint(format!("http://{}", authority.grpc)).token_file(&file);
        let verifier = verifier.connect().await.unwrap();
        let question = Question::new(&token);
        assert!(matches!(verifier.verify(&question).await, Ok(Verdict::Allowed(_))));

        let renewed = operator.renew(&service.key.unwrap().id).await;
        std::fs::write(&file, renewed).unwrap();
        assert!(matches!(verifier.verify(&question).await, Err(Error::CallerRejected { .. })));
        assert!(matches!(verifier.verify(&question).await, Ok(Verdict::Allowed(_))));
    }

    #[tokio::test]
    async fn an_outage_is_a_retryable_error_with_its_cause() {
        let mut authority = Authority::start().await;
        authority.stop(Signal::KILL);
        let verifier = authority.builder().deadline(Duration::from_millis(300)).connect().await.unwrap();
        let error = verifier.verify(&Question::new("no token")).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }) && error.is_retryable());
        assert!(chain(&error).contains(&authority.grpc), "{}", chain(&error));
        assert!(!verifier.is_ready());
        assert!(matches!(verifier.wait_until_ready().await, Err(Error::Unavailable { .. })));
    }
}
