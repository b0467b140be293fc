//! What a verifier says, and what it says when it cannot tell.

use std::time::{Duration, UNIX_EPOCH};

use key_authority_client::{Denial, Error, Question, Reason, Verdict, Verifier};
use key_authority_proto::v1;
use rustix::process::Signal;

use crate::authority::{Authority, key};

async fn denied(verifier: &Verifier, question: &Question) -> Denial {
    match verifier.verify(question).await.unwrap() {
        Verdict::Denied(denial) => denial,
        Verdict::Allowed(identity) => panic!("{question:?} was allowed to {identity:?}"),
    }
}

mod sqlite {
    use super::*;

    #[tokio::test]
    async fn who_is_allowed_is_told_with_all_that_is_known_of_the_key() {
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
    }

    #[tokio::test]
    async fn who_is_denied_is_told_the_reason() {
        let authority = Authority::start().await;
        let (operator, verifier) = (authority.operator(), authority.builder().connect().await.unwrap());
        let token = operator.create_key("ci", &["read"]).await;
        let some = |text: &str| Some(text.to_owned());

        let denial = denied(&verifier, &Question::new("no token")).await;
        assert_eq!(denial, Denial { reason: Reason::Malformed, key_id: None, account: None, missing_scopes: vec![] });
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
    async fn a_question_that_is_not_valid_is_an_error_and_spoils_no_other() {
        let authority = Authority::start().await;
        let token = authority.operator().create_key("ci", &[]).await;
        let verifier = authority.builder().connect().await.unwrap();
        let (wrong, right) = (Question::new(&token).project("p".repeat(257)), Question::new(&token));
        let (wrong, right) = tokio::join!(verifier.verify(&wrong), verifier.verify(&right));
        assert!(matches!(wrong, Err(Error::Invalid { message }) if message.contains("project")));
        assert!(matches!(right, Ok(Verdict::Allowed(_))));
    }

    #[tokio::test]
    async fn what_is_too_large_to_ask_ends_no_stream() {
        let authority = Authority::start().await;
        let token = authority.operator().create_key("ci", &[]).await;
        let verifier = authority.builder().connect().await.unwrap();
        let malformed = denied(&verifier, &Question::new("a".repeat(70_000))).await;
        assert_eq!(malformed.reason, Reason::Malformed);
        assert_eq!(denied(&verifier, &Question::new("")).await.reason, Reason::Malformed);
        let large = Question::new(&token).project("p".repeat(70_000));
        assert!(matches!(verifier.verify(&large).await, Err(Error::Invalid { .. })));
        // The largest that may be asked is small enough for a stream.
        let long = |length| "\u{10ffff}".repeat(length);
        let largest = Question::new("a".repeat(512)).project(long(256)).scopes(std::iter::repeat_n(long(128), 100));
        let largest = largest.account(long(64)).key_id(long(64)).client_ip("2001:db8::1".parse().unwrap());
        denied(&verifier, &largest).await;
        assert!(matches!(verifier.verify(&Question::new(&token)).await, Ok(Verdict::Allowed(_))));
    }

    #[tokio::test]
    async fn a_service_that_may_not_ask_is_told_so_at_once() {
        let mut authority = Authority::start().await;
        let operator = authority.operator();
        let token = operator.create_key("ci", &[]).await;
        // A key that is no caller's.
        authority.service_token.clone_from(&token);
        let verifier = authority.builder().deadline(Duration::from_mins(10)).connect().await.unwrap();
        assert!(matches!(verifier.verify(&Question::new(&token)).await, Err(Error::Caller { .. })));
    }

    #[tokio::test]
    async fn a_token_file_is_read_anew_when_its_token_is_not_accepted_any_more() {
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
        assert!(matches!(verifier.verify(&question).await, Err(Error::Caller { .. })));
        assert!(matches!(verifier.verify(&question).await, Ok(Verdict::Allowed(_))));
    }

    #[tokio::test]
    async fn an_authority_that_is_away_is_an_error_and_says_what_is_wrong() {
        let mut authority = Authority::start().await;
        authority.end(Signal::KILL);
        let verifier = authority.builder().deadline(Duration::from_millis(300)).connect().await.unwrap();
        let error = verifier.verify(&Question::new("no token")).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }));
        assert!(error.to_string().contains(&authority.grpc), "{error}");
        assert!(!verifier.is_ready());
    }
}
