//! The number of allocations per Verify. Lower a number here when it goes down; explain it when it goes up.
#![cfg(test)]

use allocation_counter::measure;
use key_authority_bench::key_set::{Presented, SCOPES};
use key_authority_bench::resident::Resident;
use key_authority_domain::token::Token;
use key_authority_domain::verdict::{Question, Verdict, decide};
use key_authority_proto::v1;
use prost::Message as _;

#[tokio::test(flavor = "multi_thread")]
async fn the_decision_allocates_nothing() {
    let resident = Resident::load(1_000).await.unwrap();
    let question = Question { scopes: &SCOPES[..1], ..Question::default() };
    let expected = [
        (Presented::Valid, Verdict::Valid),
        (Presented::Forged, Verdict::Unknown),
        (Presented::Unknown, Verdict::Unknown),
    ];
    for (presented, verdict) in expected {
        let text = resident.key_set.presented(7, presented).unwrap();
        let decide_once = || {
            let token = Token::parse(&text).unwrap();
            let moment = resident.view.lease_proof().unwrap();
            let secret = resident.view.find(moment, resident.keyring.digests(token));
            decide(secret.as_ref().map(|secret| secret.facts()).as_ref(), &question, moment.now())
        };
        // The first look-up of a thread registers it as a reader of the index.
        assert_eq!(decide_once(), verdict);
        let counted = measure(|| assert_eq!(decide_once(), verdict));
        assert_eq!(counted.count_total, 0, "{presented:?}");
    }
    let text = resident.key_set.presented(7, Presented::Malformed).unwrap();
    assert_eq!(measure(|| assert!(Token::parse(&text).is_err())).count_total, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_allocates_the_list_of_scopes_only() {
    let resident = Resident::load(1_000).await.unwrap();
    let credential = resident.credential().unwrap();
    let mut out = Vec::with_capacity(1024);
    let mut verify = |message: &[u8], verdict| {
        out.clear();
        let permit = resident.callers.authorize_verify(&credential).ok().unwrap();
        resident.verifier.verify(&permit, message, &mut out).ok().unwrap();
        // The first field of the response is the verdict.
        assert_eq!(out.first_chunk(), Some(&[0x08, verdict as u8]));
    };
    for (presented, verdict, scopes) in [
        (Presented::Valid, v1::Verdict::Valid, vec![SCOPES[0].to_owned()]),
        (Presented::Valid, v1::Verdict::Valid, vec![]),
        (Presented::Forged, v1::Verdict::Unknown, vec![]),
        (Presented::Malformed, v1::Verdict::Malformed, vec![]),
    ] {
        let token = resident.key_set.presented(7, presented).unwrap();
        let lists = scopes.len() as u64;
        let message = v1::VerifyRequest { token, scopes, ..Default::default() }.encode_to_vec();
        // The first use of a key adds it to the queue of usage to flush.
        verify(&message, verdict);
        let counted = measure(|| verify(&message, verdict));
        assert_eq!(counted.count_total, lists, "{presented:?}");
    }
}
