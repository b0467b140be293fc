//! Suspending and resuming an account.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::Path;
use axum::response::Response;
use key_authority_domain::id::SYSTEM_ACCOUNT;
use key_authority_domain::permission::Permission;
use key_authority_proto::v1::key_authority_server::KeyAuthority as _;
use key_authority_proto::v1::{ResumeAccountRequest, SuspendAccountRequest};

use super::create::request_id;
use crate::console::answer::{Answer, finish, page, redirect};
use crate::console::failure::Failure;
use crate::console::frame::Frame;
use crate::console::show;
use crate::console::visit::Visit;

/// Asks before somebody stops all keys of an account.
#[derive(Template)]
#[template(path = "console/suspend.html")]
struct SuspendPage {
    frame: Frame,
    account: String,
    name: String,
    account_href: String,
    request_id: String,
}

/// Whether the visitor may suspend and resume an account. Nobody may suspend the one of the callers.
fn may(visit: &Visit, account: &str) -> bool {
    visit.session.portal().is_none() && visit.has(Permission::AccountsWrite) && account != SYSTEM_ACCOUNT
}

fn check(visit: &Visit, account: &str) -> Result<(), Failure> {
    let message = "You may not suspend or resume this account.";
    if may(visit, account) { Ok(()) } else { Err(Failure::not_permitted(message)) }
}

/// Returns the address of an action; empty for a visitor who may not do it.
pub(super) fn href(visit: &Visit, account: &str, action: &str) -> String {
    if may(visit, account) { show::path(&["accounts", account, action]) } else { String::new() }
}

/// Redirects to the page of the account, for the addresses of its forms.
pub(in crate::console) async fn to_page(Path(account): Path<String>) -> Response {
    redirect(&show::path(&["accounts", &account]))
}

/// `GET /console/accounts/{account}/suspend`
pub(in crate::console) async fn ask_suspend(
    Extension(visit): Extension<Arc<Visit>>,
    Path(account): Path<String>,
) -> Answer {
    check(&visit, &account)?;
    let account = visit.account(&account).await?;
    page(&SuspendPage {
        frame: Frame::new(&visit, "Suspend account"),
        name: if account.display_name.is_empty() { account.id.clone() } else { account.display_name },
        account_href: show::path(&["accounts", &account.id]),
        request_id: request_id()?,
        account: account.id,
    })
}

/// `POST /console/accounts/{account}/suspend`
pub(in crate::console) async fn suspend(
    Extension(visit): Extension<Arc<Visit>>,
    Path(account): Path<String>,
) -> Answer {
    check(&visit, &account)?;
    let request_id = visit.fields.get("request_id").to_owned();
    let request = SuspendAccountRequest { account: account.clone(), request_id };
    let done = visit.ask(visit.admin().suspend_account(visit.request(request))).await;
    let page = show::path(&["accounts", &account]);
    finish(&visit, &page, "Suspended.", done.map(|done| done.propagation))
}

/// `POST /console/accounts/{account}/resume`
pub(in crate::console) async fn resume(Extension(visit): Extension<Arc<Visit>>, Path(account): Path<String>) -> Answer {
    check(&visit, &account)?;
    let request_id = visit.fields.get("request_id").to_owned();
    let request = ResumeAccountRequest { account: account.clone(), request_id };
    let done = visit.ask(visit.admin().resume_account(visit.request(request))).await;
    let page = show::path(&["accounts", &account]);
    finish(&visit, &page, "Resumed.", done.map(|done| done.propagation))
}
