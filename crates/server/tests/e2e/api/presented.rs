//! `RevokeToken` and `RenewToken`: the key of a token that the caller presents.

use key_authority_proto::v1::imported_key::Secret;
use key_authority_proto::v1::*;
use sha2::Digest as _;
use tonic::Code;

use crate::support::client::key_for;
use crate::support::{Authority, Client, invalid, on_every_database, refused, seconds};

fn revoke(token: &str) -> RevokeTokenRequest {
    RevokeTokenRequest { token: token.into(), reason: "found in a log".into(), ..Default::default() }
}

fn renew(token: &str) -> RenewTokenRequest {
    RenewTokenRequest { token: token.into(), ..Default::default() }
}

/// An account whose holders may do this with their keys, and a caller that may only verify.
async fn holders(authority: &Authority, may_revoke: bool, may_renew: bool) -> (Client, Client) {
    let root = authority.client();
    let policy = KeyPolicy { holder_may_revoke: may_revoke, holder_may_renew: may_renew, ..Default::default() };
    root.new_account("acme", policy).await;
    let (_, verifier) = authority.new_caller(&["verify"], None).await;
    (root, verifier)
}

async fn a_token_revokes_its_key_if_the_policy_or_a_permission_allows_it(authority: Authority) {
    let (root, verifier) = holders(&authority, false, false).await;
    let key = root.key_in("acme").await;
    refused(verifier.revoke_token(revoke(&key.token)).await, Code::PermissionDenied, "PERMISSION_MISSING");
    assert_eq!(root.verdict(&key.token).await, Verdict::Valid);
    let (_, revoker) = authority.new_caller(&["keys.revoke"], None).await;
    let answer = revoker.revoke_token(revoke(&key.token)).await.unwrap();
    assert_eq!((answer.key_id, answer.propagation.unwrap().replicas), (key.id(), 1));
    assert_eq!(root.verdict(&key.token).await, Verdict::Revoked);
    assert_eq!(root.key(&key.id()).await.revoke_reason, "found in a log");
    let revision = async || root.get_authority_status(GetAuthorityStatusRequest {}).await.unwrap().revision;
    let before = revision().await;
    let again = RevokeTokenRequest { reason: "again".into(), ..revoke(&key.token) };
    assert_eq!(revoker.revoke_token(again).await.unwrap().key_id, key.id(), "a revoked key stays revoked");
    assert_eq!(revision().await, before, "which is no change");
    assert_eq!(root.key(&key.id()).await.revoke_reason, "found in a log", "and keeps its first reason");
}

async fn a_holder_ends_its_own_key_at_a_service_that_only_verifies(authority: Authority) {
    let (root, verifier) = holders(&authority, true, false).await;
    let key = root.key_in("acme").await;
    verifier.revoke_token(revoke(&key.token)).await.unwrap();
    assert_eq!(root.verdict(&key.token).await, Verdict::Revoked);
}

async fn a_token_that_a_renewal_has_ended_does_nothing(authority: Authority) {
    let (root, verifier) = holders(&authority, true, true).await;
    let key = root.key_in("acme").await;
    let renewal = RenewKeyRequest { key_id: key.id(), ..Default::default() };
    let newest = root.renew_key(renewal).await.unwrap().token;
    refused(root.revoke_token(revoke(&key.token)).await, Code::NotFound, "KEY_NOT_FOUND");
    refused(verifier.renew_token(renew(&key.token)).await, Code::NotFound, "KEY_NOT_FOUND");
    assert_eq!(root.verdict(&newest).await, Verdict::Valid);
    // Within an overlap, the old token is valid, but no longer the newest.
    let overlapping = RenewKeyRequest { key_id: key.id(), overlap: seconds(3600), ..Default::default() };
    root.renew_key(overlapping).await.unwrap();
    refused(verifier.renew_token(renew(&newest)).await, Code::NotFound, "KEY_NOT_FOUND");
    verifier.revoke_token(revoke(&newest)).await.unwrap();
}

async fn texts_that_are_no_token_of_a_key_are_not_found(authority: Authority) {
    let (root, verifier) = holders(&authority, true, true).await;
    let key = root.key_in("acme").await;
    let (start, last) = key.token.split_at(key.token.len() - 1);
    let altered = format!("{start}{}", if last == "x" { "y" } else { "x" });
    for token in [altered.as_str(), "x", "a b", "\u{0}", &"x".repeat(512)] {
        refused(verifier.revoke_token(revoke(token)).await, Code::NotFound, "KEY_NOT_FOUND");
        refused(verifier.renew_token(renew(token)).await, Code::NotFound, "KEY_NOT_FOUND");
    }
    for token in ["", &"x".repeat(513)] {
        invalid(verifier.revoke_token(revoke(token)).await, "token");
        invalid(verifier.renew_token(renew(token)).await, "token");
    }
    root.delete_key(DeleteKeyRequest { key_id: key.id(), ..Default::default() }).await.unwrap();
    refused(verifier.revoke_token(revoke(&key.token)).await, Code::NotFound, "KEY_NOT_FOUND");
}

async fn an_imported_token_revokes_the_key_that_verify_uses(authority: Authority) {
    let (root, verifier) = holders(&authority, true, false).await;
    let token = "sk-live-0123456789-ABCDEF";
    let key = |id: &str, secret| ImportedKey { key_id: id.into(), secret: Some(secret), ..Default::default() };
    let digest = Secret::Sha256(sha2::Sha256::digest(token).to_vec());
    let message = |keys| ImportKeysRequest { account: "acme".into(), keys, ..Default::default() };
    root.import(message(vec![key("by-digest", digest)])).await.unwrap();
    let blake3 = Secret::Blake3(blake3::hash(token.as_bytes()).as_bytes().to_vec());
    root.import(message(vec![key("by-blake3", blake3)])).await.unwrap();
    assert_eq!(root.ask(token).await.key_id, "by-blake3");
    assert_eq!(verifier.revoke_token(revoke(token)).await.unwrap().key_id, "by-blake3");
    assert_eq!(root.verdict(token).await, Verdict::Revoked);
}

async fn a_token_as_short_as_verify_accepts_can_be_revoked(authority: Authority) {
    let (root, verifier) = holders(&authority, true, false).await;
    let digest = Secret::Sha256(sha2::Sha256::digest("tiny").to_vec());
    let keys = vec![ImportedKey { key_id: "short".into(), secret: Some(digest), ..Default::default() }];
    root.import(ImportKeysRequest { account: "acme".into(), keys, ..Default::default() }).await.unwrap();
    assert_eq!(root.verdict("tiny").await, Verdict::Valid);
    assert_eq!(verifier.revoke_token(revoke("tiny")).await.unwrap().key_id, "short");
    assert_eq!(root.verdict("tiny").await, Verdict::Revoked);
}

async fn a_leaked_token_of_a_caller_can_be_revoked_by_possession(authority: Authority) {
    let (caller, leaked) = authority.new_caller(&["keys.read"], None).await;
    let (_, revoker) = authority.new_caller(&["keys.revoke"], None).await;
    assert_eq!(revoker.revoke_token(revoke(&caller.token)).await.unwrap().key_id, caller.id());
    let list = leaked.list_keys(ListKeysRequest::default()).await;
    refused(list, Code::Unauthenticated, "CALLER_UNKNOWN");
    let (another, _) = authority.new_caller(&["keys.read"], None).await;
    let (_, limited) = authority.new_caller(&["keys.revoke"], Some(&["acme"])).await;
    refused(limited.revoke_token(revoke(&another.token)).await, Code::NotFound, "KEY_NOT_FOUND");
}

async fn a_holder_renews_its_own_token(authority: Authority) {
    let (root, verifier) = holders(&authority, false, true).await;
    let key = root.key_in("acme").await;
    let request = RenewTokenRequest { request_id: "r-1".into(), ..renew(&key.token) };
    let renewed = verifier.renew_token(request.clone()).await.unwrap();
    assert_eq!(renewed.key.as_ref().unwrap().id, key.id());
    assert_eq!(root.verdict(&key.token).await, Verdict::Expired);
    assert_eq!(root.verdict(&renewed.token).await, Verdict::Valid);
    let again = verifier.renew_token(request).await.unwrap();
    assert_eq!((again.token.as_str(), again.key.unwrap().secrets.len()), ("", 2), "its token has ended since");
    let overlapping = RenewTokenRequest { overlap: seconds(3600), ..renew(&renewed.token) };
    let third = verifier.renew_token(overlapping).await.unwrap().token;
    assert_eq!((root.verdict(&renewed.token).await, root.verdict(&third).await), (Verdict::Valid, Verdict::Valid));
    let long = RenewTokenRequest { overlap: seconds(31 * 86_400), ..renew(&third) };
    refused(verifier.renew_token(long).await, Code::FailedPrecondition, "OVERLAP_NOT_ALLOWED");
    root.disable_key(DisableKeyRequest { key_id: key.id(), ..Default::default() }).await.unwrap();
    refused(verifier.renew_token(renew(&third)).await, Code::FailedPrecondition, "KEY_NOT_ACTIVE");
}

async fn a_key_limited_to_networks_is_renewed_from_there_only(authority: Authority) {
    let (root, verifier) = holders(&authority, false, true).await;
    let networks = vec!["10.0.0.0/8".into()];
    let key = root.new_key(CreateKeyRequest { allowed_networks: networks, ..key_for("acme") }).await;
    for client_ip in ["", "192.0.2.1"] {
        let elsewhere = RenewTokenRequest { client_ip: client_ip.into(), ..renew(&key.token) };
        refused(verifier.renew_token(elsewhere).await, Code::FailedPrecondition, "HOLDER_NETWORK_DENIED");
    }
    invalid(
        verifier.renew_token(RenewTokenRequest { client_ip: "10.0.0.1:80".into(), ..renew(&key.token) }).await,
        "client_ip",
    );
    assert_eq!(root.key(&key.id()).await.secrets.len(), 1);
    verifier.renew_token(RenewTokenRequest { client_ip: "10.1.2.3".into(), ..renew(&key.token) }).await.unwrap();
}

async fn a_policy_without_renewal_by_holders_refuses_it(authority: Authority) {
    let (root, verifier) = holders(&authority, true, false).await;
    let key = root.key_in("acme").await;
    let renewed = verifier.renew_token(renew(&key.token)).await;
    refused(renewed, Code::FailedPrecondition, "HOLDER_MAY_NOT_RENEW");
    let renewed = root.renew_token(renew(&key.token)).await;
    refused(renewed, Code::FailedPrecondition, "HOLDER_MAY_NOT_RENEW");
    assert_eq!(root.key(&key.id()).await.secrets.len(), 1);
}

on_every_database! {
    a_token_revokes_its_key_if_the_policy_or_a_permission_allows_it,
    a_holder_ends_its_own_key_at_a_service_that_only_verifies,
    a_token_that_a_renewal_has_ended_does_nothing,
    texts_that_are_no_token_of_a_key_are_not_found,
    an_imported_token_revokes_the_key_that_verify_uses,
    a_token_as_short_as_verify_accepts_can_be_revoked,
    a_leaked_token_of_a_caller_can_be_revoked_by_possession,
    a_holder_renews_its_own_token,
    a_key_limited_to_networks_is_renewed_from_there_only,
    a_policy_without_renewal_by_holders_refuses_it,
}
