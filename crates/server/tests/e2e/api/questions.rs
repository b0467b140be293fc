//! Verify, `BatchVerify`, `VerifyStream`.

use std::collections::BTreeMap;

use key_authority_proto::v1::*;
use tokio_stream::StreamExt as _;
use tonic::Code;

use crate::support::client::{key_for, only, question};
use crate::support::expect::invalid_status;
use crate::support::{Authority, NewKey, eventually, in_time, invalid, on_every_database, refused};

/// A well-formed token that nobody was ever given: of another authority, so to speak.
pub(crate) async fn never_issued(authority: &Authority) -> String {
    let client = authority.client();
    client.new_account("short-lived", KeyPolicy::default()).await;
    let key = client.key_in("short-lived").await;
    client.delete_key(DeleteKeyRequest { key_id: key.id(), ..Default::default() }).await.unwrap();
    let account = "short-lived".into();
    client.delete_account(DeleteAccountRequest { account, ..Default::default() }).await.unwrap();
    key.token
}

/// The same text with one character exchanged.
pub(crate) fn mistyped(token: &str) -> String {
    let last = if token.ends_with('0') { "1" } else { "0" };
    format!("{}{last}", &token[..token.len() - 1])
}

async fn narrow_key(authority: &Authority) -> NewKey {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let request = CreateKeyRequest {
        scopes: vec!["read".into(), "write".into()],
        projects: only(&["p1", "p2"]),
        allowed_networks: vec!["192.0.2.0/24".into(), "2001:db8::/32".into()],
        ..key_for("acme")
    };
    client.new_key(request).await
}

async fn each_part_of_a_question_is_decided(authority: Authority) {
    let client = authority.client();
    let key = narrow_key(&authority).await;
    let fits = VerifyRequest { client_ip: "192.0.2.1".into(), ..question(&key.token) };
    let cases = [
        (Verdict::Valid, VerifyRequest { project: "p1".into(), scopes: vec!["read".into()], ..fits.clone() }),
        (Verdict::Valid, VerifyRequest { scopes: vec!["write".into(), "read".into(), "read".into()], ..fits.clone() }),
        (Verdict::ProjectDenied, VerifyRequest { project: "p3".into(), ..fits.clone() }),
        (Verdict::ProjectDenied, VerifyRequest { project: "P1".into(), ..fits.clone() }),
        (Verdict::ScopeDenied, VerifyRequest { scopes: vec!["read".into(), "admin".into()], ..fits.clone() }),
        (Verdict::NetworkDenied, VerifyRequest { client_ip: String::new(), ..fits.clone() }),
        (Verdict::NetworkDenied, VerifyRequest { client_ip: "192.0.3.1".into(), ..fits.clone() }),
        (Verdict::Valid, VerifyRequest { client_ip: "::ffff:192.0.2.255".into(), ..fits.clone() }),
        (Verdict::Valid, VerifyRequest { client_ip: "2001:db8:ffff::1".into(), ..fits.clone() }),
        (Verdict::NetworkDenied, VerifyRequest { client_ip: "2001:db9::1".into(), ..fits.clone() }),
        (Verdict::Valid, VerifyRequest { account: "acme".into(), key_id: key.id(), ..fits.clone() }),
        (Verdict::Unknown, VerifyRequest { account: "other".into(), ..fits.clone() }),
        (Verdict::Unknown, VerifyRequest { key_id: "other".into(), ..fits.clone() }),
        // Of several reasons the first in the order of the contract.
        (Verdict::Unknown, VerifyRequest { account: "other".into(), project: "p3".into(), ..fits.clone() }),
        (Verdict::ProjectDenied, VerifyRequest { project: "p3".into(), scopes: vec!["x".into()], ..fits.clone() }),
        (Verdict::ScopeDenied, VerifyRequest { scopes: vec!["x".into()], client_ip: String::new(), ..fits.clone() }),
        (Verdict::Malformed, question("")),
        (Verdict::Malformed, question("no token")),
        (Verdict::Malformed, question(&mistyped(&key.token))),
        (Verdict::Malformed, question(&format!(" {}", key.token))),
        (Verdict::Malformed, question(&"a".repeat(513))),
        (Verdict::Unknown, question(&never_issued(&authority).await)),
    ];
    for (wanted, asked) in cases {
        let answer = client.verify(asked.clone()).await.unwrap();
        assert_eq!(answer.verdict(), wanted, "{asked:?}");
        assert!(answer.revision > 0, "{asked:?}");
        let is_known = !matches!(wanted, Verdict::Malformed | Verdict::Unknown);
        assert_eq!((answer.key_id == key.id(), answer.account == "acme"), (is_known, is_known), "{asked:?}");
        assert_eq!(answer.key_id.is_empty(), !is_known, "{asked:?}");
        assert_eq!(answer.scopes.is_empty(), wanted != Verdict::Valid, "{asked:?}");
        let missing = answer.missing_scopes.concat();
        assert_eq!(missing.is_empty(), wanted != Verdict::ScopeDenied, "{asked:?}: {missing}");
    }
    let scopes = ["read", "x", "write", "y"].map(String::from).to_vec();
    let answer = client.verify(VerifyRequest { scopes, ..fits }).await.unwrap();
    assert_eq!(answer.missing_scopes, ["x", "y"], "those that it does not have");
}

async fn the_revision_of_answers_grows_with_every_change(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let key = client.key_in("acme").await;
    let mut before = client.ask(&key.token).await.revision;
    for disabled in [true, false, true, false] {
        let key_id = key.id();
        let propagation = if disabled {
            client.disable_key(DisableKeyRequest { key_id, ..Default::default() }).await.unwrap().propagation
        } else {
            client.enable_key(EnableKeyRequest { key_id, ..Default::default() }).await.unwrap().propagation
        };
        let answer = client.ask(&key.token).await;
        assert_eq!(propagation.unwrap().revision, before + 1, "a change is one revision");
        assert_eq!(answer.revision, before + 1, "and the answer after it knows of it");
        assert_eq!(answer.verdict(), if disabled { Verdict::Disabled } else { Verdict::Valid });
        before = answer.revision;
    }
    assert_eq!(client.ask("no token").await.revision, before, "whatever the verdict");
}

async fn a_batch_is_answered_in_order(authority: Authority) {
    let client = authority.client();
    let key = narrow_key(&authority).await;
    let fits = VerifyRequest { client_ip: "192.0.2.1".into(), ..question(&key.token) };
    let unknown = never_issued(&authority).await;
    let kinds = [
        (Verdict::Valid, fits.clone()),
        (Verdict::Unknown, question(&unknown)),
        (Verdict::Malformed, question("no token")),
        (Verdict::ProjectDenied, VerifyRequest { project: "p3".into(), ..fits }),
        (Verdict::NetworkDenied, question(&key.token)),
    ];
    let requests: Vec<_> = (0..1000).map(|at| kinds[at % kinds.len()].1.clone()).collect();
    let answers = client.batch_verify(BatchVerifyRequest { requests: requests.clone() }).await.unwrap().responses;
    let verdicts: Vec<_> = answers.iter().map(VerifyResponse::verdict).collect();
    let wanted: Vec<_> = (0..1000).map(|at| kinds[at % kinds.len()].0).collect();
    assert_eq!(verdicts, wanted);

    let none = client.batch_verify(BatchVerifyRequest::default()).await.unwrap();
    assert_eq!(none.responses.len(), 0);
    let one_more = requests.iter().cloned().chain([kinds[0].1.clone()]).collect();
    let rule = invalid(client.batch_verify(BatchVerifyRequest { requests: one_more }).await, "requests");
    assert!(rule.contains("1000"), "{rule}");
    let mut one_invalid = requests[..20].to_vec();
    one_invalid[10].client_ip = "nowhere".into();
    let refused = client.batch_verify(BatchVerifyRequest { requests: one_invalid }).await;
    invalid_status(&refused.unwrap_err(), "requests[10].client_ip");
}

async fn a_stream_answers_each_question_by_its_id(authority: Authority) {
    const QUESTIONS: u64 = 5000;
    let client = authority.client();
    let key = narrow_key(&authority).await;
    let unknown = never_issued(&authority).await;
    let fits = VerifyRequest { client_ip: "192.0.2.1".into(), ..question(&key.token) };
    let asked = move |number: u64| match number % 5 {
        0 => Some(fits.clone()),
        1 => Some(question(&unknown)),
        2 => Some(question("no token")),
        3 => Some(VerifyRequest { client_ip: "nowhere".into(), ..fits.clone() }),
        _ => None,
    };
    // Any number will do for an ID.
    let id = |number: u64| u64::MAX - number * 7;
    let questions = (0..QUESTIONS).map(move |number| VerifyStreamRequest { id: id(number), request: asked(number) });
    let mut answers = client.verify_stream(tokio_stream::iter(questions)).await.unwrap();
    let mut outcomes = BTreeMap::new();
    while let Some(answer) = in_time("the next outcome", answers.next()).await {
        let answer = answer.unwrap();
        let outcome = match answer.outcome.expect("each has an outcome") {
            verify_stream_response::Outcome::Response(response) => Ok(response.verdict()),
            verify_stream_response::Outcome::Error(error) => {
                assert!(!error.message.is_empty());
                Err((Code::from_i32(error.code), error.reason))
            }
        };
        assert!(outcomes.insert(answer.id, outcome).is_none(), "exactly one outcome for each question");
    }
    assert_eq!(outcomes.len(), usize::try_from(QUESTIONS).unwrap(), "the stream ends when all are answered");
    for number in 0..QUESTIONS {
        let wanted = match number % 5 {
            0 => Ok(Verdict::Valid),
            1 => Ok(Verdict::Unknown),
            2 => Ok(Verdict::Malformed),
            _ => Err((Code::InvalidArgument, "FIELD_INVALID".to_owned())),
        };
        assert_eq!(outcomes.get(&id(number)), Some(&wanted), "question {number}");
    }
}

async fn a_batch_that_is_too_large_to_answer_is_no_use_of_a_key(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let labels = (0..64).map(|number| (format!("label-{number}"), "x".repeat(256))).collect();
    let key = client.new_key(CreateKeyRequest { labels, ..key_for("acme") }).await;
    let requests = vec![question(&key.token); 500];
    refused(client.batch_verify(BatchVerifyRequest { requests }).await, Code::ResourceExhausted, "ANSWER_TOO_LARGE");
    assert_eq!(client.verdict(&key.token).await, Verdict::Valid);
    let used = eventually("the use is written down", async || {
        Some(client.key(&key.id()).await).filter(|key| key.use_count > 0)
    });
    assert_eq!(used.await.use_count, 1, "only what was answered counts");
}

async fn a_stream_answers_while_it_is_open_and_knows_of_changes(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let key = client.key_in("acme").await;
    let (ask, questions) = tokio::sync::mpsc::unbounded_channel();
    let questions = tokio_stream::wrappers::UnboundedReceiverStream::new(questions);
    let mut answers = client.verify_stream(questions).await.unwrap();
    let mut next_id = 0;
    let mut verdict = async || {
        next_id += 1;
        ask.send(VerifyStreamRequest { id: next_id, request: Some(question(&key.token)) }).unwrap();
        let answer = in_time("an answer", answers.message()).await.unwrap().expect("the stream is open");
        assert_eq!(answer.id, next_id);
        let Some(verify_stream_response::Outcome::Response(response)) = answer.outcome else { panic!("{answer:?}") };
        response.verdict()
    };
    assert_eq!(verdict().await, Verdict::Valid);
    client.disable_key(DisableKeyRequest { key_id: key.id(), ..Default::default() }).await.unwrap();
    assert_eq!(verdict().await, Verdict::Disabled);
    client.enable_key(EnableKeyRequest { key_id: key.id(), ..Default::default() }).await.unwrap();
    assert_eq!(verdict().await, Verdict::Valid);
    client.revoke(&key.id()).await;
    assert_eq!(verdict().await, Verdict::Revoked);
    drop(ask);
    assert!(in_time("the end", answers.message()).await.unwrap().is_none(), "it ends with OK");
}

on_every_database! {
    each_part_of_a_question_is_decided,
    the_revision_of_answers_grows_with_every_change,
    a_batch_is_answered_in_order,
    a_batch_that_is_too_large_to_answer_is_no_use_of_a_key,
    a_stream_answers_each_question_by_its_id,
    a_stream_answers_while_it_is_open_and_knows_of_changes,
}
