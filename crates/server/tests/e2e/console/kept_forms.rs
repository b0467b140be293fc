//! Forms that are sent without a session: they are kept while somebody signs in.

use key_authority_proto::v1::*;
use tokio::task::JoinSet;

use super::Visitor;
use crate::ended::waiting;
use crate::support::{Authority, eventually, on_sqlite};

async fn a_form_that_outlived_its_session_is_kept(authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let action = "/console/accounts/acme/create";
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(action).await;
    let form = visitor.filled_in(action, &[("name", "typed <with> care"), ("description", "two\r\nlines")]);
    visitor.cookies.clear();
    visitor.post(action, &form).await;
    visitor.sees("what you typed is kept");
    visitor.submit("/console/sign-in", &[("token", &authority.root_token())]).await;
    visitor.sees("<h1>You are signed in again</h1>");
    visitor.sees("typed &#60;with&#62; care");
    visitor.submit(action, &[]).await;
    visitor.sees("<h1>Key created</h1>");
    let keys = ListKeysRequest { account: "acme".into(), ..Default::default() };
    let keys = authority.client().list_keys(keys).await.unwrap().keys;
    assert_eq!((keys[0].display_name.as_str(), keys[0].description.as_str()), ("typed <with> care", "two\nlines"));
}

async fn a_form_whose_session_ends_during_its_call_is_kept(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let (caller, _) = authority.new_caller(&["accounts.read", "keys.read", "keys.write"], None).await;
    let action = "/console/accounts/acme/create";
    let mut visitor = Visitor::signed_in(&authority, &caller.token).await;
    visitor.open(action).await;
    let form = visitor.filled_in(action, &[("name", "typed with care")]);
    let held = authority.database().hold_changes();
    let mut before = JoinSet::new();
    for client in [authority.client(), authority.client()] {
        before.spawn(async move { client.key_in("acme").await });
    }
    let one_waits = async || (waiting(&authority, "ordinary").await == 1).then_some(());
    eventually("one change has the turn, and one waits", one_waits).await;
    let posting = tokio::spawn(async move {
        visitor.post(action, &form).await;
        visitor
    });
    let form_waits = async || (waiting(&authority, "ordinary").await == 2).then_some(());
    eventually("the form waits", form_waits).await;
    let revocation = tokio::spawn(async move { root.revoke_everywhere(&caller.id()).await });
    let revocation_waits = async || (waiting(&authority, "ending").await == 1).then_some(());
    eventually("the revocation waits", revocation_waits).await;
    drop(held);
    let mut visitor = posting.await.unwrap();
    revocation.await.unwrap();
    before.join_all().await;
    visitor.sees("what you typed is kept");
    visitor.submit("/console/sign-in", &[("token", &authority.root_token())]).await;
    visitor.sees("<dd class=\"lines\"><bdi>typed with care</bdi></dd>");
    visitor.submit(action, &[]).await;
    visitor.sees("<h1>Key created</h1>");
}

async fn forms_of_two_tabs_are_kept(authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let action = "/console/accounts/acme/create";
    let mut tab = Visitor::signed_in(&authority, &authority.root_token()).await;
    tab.open(action).await;
    let form = tab.filled_in(action, &[("name", "typed in the first tab")]);
    tab.cookies.clear();
    tab.post(action, &form).await;
    let mut other = Visitor::new(&authority);
    other.cookies = tab.cookies.clone();
    other.post(action, &[("name".to_owned(), "typed in the second tab".to_owned())]).await;
    // The browser has one cookie of the sign-in for both.
    tab.cookies = other.cookies.clone();
    tab.submit("/console/sign-in", &[("token", &authority.root_token())]).await;
    tab.sees("<dd class=\"lines\"><bdi>typed in the first tab</bdi></dd>");
    other.cookies = tab.cookies.clone();
    other.submit("/console/sign-in", &[("token", &authority.root_token())]).await;
    other.sees("<dd class=\"lines\"><bdi>typed in the second tab</bdi></dd>");
}

async fn a_form_is_kept_over_a_failed_sign_in(authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let action = "/console/accounts/acme/create";
    let mut visitor = Visitor::new(&authority);
    visitor.post(action, &[("name".to_owned(), "typed with care".to_owned())]).await;
    // The cookie of the sign-in lasts as long as a session without requests; here somebody deleted it.
    visitor.cookies.clear();
    visitor.submit("/console/sign-in", &[("token", &authority.root_token())]).await;
    assert_eq!(visitor.status, 422);
    visitor.sees("The page had expired");
    // Another tab has got another page to sign in since.
    let mut other = Visitor::new(&authority);
    other.open("/console/sign-in").await;
    visitor.cookies = other.cookies;
    visitor.submit("/console/sign-in", &[("token", &authority.root_token())]).await;
    assert_eq!(visitor.status, 422);
    visitor.sees("The page had expired");
    for _ in 0..11 {
        visitor.submit("/console/sign-in", &[("token", "")]).await;
        assert_eq!(visitor.status, 422);
        visitor.sees("Enter a token.");
    }
    // One is forgiven after six seconds, and a busy machine may need that long.
    let mut wrong = 0;
    while visitor.status == 422 && wrong < 20 {
        visitor.submit("/console/sign-in", &[("token", "wrong")]).await;
        wrong += 1;
    }
    assert_eq!(visitor.status, 429);
    assert!(wrong > 10, "ten fail before one is refused: {wrong}");
    visitor.sees("Too many sign-ins from your address have failed.");
    visitor.submit("/console/sign-in", &[("token", &authority.root_token())]).await;
    visitor.sees("<dd class=\"lines\"><bdi>typed with care</bdi></dd>");
    // A form of another site is not shown as one's own.
    let body = "token=&kept_path=%2Fconsole%2Faccounts%2Facme%2Fcreate&kept=name%3Dof+another+site";
    for site in ["cross-site", "same-site", "none"] {
        visitor.cookies.clear();
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", site)];
        visitor.ask("POST", "/console/sign-in", &headers, body.to_owned()).await;
        visitor.does_not_see("of another site");
        // Nor with a page to sign in that is open in the same browser.
        visitor.open("/console/sign-in").await;
        visitor.ask("POST", "/console/sign-in", &headers, body.to_owned()).await;
        assert_eq!(visitor.status, 422, "{site}");
        visitor.does_not_see("of another site");
    }
}

async fn a_form_that_could_not_be_kept_is_not_called_kept(authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let action = "/console/accounts/acme/create";
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(action).await;
    let form = visitor.filled_in(action, &[("name", "k"), ("description", &"x".repeat(20_000))]);
    visitor.cookies.clear();
    visitor.post(action, &form).await;
    assert_eq!(visitor.status, 403);
    visitor.does_not_see("what you typed is kept");
    visitor.sees("could not be kept");
    // A form without anything typed has nothing to keep.
    visitor.post("/console/sign-out", &[("form_token".to_owned(), "old".to_owned())]).await;
    visitor.sees("Your session has ended. Sign in again.");
}

on_sqlite! {
    a_form_that_outlived_its_session_is_kept,
    a_form_whose_session_ends_during_its_call_is_kept,
    forms_of_two_tabs_are_kept,
    a_form_is_kept_over_a_failed_sign_in,
    a_form_that_could_not_be_kept_is_not_called_kept,
}
