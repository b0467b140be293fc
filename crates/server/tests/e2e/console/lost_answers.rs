//! Answers that a visitor does not get: what the next page says about the change, and about the token that was lost.

use key_authority_proto::v1::*;
use rustix::process::Signal;
use tonic_health::pb::health_check_response::ServingStatus;

use super::Visitor;
use super::portal::{enter, link_for, product, session_of};
use crate::support::authority::VERIFY;
use crate::support::{Database, Setup, eventually, on_database_servers};

const SERVER: [(&str, &str); 3] =
    [("server_name", "acme"), ("server_url", "https://acme.example/mcp"), ("create", "yes")];

/// A replica is frozen, so that a change is committed and not confirmed before the deadline of its form.
async fn a_token_that_was_lost_with_its_answer_is_called_lost(database: Database) {
    let authority = Setup::on(database).flags(["--lease", "60s", "--request-timeout", "4s"]).start().await;
    let frozen = authority.another(|setup| setup).await;
    let (_, backend) = product(&authority).await;
    let key = backend.key_in("acme").await;
    let renew = format!("/console/keys/{}/renew", key.id());
    let may = [PortalAction::Create, PortalAction::Renew];
    let mut user = enter(&authority, &link_for(&backend, session_of("acme", &may)).await).await;
    let mut operator = Visitor::signed_in(&authority, &authority.root_token()).await;
    frozen.signal(Signal::STOP);
    for visitor in [&mut operator, &mut user] {
        visitor.open(&renew).await;
        visitor.submit(&renew, &[("overlap", "0"), ("expires", "")]).await;
        assert_eq!(visitor.status, 504, "{}", visitor.page);
        visitor.sees("its new token is lost");
        visitor.does_not_see("AwaitRevision");
        assert_eq!(visitor.link("Renew the key again"), renew);
        let create = "/console/accounts/acme/create";
        visitor.open(create).await;
        visitor.submit(create, &[("name", "new")]).await;
        assert_eq!(visitor.status, 504, "{}", visitor.page);
        visitor.sees("its token is lost");
        visitor.does_not_see("AwaitRevision");
        assert_eq!(visitor.link("All keys of the account"), "/console/accounts/acme");
    }
    user.does_not_see("replica");
    user.does_not_see("committed as revision");
    let connect = "/console/accounts/other/connect";
    operator.open(connect).await;
    operator.submit(connect, &SERVER).await;
    assert_eq!(operator.status, 504, "{}", operator.page);
    operator.sees("its token is lost");
    operator.does_not_see("AwaitRevision");
    frozen.signal(Signal::CONT);
}

async fn a_form_that_finds_no_lease_can_be_sent_again(database: Database) {
    let authority = Setup::on(database).linked().flags(["--lease", "5s"]).start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let create = "/console/accounts/acme/create";
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(create).await;
    let form = visitor.filled_in(create, &[("name", "typed with care")]);
    authority.link().cut();
    authority.await_health(VERIFY, ServingStatus::NotServing).await;
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form).finish();
    let own = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "same-origin")];
    let answer = visitor.ask("POST", create, &own, body.clone()).await;
    assert_eq!((answer.status, answer.header("refresh")), (503, None), "{}", visitor.page);
    visitor.sees("typed with care");
    let page = visitor.page.clone();
    // A form of another site is not offered as one's own.
    let elsewhere = [own[0], ("sec-fetch-site", "cross-site")];
    let answer = visitor.ask("POST", create, &elsewhere, body).await;
    assert_eq!(answer.header("refresh"), None);
    visitor.does_not_see("typed with care");
    visitor.page = page;
    authority.link().open();
    eventually("the form is sent", async || {
        visitor.submit(create, &[]).await;
        (visitor.status != 503).then_some(())
    })
    .await;
    visitor.sees("<h1>Key created</h1>");
    assert_eq!(authority.client().keys_of("acme").await[0].display_name, "typed with care");
}

async fn signing_in_without_a_lease_keeps_the_form(database: Database) {
    let authority = Setup::on(database).linked().flags(["--lease", "5s"]).start().await;
    let mut visitor = Visitor::new(&authority);
    visitor.open("/console/audit?account=acme").await;
    authority.link().cut();
    authority.await_health(VERIFY, ServingStatus::NotServing).await;
    visitor.submit("/console/sign-in", &[("token", &authority.root_token())]).await;
    assert_eq!(visitor.status, 503, "{}", visitor.page);
    visitor.does_not_see(&authority.root_token());
    authority.link().open();
    eventually("the visitor signs in", async || {
        visitor.submit("/console/sign-in", &[("token", &authority.root_token())]).await;
        (visitor.status != 503).then_some(())
    })
    .await;
    assert_eq!(visitor.path, "/console/audit?account=acme");
}

on_database_servers! {
    a_form_that_finds_no_lease_can_be_sent_again,
    a_token_that_was_lost_with_its_answer_is_called_lost,
    signing_in_without_a_lease_keeps_the_form,
}
