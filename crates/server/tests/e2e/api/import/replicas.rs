//! Imports beside other replicas.

use key_authority_proto::v1::*;
use tonic::Code;

use super::{blake3, counts, into, key, named, revision, token, with_account};
use crate::support::{Database, Setup, on_database_servers, refused};

async fn every_replica_has_an_import_when_it_is_answered(database: Database) {
    let first = Setup::on(database).start().await;
    let second = first.another(|setup| setup).await;
    let client = with_account(&first).await;
    for n in 0..5 {
        let id = format!("key-{n}");
        let keys = vec![named(&id), key(blake3(&token(&format!("by-digest-{n}"))))];
        let answer = client.import(into("acme", keys)).await.unwrap();
        assert_eq!(answer.propagation.unwrap().replicas, 2);
        for token in [token(&id), token(&format!("by-digest-{n}"))] {
            assert_eq!(second.client().verdict(&token).await, Verdict::Valid);
        }
        second.client().revoke(&id).await;
        assert_eq!(client.verdict(&token(&id)).await, Verdict::Revoked);
    }
}

async fn nothing_is_imported_beside_a_replica_that_would_not_learn_of_it(database: Database) {
    let authority = Setup::on(database).start().await;
    let client = with_account(&authority).await;
    let marked = ImportKeysRequest { request_id: "r-1".into(), ..into("acme", vec![named("before")]) };
    let first = client.import(marked.clone()).await.unwrap();
    let another = "id, applied_revision, applied_hash, nonce, build, address, join_time, seen_time";
    let like = "REPLACE(id, SUBSTRING(id, 1, 4), 'ffff'), applied_revision, applied_hash, nonce, \
                REPLACE(build, '+log5', ''), address, join_time, seen_time";
    authority.database().sql(&format!("INSERT INTO replica ({another}) SELECT {like} FROM replica"));
    refused(client.import(into("acme", vec![named("a")])).await, Code::FailedPrecondition, "REPLICAS_DIFFER");
    let again = client.import(marked).await.unwrap();
    assert_eq!((counts(&again), revision(&again)), ((1, 0, 0), revision(&first)), "what stands is not refused");
    authority.database().sql("DELETE FROM replica WHERE build NOT LIKE '%+log5'");
    assert_eq!(counts(&client.import(into("acme", vec![named("a")])).await.unwrap()), (1, 0, 0));
}

on_database_servers! {
    every_replica_has_an_import_when_it_is_answered,
    nothing_is_imported_beside_a_replica_that_would_not_learn_of_it,
}
