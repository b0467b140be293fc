//! Bad input to Verify. It never touches the database, so one database will do.

use key_authority_proto::v1::*;

use super::*;
use crate::support::client::question;
use crate::support::expect::invalid_status;
use crate::support::{Authority, in_time, on_sqlite};

fn cases(token: &str) -> Vec<Case<VerifyRequest>> {
    let base = &question(token);
    vec![
        // What the holder presents gets a verdict, never an error.
        case(
            "token",
            base,
            |r, v| r.token = v,
            [texts(["", "\0", "é"]), vec!["a".repeat(512), keys(10_000)]].concat(),
            vec![],
        ),
        case("project", base, |r, v| r.project = v, vec![keys(256), "a\nb".into()], vec![keys(257)]),
        case(
            "scopes",
            base,
            |r, v| r.scopes = v,
            vec![numbered(100), vec![keys(128)], texts(["a b"]), texts(["\0"])],
            vec![numbered(101), vec![keys(129)], texts(["a", ""])],
        ),
        case(
            "client_ip",
            base,
            |r, v| r.client_ip = v,
            texts(["", "192.0.2.1", "::1", "::ffff:192.0.2.1", "2001:DB8::1"]),
            texts([
                "nowhere",
                "192.0.2.0/24",
                "192.0.2.1:80",
                "[::1]",
                "fe80::1%eth0",
                "192.0.2",
                " 192.0.2.1",
                "1",
                "\0",
            ]),
        ),
        case("account", base, |r, v| r.account = v, vec![keys(64), "a b".into()], vec![keys(65)]),
        case("key_id", base, |r, v| r.key_id = v, vec![keys(64), "a b".into()], vec![keys(65)]),
    ]
}

async fn verify_takes_what_its_limits_allow(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let token = client.key_in("acme").await.token;
    check(cases(&token), async |request| client.verify(request).await).await;

    // The limit of a token is a verdict too.
    for (bytes, wanted) in [(512, Verdict::Malformed), (513, Verdict::Malformed)] {
        assert_eq!(client.verdict(&"a".repeat(bytes)).await, wanted);
    }
}

async fn batches_and_streams_hold_to_the_limits_of_verify(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let token = client.key_in("acme").await.token;
    for (field, good, bad) in cases(&token) {
        let fine = good.clone();
        let answers = client.batch_verify(BatchVerifyRequest { requests: fine }).await.unwrap();
        assert_eq!(answers.responses.len(), good.len(), "{field}");
        for request in bad {
            let requests = vec![question(&token), request.clone()];
            let status = client.batch_verify(BatchVerifyRequest { requests }).await.unwrap_err();
            invalid_status(&status, &format!("requests[1].{field}"));

            let asked = VerifyStreamRequest { id: 7, request: Some(request) };
            let mut answers = client.verify_stream(tokio_stream::iter([asked])).await.unwrap();
            let answer = in_time("the outcome", answers.message()).await.unwrap().unwrap();
            let Some(verify_stream_response::Outcome::Error(error)) = answer.outcome else { panic!("{answer:?}") };
            assert_eq!((answer.id, error.code, error.reason.as_str()), (7, 3, "FIELD_INVALID"), "{field}");
            assert!(error.message.contains(field), "{field} is named: {}", error.message);
        }
    }
}

on_sqlite! {
    verify_takes_what_its_limits_allow,
    batches_and_streams_hold_to_the_limits_of_verify,
}
