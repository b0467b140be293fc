//! The list of accounts.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use key_authority_domain::permission::Permission;
use key_authority_proto::v1::key_authority_server::KeyAuthority as _;
use key_authority_proto::v1::{
    Account, AccountState, CountedStates, Key, KeyState, ListAccountsRequest, ListKeysRequest,
};
use tonic::Code;

use super::key_form::policy;
use crate::console::answer::{Answer, page, redirect};
use crate::console::failure::Failure;
use crate::console::fields::query;
use crate::console::frame::Frame;
use crate::console::show::{self, When};
use crate::console::visit::Visit;

/// The number of accounts on a page.
const PAGE: usize = 50;
/// The number of accounts that one search reads.
const SEARCHED_MAX: usize = 20_000;
/// The size of the pages that a search reads.
const SEARCH_PAGE: i32 = 1000;
/// The largest limit for which the keys in use are counted.
const COUNTED_MAX: u32 = 200;

/// An account of the list.
pub(super) struct AccountRow {
    id: String,
    href: String,
    name: String,
    is_suspended: bool,
    room: String,
    created: Option<When>,
}

#[derive(Template)]
#[template(path = "console/accounts.html")]
struct AccountsPage {
    frame: Frame,
    search: String,
    rows: Vec<AccountRow>,
    next: String,
    /// Whether the search ended before the last account.
    is_partial: bool,
    may_create: bool,
    /// Whether there is no account but the one of callers.
    is_new: bool,
}

/// `GET /console/`: the first page that the visitor may see.
pub(in crate::console) async fn home(Extension(visit): Extension<Arc<Visit>>) -> Answer {
    if let Some(portal) = visit.session.portal() {
        return Ok(redirect(&show::path(&["accounts", portal.grant.account.as_str()])));
    }
    let pages = [
        (Permission::AccountsRead, "/console/accounts"),
        (Permission::KeysRead, "/console/keys"),
        (Permission::AuditRead, "/console/audit"),
        (Permission::Operate, "/console/replicas"),
    ];
    let first = pages.into_iter().find(|(permission, _)| visit.has(*permission));
    let none = "Your key has none of the permissions accounts.read, keys.read, audit.read and operate, which the pages \
                need.";
    first.map(|(_, path)| redirect(path)).ok_or_else(|| Failure::nothing_here(none))
}

/// `GET /console/accounts`
pub(in crate::console) async fn list(Extension(visit): Extension<Arc<Visit>>) -> Answer {
    let search = visit.fields.get("q").trim().to_owned();
    let mut page_token = visit.fields.get("page").to_owned();
    let mut found: Vec<Account> = Vec::new();
    let mut searched = 0;
    loop {
        let page_size = if search.is_empty() { i32::try_from(PAGE).unwrap_or(50) } else { SEARCH_PAGE };
        let request = ListAccountsRequest { page_size, page_token };
        let listed = visit.ask(visit.admin().list_accounts(visit.request(request))).await?;
        searched += listed.accounts.len();
        found.extend(listed.accounts.into_iter().filter(|account| matches(account, &search)));
        page_token = listed.next_page_token;
        if page_token.is_empty() || search.is_empty() || found.len() >= PAGE || searched >= SEARCHED_MAX {
            break;
        }
    }
    let mut rows = Vec::with_capacity(found.len());
    for account in &found {
        rows.push(AccountRow {
            id: account.id.clone(),
            href: show::path(&["accounts", &account.id]),
            name: account.display_name.clone(),
            is_suspended: account.state() == AccountState::Suspended,
            room: room(&visit, account).await.map(|room| format!("{}{}", room.text, room.note))?,
            created: When::of(account.create_time.as_ref(), visit.now),
        });
    }
    let next = query([("q", search.as_str()), ("page", page_token.as_str())]);
    page(&AccountsPage {
        frame: Frame::new(&visit, "Accounts"),
        may_create: visit.has(Permission::AccountsWrite),
        is_new: search.is_empty() && matches!(rows.as_slice(), [only] if only.id == "system"),
        is_partial: !search.is_empty() && !page_token.is_empty(),
        next: if page_token.is_empty() { String::new() } else { format!("/console/accounts?{next}") },
        search,
        rows,
    })
}

/// Returns the suspended ones of the accounts of those keys that are active; none for a visitor who may not read
/// accounts.
pub(super) async fn suspended_accounts(visit: &Visit, keys: &[Key]) -> Result<BTreeSet<String>, Failure> {
    let mut suspended = BTreeSet::new();
    if visit.has(Permission::AccountsRead) {
        let active = keys.iter().filter(|key| key.state() == KeyState::Active);
        for account in active.map(|key| key.account.as_str()).collect::<BTreeSet<_>>() {
            match visit.account(account).await {
                Ok(read) if read.state() == AccountState::Suspended => drop(suspended.insert(account.to_owned())),
                // It may have been deleted since, with its keys.
                Err(failure) if failure.code != Code::NotFound => return Err(failure),
                Ok(_) | Err(_) => {}
            }
        }
    }
    Ok(suspended)
}

fn matches(account: &Account, search: &str) -> bool {
    let search = search.to_lowercase();
    [&account.id, &account.display_name].iter().any(|text| text.to_lowercase().contains(&search))
}

/// How many keys an account has, of those that it may have.
pub(super) struct Room {
    /// For the page: "3 of 10 active keys".
    pub(super) text: String,
    /// Which keys count, where the text does not say it.
    pub(super) note: &'static str,
    pub(super) is_full: bool,
    /// Whether only active keys count.
    pub(super) counts_active: bool,
}

/// Counts the keys towards the limit of an account.
pub(super) async fn room(visit: &Visit, account: &Account) -> Result<Room, Failure> {
    let policy = policy(account);
    let counts_active = policy.counted_states() == CountedStates::Active;
    let keys = if counts_active { "active keys" } else { "keys" };
    let note = if counts_active { "" } else { ", revoked and expired ones included" };
    let max = policy.max_keys;
    if max == 0 {
        return Ok(Room { text: "No limit on keys".to_owned(), note: "", is_full: false, counts_active });
    }
    if max > COUNTED_MAX || !visit.has(Permission::KeysRead) {
        return Ok(Room { text: format!("up to {} {keys}", show::count(max)), note, is_full: false, counts_active });
    }
    let states = if counts_active { vec![KeyState::Active.into()] } else { Vec::new() };
    let page_size = i32::try_from(max).unwrap_or(1);
    let request = ListKeysRequest { account: account.id.clone(), states, page_size, ..Default::default() };
    let listed = visit.ask(visit.admin().list_keys(visit.request(request))).await?;
    let used = listed.keys.len() as u64;
    // A policy may be set below what an account has.
    let more = if listed.next_page_token.is_empty() { "" } else { "more than " };
    let text = format!("{more}{} of {} {keys}", show::count(used), show::count(max));
    Ok(Room { text, note, is_full: used >= u64::from(max), counts_active })
}
