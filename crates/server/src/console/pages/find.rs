//! Finding keys in all accounts, by what somebody knows of them: a name, an ID or a token.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use key_authority_domain::permission::Permission;
use key_authority_proto::v1::key_authority_server::KeyAuthority as _;
use key_authority_proto::v1::{Key, ListKeysRequest};

use super::accounts::suspended_accounts;
use super::key_view::KeyView;
use super::keys::{Choice, ORDERS};
use super::search::{beginning, searchable};
use crate::console::answer::{Answer, page, redirect};
use crate::console::fields::query;
use crate::console::frame::Frame;
use crate::console::show;
use crate::console::visit::Visit;

/// The number of keys on a page.
const PAGE: i32 = 50;
/// The path of the page.
const PATH: &str = "/console/keys";

#[derive(Template)]
#[template(path = "console/find.html")]
struct FindPage {
    frame: Frame,
    search: String,
    orders: Vec<Choice>,
    rows: Vec<FoundKey>,
    may_read_accounts: bool,
    next: String,
}

struct FoundKey {
    key: KeyView,
    /// The page of the account; empty for a visitor who may not see it.
    account_href: String,
}

/// `GET /console/keys`
pub(in crate::console) async fn list(Extension(visit): Extension<Arc<Visit>>) -> Answer {
    let typed = visit.fields.get("q").trim();
    let order = ORDERS.into_iter().map(|(order, _)| order).find(|order| *order == visit.fields.get("sort"));
    let order = order.unwrap_or_default();
    let search = &*searchable(typed);
    // No address of a page contains a token.
    if search != typed {
        return Ok(redirect(&format!("{PATH}?{}", query([("q", search), ("sort", order)]))));
    }
    let request = ListKeysRequest {
        page_size: PAGE,
        page_token: visit.fields.get("page").to_owned(),
        query: search.to_owned(),
        order_by: order.to_owned(),
        ..Default::default()
    };
    let listed = visit.ask(visit.admin().list_keys(visit.request(request))).await?;
    if let ([], Some(beginning)) = (listed.keys.as_slice(), beginning(search)) {
        return Ok(redirect(&format!("{PATH}?{}", query([("q", beginning), ("sort", order)]))));
    }
    let next = query([("q", search), ("sort", order), ("page", listed.next_page_token.as_str())]);
    let suspended = suspended_accounts(&visit, &listed.keys).await?;
    let may_read_accounts = visit.has(Permission::AccountsRead);
    let row = |key: &Key| {
        let account_href = if may_read_accounts { show::path(&["accounts", &key.account]) } else { String::new() };
        let key = KeyView::new(key, visit.now).in_account(suspended.contains(&key.account)).found_by(search);
        FoundKey { key, account_href }
    };
    page(&FindPage {
        frame: Frame::new(&visit, "Keys"),
        search: search.to_owned(),
        orders: Choice::menu(ORDERS, order),
        rows: listed.keys.iter().map(row).collect(),
        may_read_accounts,
        next: if listed.next_page_token.is_empty() { String::new() } else { format!("{PATH}?{next}") },
    })
}
