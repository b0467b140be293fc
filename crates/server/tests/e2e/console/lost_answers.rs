//! Answers that a visitor does not get: what the next page says about the change, and about the token that was lost.

use key_authority_proto::v1::*;
use rustix::process::Signal;

use super::Visitor;
use super::portal::{enter, link_for, product, session_of};
use crate::support::{Database, Setup, on_database_servers};

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

on_database_servers! {
    a_token_that_was_lost_with_its_answer_is_called_lost,
}
