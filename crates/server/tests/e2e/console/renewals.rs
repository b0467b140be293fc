//! What the form that renews a key does.

use key_authority_proto::v1::*;

use super::Visitor;
use crate::support::{Authority, eventually, on_sqlite, seconds};

async fn a_renewal_shows_the_new_token_once(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy { max_overlap: seconds(3600), ..KeyPolicy::default() }).await;
    let key = root.key_in("acme").await;
    let page = format!("/console/keys/{}", key.id());
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(&page).await;
    visitor.sees("<option value=\"3600\">1 hour: both tokens work</option>");
    visitor.does_not_see("<option value=\"86400\">");
    visitor.open(&format!("{page}/renew?overlap=3600")).await;
    visitor.submit(&format!("{page}/renew"), &[("overlap", "3600"), ("expires", "")]).await;
    visitor.sees("Key renewed. Enforced by");
    visitor.sees("The old token works until");
    let second = visitor.field("token");
    assert_eq!([root.verdict(&key.token).await, root.verdict(&second).await], [Verdict::Valid; 2]);
    // The search says which token it found.
    for list in ["/console/keys", "/console/accounts/acme"] {
        visitor.open(&format!("{list}?q={}", key.token)).await;
        visitor.sees(&format!("Found: <span class=\"code\">{}…</span> ends <time", &key.token[..7]));
        visitor.open(&format!("{list}?q={second}")).await;
        visitor.does_not_see("Found:");
    }
    visitor.open(&format!("{page}/renew")).await;
    visitor.submit(&format!("{page}/renew"), &[("overlap", "0")]).await;
    visitor.sees("The old token has ended.");
    assert_eq!(root.verdict(&second).await, Verdict::Expired);
    assert_eq!(root.verdict(&visitor.field("token")).await, Verdict::Valid);
}

async fn a_search_for_a_token_that_ended_with_its_key_says_so(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy { max_overlap: seconds(3600), ..KeyPolicy::default() }).await;
    let key = root.key_in("acme").await;
    let renewal = RenewKeyRequest { key_id: key.id(), overlap: seconds(3600), ..Default::default() };
    root.renew_key(renewal).await.unwrap();
    root.revoke_everywhere(&key.id()).await;
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(&format!("/console/keys?q={}", key.token)).await;
    visitor.sees(&format!("Found: <span class=\"code\">{}…</span> ended with the key", &key.token[..7]));
    visitor.open(&format!("/console/keys/{}", key.id())).await;
    assert_eq!(visitor.page.matches("ended with the key").count(), 2, "{}", visitor.page);
}

async fn an_expired_key_is_renewed_by_the_lifetime_of_its_policy(authority: Authority) {
    let root = authority.client();
    let lifetimes = seconds(2).into_iter().collect();
    root.new_account("acme", KeyPolicy { lifetimes, ..KeyPolicy::default() }).await;
    let key = root.key_in("acme").await;
    let renew = format!("/console/keys/{}/renew", key.id());
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(&renew).await;
    visitor.sees("As before: ");
    eventually("the key expires", async || (root.verdict(&key.token).await == Verdict::Expired).then_some(())).await;
    visitor.open(&renew).await;
    visitor.does_not_see("As before: ");
    visitor.sees("<option value=\"2\">After 2 seconds</option>");
    visitor.submit(&renew, &[("overlap", "0"), ("expires", "2")]).await;
    visitor.sees("<h1>Key renewed</h1>");
}

on_sqlite! {
    a_search_for_a_token_that_ended_with_its_key_says_so,
    a_renewal_shows_the_new_token_once,
    an_expired_key_is_renewed_by_the_lifetime_of_its_policy,
}
