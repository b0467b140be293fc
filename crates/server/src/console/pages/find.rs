//! Finding keys in all accounts, by what somebody knows of them: a name, an ID or a token.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use key_authority_proto::v1::ListKeysRequest;
use key_authority_proto::v1::key_authority_server::KeyAuthority as _;

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
    next: String,
}

struct FoundKey {
    key: KeyView,
    account_href: String,
}

/// `GET /console/keys`
pub(in crate::console) async fn list(Extension(visit): Extension<Arc<Visit>>) -> Answer {
    let typed = visit.fields.get("q").trim();
    let order = ORDERS.into_iter().map(|(order, _)| order).find(|order| *order == visit.fields.get("sort"));
    let order = order.unwrap_or_default();
    let search = searchable(typed);
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
    let row = |key| {
        let key = KeyView::new(key, visit.now);
        FoundKey { account_href: show::path(&["accounts", &key.account]), key }
    };
    page(&FindPage {
        frame: Frame::new(&visit, "Keys"),
        search: search.to_owned(),
        orders: Choice::menu(ORDERS, order),
        rows: listed.keys.iter().map(row).collect(),
        next: if listed.next_page_token.is_empty() { String::new() } else { format!("{PATH}?{next}") },
    })
}
