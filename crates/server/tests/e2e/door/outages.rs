//! An outage is 503 with `Retry-After`, and never a denial.

use key_authority_proto::v1::*;
use serde_json::json;

use super::{call, failed, introspect, revoke, visit};
use crate::support::{Authority, Database, Setup, eventually, on_database_servers};

async fn linked(database: Database) -> Authority {
    let authority = Setup::on(database).linked().start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    authority
}

async fn an_outage_of_the_database_is_503_on_every_path(database: Database) {
    let authority = linked(database).await;
    let (root, key) = (authority.root_token(), authority.client().key_in("acme").await);
    let question = json!({"token": key.token}).to_string();
    authority.link().cut();
    let answer = call(&authority, "GetKey", &root, json!({"keyId": key.id()}).to_string()).await;
    failed(&answer, 503, "unavailable", "STORAGE_UNAVAILABLE");
    assert_eq!(answer.header("retry-after"), Some("1"));

    let (bearer, visitor) = (format!("Bearer {root}"), format!("Bearer {}", key.token));
    let asked = async || {
        [
            introspect(&authority, &bearer, &[("token", &key.token)]).await,
            visit(&authority, &root, "", &[("authorization", &visitor)]).await,
            // Nor does any response say that a token is wrong.
            introspect(&authority, &bearer, &[("token", "nothing")]).await,
            visit(&authority, &root, "", &[("authorization", "Bearer nothing")]).await,
            visit(&authority, &root, "", &[]).await,
        ]
    };
    assert_eq!(asked().await.map(|answer| answer.status), [200, 200, 200, 401, 401], "while the lease lasts");
    let answer = revoke(&authority, &bearer, &[("token", &key.token)]).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "the token still exists: {answer:?}");

    // Verify answers for as long as the lease lasts, and then nobody is denied.
    let lost = eventually("the lease ends", async || {
        let answer = call(&authority, "Verify", &root, question.clone()).await;
        if answer.status == 200 {
            assert_eq!(answer.json()["verdict"], "VERDICT_VALID");
            return None;
        }
        Some(answer)
    })
    .await;
    failed(&lost, 503, "unavailable", "LEASE_EXPIRED");
    assert_eq!(lost.header("retry-after"), Some("1"));
    for (method, body) in [("GetKey", json!({"keyId": key.id()})), ("CreateKey", json!({"account": "acme"}))] {
        let answer = call(&authority, method, &root, body.to_string()).await;
        failed(&answer, 503, "unavailable", "LEASE_EXPIRED");
        assert_eq!(answer.header("retry-after"), Some("1"), "{method}");
    }
    for answer in asked().await {
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
        assert_eq!(answer.header("www-authenticate"), None, "{answer:?}");
    }
    authority.link().open();
    eventually("it heals", async || {
        let answer = call(&authority, "Verify", &root, question.clone()).await;
        (answer.status == 200).then_some(())
    })
    .await;
}

on_database_servers! {
    an_outage_of_the_database_is_503_on_every_path,
}
