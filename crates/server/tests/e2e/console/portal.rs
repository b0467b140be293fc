//! Portal sessions: the call that creates one, its link, and what its user may do.

mod ends;
mod links;
mod rights;
mod scopes;

use key_authority_proto::v1::*;
use tonic::Code;

use super::Visitor;
use crate::support::client::{PERMISSIONS, mask, only};
use crate::support::http::series;
use crate::support::{Authority, Client, Database, Setup, invalid, on_database_servers, on_every_database, on_sqlite};
use crate::support::{eventually, refused, seconds};

const ENTER: &str = "/console/enter";
const EVERYTHING: [PortalAction; 7] = [
    PortalAction::Create,
    PortalAction::Update,
    PortalAction::Disable,
    PortalAction::Renew,
    PortalAction::Revoke,
    PortalAction::Delete,
    PortalAction::Reveal,
];

pub(super) fn session_of(account: &str, may: &[PortalAction]) -> CreatePortalSessionRequest {
    let may = may.iter().map(|action| i32::from(*action)).collect();
    CreatePortalSessionRequest { account: account.into(), subject: "ada".into(), may, ..Default::default() }
}

/// The path and the code of a new link.
async fn link(backend: &Client, account: &str, may: &[PortalAction]) -> String {
    link_for(backend, session_of(account, may)).await
}

/// The same for any request.
pub(super) async fn link_for(backend: &Client, request: CreatePortalSessionRequest) -> String {
    let url = backend.create_portal_session(request).await.unwrap().url;
    let (_, path) = url.split_once("/console").unwrap();
    format!("/console{path}")
}

/// A browser that has followed a link.
pub(super) async fn enter(authority: &Authority, link: &str) -> Visitor {
    let mut visitor = Visitor::new(authority);
    follow(&mut visitor, link).await;
    visitor
}

async fn follow(visitor: &mut Visitor, link: &str) {
    // The browser comes from the product's site.
    let answer = visitor.ask("GET", link, &[("sec-fetch-site", "cross-site")], String::new()).await;
    assert_eq!(answer.status, 200, "{}", visitor.page);
    visitor.submit(ENTER, &[]).await;
}

/// Makes two accounts, and the backend of a product that covers one of them: the ID of its key, and the caller.
pub(super) async fn product(authority: &Authority) -> (String, Client) {
    let root = authority.client();
    let account = Account { id: "acme".into(), display_name: "Acme & Co".into(), ..Account::default() };
    root.create_account(CreateAccountRequest { account: Some(account), ..Default::default() }).await.unwrap();
    root.new_account("other", KeyPolicy::default()).await;
    let (key, backend) = authority.new_caller(&PERMISSIONS, Some(&["acme"])).await;
    (key.id(), backend)
}
