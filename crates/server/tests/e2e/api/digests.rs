//! `CreateKey` and `RenewKey` with the digest of a token that the caller made.

use key_authority_proto::v1::*;
use sha2::Digest as _;
use tonic::Code;

use crate::support::client::key_for;
use crate::support::{Authority, Client, invalid, on_every_database, refused, seconds};

/// A token that the caller made.
const OWN: &str = "my-own-token-0123456789abcdef";
const OTHER: &str = "another-token-0123456789abcdef";

fn sha256(token: &str) -> Vec<u8> {
    sha2::Sha256::digest(token).to_vec()
}

fn blake3(token: &str) -> Vec<u8> {
    blake3::hash(token.as_bytes()).as_bytes().to_vec()
}

fn created_with(digest: create_key_request::Digest) -> CreateKeyRequest {
    CreateKeyRequest { digest: Some(digest), token_hint: "my-o".into(), ..key_for("acme") }
}

fn renewed_with(key_id: &str, digest: renew_key_request::Digest) -> RenewKeyRequest {
    RenewKeyRequest { key_id: key_id.into(), digest: Some(digest), ..Default::default() }
}

async fn with_digests(authority: &Authority) -> Client {
    let client = authority.client();
    client.new_account("acme", KeyPolicy { caller_digests: true, recoverable: true, ..Default::default() }).await;
    client
}

async fn a_key_with_a_digest_is_valid_for_the_token_of_the_caller(authority: Authority) {
    let client = with_digests(&authority).await;
    let request =
        CreateKeyRequest { request_id: "r-1".into(), ..created_with(create_key_request::Digest::Sha256(sha256(OWN))) };
    let answer = client.create_key(request.clone()).await.unwrap();
    let key = answer.key.unwrap();
    assert_eq!((answer.token.as_str(), key.token_hint.as_str()), ("", "my-o"));
    assert_eq!(client.verdict(OWN).await, Verdict::Valid);
    assert_eq!(client.create_key(request).await.unwrap().key.unwrap().id, key.id, "a repeated call");
    let reveal = client.reveal_token(RevealTokenRequest { key_id: key.id.clone() }).await;
    refused(reveal, Code::FailedPrecondition, "NOT_RECOVERABLE");

    let renewal = RenewKeyRequest {
        overlap: seconds(3600),
        token_hint: "anot".into(),
        ..renewed_with(&key.id, renew_key_request::Digest::Blake3(blake3(OTHER)))
    };
    let renewed = client.renew_key(renewal).await.unwrap();
    assert_eq!((renewed.token.as_str(), renewed.key.unwrap().token_hint.as_str()), ("", "anot"));
    assert_eq!((client.verdict(OWN).await, client.verdict(OTHER).await), (Verdict::Valid, Verdict::Valid));
    client.revoke(&key.id).await;
    assert_eq!((client.verdict(OWN).await, client.verdict(OTHER).await), (Verdict::Revoked, Verdict::Revoked));
}

async fn a_digest_of_an_existing_token_is_refused(authority: Authority) {
    let client = with_digests(&authority).await;
    client.create_key(created_with(create_key_request::Digest::Sha256(sha256(OWN)))).await.unwrap();
    let again = client.create_key(created_with(create_key_request::Digest::Sha256(sha256(OWN)))).await;
    refused(again, Code::AlreadyExists, "TOKEN_EXISTS");
    let key_id = client.key_in("acme").await.id();
    let renewal = client.renew_key(renewed_with(&key_id, renew_key_request::Digest::Sha256(sha256(OWN)))).await;
    refused(renewal, Code::AlreadyExists, "TOKEN_EXISTS");
    assert_eq!(client.key(&key_id).await.secrets.len(), 1);
}

async fn a_policy_without_caller_digests_and_the_account_system_refuse_them(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let created = client.create_key(created_with(create_key_request::Digest::Sha256(sha256(OWN)))).await;
    refused(created, Code::FailedPrecondition, "DIGEST_NOT_ALLOWED");
    let key_id = client.key_in("acme").await.id();
    let renewed = client.renew_key(renewed_with(&key_id, renew_key_request::Digest::Blake3(blake3(OWN)))).await;
    refused(renewed, Code::FailedPrecondition, "DIGEST_NOT_ALLOWED");
    let of_system = CreateKeyRequest {
        account: "system".into(),
        scopes: vec!["verify".into()],
        ..created_with(create_key_request::Digest::Sha256(sha256(OWN)))
    };
    refused(client.create_key(of_system).await, Code::FailedPrecondition, "ACCOUNT_RESERVED");
}

async fn a_digest_has_32_bytes_and_a_hint_needs_a_digest(authority: Authority) {
    let client = with_digests(&authority).await;
    let key_id = client.key_in("acme").await.id();
    for length in [0, 31, 33] {
        let bytes = vec![7; length];
        invalid(client.create_key(created_with(create_key_request::Digest::Sha256(bytes.clone()))).await, "sha256");
        invalid(client.renew_key(renewed_with(&key_id, renew_key_request::Digest::Blake3(bytes))).await, "blake3");
    }
    let hint = CreateKeyRequest { token_hint: "hint".into(), ..key_for("acme") };
    invalid(client.create_key(hint).await, "token_hint");
    for hint in ["123456789", "a b", "a\n"] {
        let request = CreateKeyRequest {
            token_hint: hint.into(),
            ..created_with(create_key_request::Digest::Sha256(sha256(OWN)))
        };
        invalid(client.create_key(request).await, "token_hint");
    }
}

on_every_database! {
    a_key_with_a_digest_is_valid_for_the_token_of_the_caller,
    a_digest_of_an_existing_token_is_refused,
    a_policy_without_caller_digests_and_the_account_system_refuse_them,
    a_digest_has_32_bytes_and_a_hint_needs_a_digest,
}
