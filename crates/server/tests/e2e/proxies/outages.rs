//! Without a decision nothing passes, and nobody is denied: an authority that cannot be reached or does not answer, and a
//! proxy that asks wrongly.

use key_authority_proto::v1::*;
use tonic_health::pb::health_check_response::ServingStatus;

use super::proxy::{Proxy, bearer};
use super::{IDENTITY, reader};
use crate::support::authority::VERIFY;
use crate::support::client::key_for;
use crate::support::upstream::Reply;
use crate::support::{Authority, Database, Setup, eventually, on_database_servers, on_sqlite};

/// Fails unless nothing passes, with any token, and the route without a key is open.
async fn assert_undecided(proxy: &Proxy, tokens: &[&str], codes: &[u16]) {
    let kind = proxy.kind;
    for token in tokens {
        for path in ["/", "/admin"] {
            let reply = proxy.get_with(token, path).await;
            assert!(codes.contains(&reply.code), "{kind:?}: {reply:?}");
            assert!(!reply.headers.contains_key("www-authenticate"), "{kind:?}: {reply:?}");
        }
    }
    let reply = proxy.get("/", &[]).await;
    assert!(codes.contains(&reply.code), "{kind:?}: {reply:?}");
    proxy.get("/healthz", &[]).await.passed();
}

/// A valid token, and one that is revoked.
async fn tokens(authority: &Authority) -> [String; 2] {
    let valid = reader(authority).await.token;
    let revoked = authority.client().new_key(key_for("acme")).await;
    authority.client().revoke(&revoked.id()).await;
    [valid, revoked.token]
}

async fn an_outage_is_503_and_ends_by_itself(mut authority: Authority) {
    let [valid, revoked] = tokens(&authority).await;
    let proxies = Proxy::all(&authority).await;
    for proxy in &proxies {
        proxy.get_with(&valid, "/").await.passed();
        proxy.link.cut();
        assert_undecided(proxy, &[&valid, &revoked, "nothing"], &[503]).await;
        proxy.link.open();
        let is_back = async || (proxy.get_with(&valid, "/").await.code == 200).then_some(());
        eventually("the authority is asked again", is_back).await;
        assert_eq!(proxy.get_with(&revoked, "/").await.code, 401, "{:?}", proxy.kind);
        // Packets are lost, and nothing answers.
        proxy.link.pause();
    }
    let replies = proxies.iter().map(|proxy| proxy.get_with(&valid, "/"));
    let replies: Vec<Reply> = futures_util::future::join_all(replies).await;
    for (reply, proxy) in replies.iter().zip(&proxies) {
        assert_eq!(reply.code, 503, "{:?}: {reply:?}", proxy.kind);
        proxy.link.open();
        let is_back = async || (proxy.get_with(&valid, "/").await.code == 200).then_some(());
        eventually("the authority is asked again", is_back).await;
    }
    authority.kill().await;
    for proxy in &proxies {
        assert_undecided(proxy, &[&valid, &revoked], &[503]).await;
    }
}

async fn a_proxy_that_asks_wrongly_lets_nothing_pass(authority: Authority) {
    let [valid, revoked] = tokens(&authority).await;
    for change in [("account=acme&", "acount=acme&"), ("account=acme&", "account=&"), ("scope=", "scop=")] {
        for proxy in Proxy::all_with(&authority, change).await {
            assert_undecided(&proxy, &[&valid, &revoked], &[500, 503]).await;
        }
    }
    assert_eq!(authority.output().matches("answering 500").count(), 1, "logged once a minute");
    // The proxy's own key is revoked while it runs.
    for proxy in Proxy::all(&authority).await {
        assert_eq!(proxy.get_with(&valid, "/").await.passed().of_key(), IDENTITY);
        authority.client().revoke(&proxy.key_id).await;
        assert_undecided(&proxy, &[&valid, &revoked], &[500, 503]).await;
    }
}

/// A key that may have as many scopes and labels as any: its headers are tens of KiB.
async fn a_key_with_many_labels_passes(authority: Authority) {
    reader(&authority).await;
    let labels = (0..60).map(|number| (format!("label-{number}"), "x".repeat(250))).collect();
    let scopes = (0..99).map(|number| format!("{}-{number}", "s".repeat(100))).chain(["read".into()]).collect();
    let key = CreateKeyRequest { labels, scopes, ..key_for("acme") };
    let token = authority.client().new_key(key).await.token;
    for proxy in Proxy::all(&authority).await {
        let seen = proxy.get("/", &[&bearer(&token)]).await.passed();
        assert!(seen.headers["x-key-scopes"].len() > 10_000, "{:?}", proxy.kind);
    }
}

async fn a_replica_without_a_lease_is_an_outage(database: Database) {
    let authority = Setup::on(database).linked().start().await;
    let [valid, revoked] = tokens(&authority).await;
    let proxies = Proxy::all(&authority).await;
    authority.link().cut();
    authority.await_health(VERIFY, ServingStatus::NotServing).await;
    for proxy in &proxies {
        assert_undecided(proxy, &[&valid, &revoked], &[503]).await;
        let reply = proxy.get_with(&valid, "/").await;
        assert!(reply.headers.contains_key("retry-after"), "{:?}: {reply:?}", proxy.kind);
    }
    authority.link().open();
    authority.await_health(VERIFY, ServingStatus::Serving).await;
    for proxy in &proxies {
        proxy.get_with(&valid, "/").await.passed();
        assert_eq!(proxy.get_with(&revoked, "/").await.code, 401, "{:?}", proxy.kind);
    }
}

on_sqlite! {
    an_outage_is_503_and_ends_by_itself,
    a_proxy_that_asks_wrongly_lets_nothing_pass,
    a_key_with_many_labels_passes,
}

mod servers {
    use super::*;
    on_database_servers! {
        a_replica_without_a_lease_is_an_outage,
    }
}
