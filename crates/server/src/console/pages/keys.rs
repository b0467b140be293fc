//! The keys of an account.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::Path;
use key_authority_proto::v1::key_authority_server::KeyAuthority as _;
use key_authority_proto::v1::{Account, AccountState, Key, KeyState, ListKeysRequest};

use super::account_actions;
use super::accounts::{Room, room};
use super::create::request_id;
use super::key_form::policy;
use super::key_view::KeyView;
use super::search::{beginning, searchable};
use crate::console::answer::{Answer, page, redirect};
use crate::console::failure::Failure;
use crate::console::fields::{Fields, query};
use crate::console::frame::Frame;
use crate::console::show;
use crate::console::visit::{Ability, Visit};

/// The number of keys in a section.
const PAGE: i32 = 50;

/// A part of the list.
#[derive(Clone, Copy)]
struct Part {
    id: &'static str,
    title: &'static str,
    states: &'static [KeyState],
    empty: &'static str,
}

const PARTS: [Part; 3] = [
    Part { id: "enabled", title: "Enabled", states: &[KeyState::Active], empty: "No key is enabled." },
    Part { id: "disabled", title: "Disabled", states: &[KeyState::Disabled], empty: "No key is disabled." },
    Part {
        id: "ended",
        title: "Ended",
        states: &[KeyState::Revoked, KeyState::Expired],
        empty: "No key was revoked or has expired.",
    },
];

/// The orders of the list, as the API names them.
pub(super) const ORDERS: [(&str, &str); 6] = [
    ("", "Newest first"),
    ("create_time", "Oldest first"),
    ("display_name", "Name"),
    ("last_used_time desc", "Last used first"),
    ("last_used_time", "Longest unused first"),
    ("expire_time", "Expires first"),
];

struct Section {
    id: &'static str,
    title: &'static str,
    empty: &'static str,
    rows: Vec<KeyView>,
    next: String,
}

/// An entry of a menu of the filter.
pub(super) struct Choice {
    pub(super) value: &'static str,
    pub(super) label: &'static str,
    pub(super) is_selected: bool,
}

impl Choice {
    /// Returns the entries of a menu.
    pub(super) fn menu(entries: impl IntoIterator<Item = (&'static str, &'static str)>, selected: &str) -> Vec<Self> {
        let entry = |(value, label)| Self { value, label, is_selected: value == selected };
        entries.into_iter().map(entry).collect()
    }
}

#[expect(clippy::struct_excessive_bools, reason = "the template asks each question by its name")]
#[derive(Template)]
#[template(path = "console/keys.html")]
struct KeysPage {
    frame: Frame,
    account: String,
    name: String,
    is_suspended: bool,
    room: Room,
    create_href: String,
    connect_href: String,
    /// Where the account is suspended and resumed; empty for a visitor who may not do that.
    suspend_href: String,
    resume_href: String,
    request_id: String,
    may_create: bool,
    may_disable: bool,
    /// Whether tokens can be shown again.
    may_reveal: bool,
    search: String,
    states: Vec<Choice>,
    project: String,
    orders: Vec<Choice>,
    is_filtered: bool,
    /// Whether this is a later page.
    is_continued: bool,
    sections: Vec<Section>,
    /// The next page of a search; empty for none.
    next: String,
}

/// `GET /console/accounts/{account}`
pub(in crate::console) async fn list(Extension(visit): Extension<Arc<Visit>>, Path(account): Path<String>) -> Answer {
    let account = visit.account(&account).await?;
    let typed = visit.fields.get("q").trim();
    let search = &*searchable(typed);
    let filter = Filter::new(&visit.fields);
    // No address of a page contains a token.
    if search != typed {
        return Ok(redirect(&filter.of_search(&account.id, search)));
    }
    let room = room(&visit, &account).await?;
    let Filter { search, state, project, order } = filter;
    let page_token = visit.fields.get("page");
    let (sections, next) = if search.is_empty() && project.is_empty() {
        (sections(&visit, &account, filter, page_token).await?, String::new())
    } else {
        found(&visit, &account, filter, page_token).await?
    };
    if sections.is_empty()
        && next.is_empty()
        && let Some(beginning) = beginning(search)
    {
        return Ok(redirect(&filter.of_search(&account.id, beginning)));
    }
    let states = [("", "Any state")].into_iter().chain(PARTS.map(|part| (part.id, part.title)));
    let title = if account.display_name.is_empty() { &account.id } else { &account.display_name };
    page(&KeysPage {
        frame: Frame::new(&visit, show::isolated(title)),
        name: title.clone(),
        is_suspended: account.state() == AccountState::Suspended,
        create_href: show::path(&["accounts", &account.id, "create"]),
        connect_href: show::path(&["accounts", &account.id, "connect"]),
        suspend_href: account_actions::href(&visit, &account.id, "suspend"),
        request_id: request_id()?,
        resume_href: account_actions::href(&visit, &account.id, "resume"),
        may_create: visit.may(Ability::Create),
        may_disable: visit.may(Ability::Disable),
        may_reveal: policy(&account).recoverable && visit.may(Ability::Reveal),
        search: search.to_owned(),
        states: Choice::menu(states, state),
        project: project.to_owned(),
        orders: Choice::menu(ORDERS, order),
        is_filtered: [search, state, project].iter().any(|value| !value.is_empty()),
        is_continued: !page_token.is_empty(),
        room,
        sections,
        next,
        account: account.id,
    })
}

impl KeysPage {
    fn has_keys(&self) -> bool {
        self.sections.iter().any(|section| !section.rows.is_empty() || !section.next.is_empty())
    }
}

/// What the list is filtered and sorted by.
#[derive(Clone, Copy)]
struct Filter<'a> {
    search: &'a str,
    state: &'a str,
    project: &'a str,
    order: &'a str,
}

impl<'a> Filter<'a> {
    fn new(fields: &'a Fields) -> Self {
        let order = ORDERS.into_iter().map(|(order, _)| order).find(|order| *order == fields.get("sort"));
        Self {
            search: fields.get("q").trim(),
            state: fields.get("state"),
            project: fields.get("project").trim(),
            order: order.unwrap_or_default(),
        }
    }

    /// The parts of the list that are shown.
    fn parts(self) -> impl Iterator<Item = Part> + use<'a> {
        PARTS.into_iter().filter(move |part| self.state.is_empty() || part.id == self.state)
    }

    /// The address of the list with another search.
    fn of_search(self, account: &str, search: &str) -> String {
        let Self { state, project, order, .. } = self;
        let fields = query([("q", search), ("state", state), ("project", project), ("sort", order)]);
        format!("{}?{fields}", show::path(&["accounts", account]))
    }

    /// The address of the next page; empty for none.
    fn next(self, account: &str, state: &str, page_token: &str) -> String {
        if page_token.is_empty() {
            return String::new();
        }
        let Self { search, project, order, .. } = self;
        let pairs = [("q", search), ("state", state), ("project", project), ("sort", order), ("page", page_token)];
        format!("{}?{}", show::path(&["accounts", account]), query(pairs))
    }
}

impl Part {
    fn section(self, keys: &[Key], next: String, view: impl Fn(&Key) -> KeyView) -> Section {
        let rows = keys.iter().map(view).collect();
        // A page looks at a limited number of keys.
        let empty = if next.is_empty() { self.empty } else { "None of the keys that this page looked at." };
        Section { id: self.id, title: self.title, empty, rows, next }
    }
}

/// Returns the sections of the list, each with its own pages.
async fn sections(
    visit: &Visit,
    account: &Account,
    filter: Filter<'_>,
    page_token: &str,
) -> Result<Vec<Section>, Failure> {
    let mut sections = Vec::new();
    for part in filter.parts() {
        let (keys, next) = ask(visit, &account.id, part.states, filter, page_token).await?;
        let next = filter.next(&account.id, part.id, &next);
        if !keys.is_empty() || !next.is_empty() || part.id != "ended" || part.id == filter.state {
            sections.push(part.section(&keys, next, view(visit, account, filter)));
        }
    }
    Ok(sections)
}

/// Returns what a search found, and the address of the page after it. A search looks through the keys once, and not
/// once for each section, because no index helps it.
async fn found(
    visit: &Visit,
    account: &Account,
    filter: Filter<'_>,
    page_token: &str,
) -> Result<(Vec<Section>, String), Failure> {
    let parts: Vec<_> = filter.parts().collect();
    let states: Vec<_> = parts.iter().flat_map(|part| part.states).copied().collect();
    // Without a filter, a key is not compared with each state.
    let states = if filter.state.is_empty() { &[] } else { states.as_slice() };
    let (keys, next) = ask(visit, &account.id, states, filter, page_token).await?;
    let section = |part: Part| {
        let keys: Vec<_> = keys.iter().filter(|key| part.states.contains(&key.state())).cloned().collect();
        (!keys.is_empty()).then(|| part.section(&keys, String::new(), view(visit, account, filter)))
    };
    Ok((parts.into_iter().filter_map(section).collect(), filter.next(&account.id, filter.state, &next)))
}

/// Returns what makes the row of a key.
fn view(visit: &Visit, account: &Account, filter: Filter<'_>) -> impl Fn(&Key) -> KeyView {
    let is_suspended = account.state() == AccountState::Suspended;
    move |key| KeyView::new(key, visit.now).in_account(is_suspended).found_by(filter.search)
}

/// Returns a page of keys, and the token of the page after it.
async fn ask(
    visit: &Visit,
    account: &str,
    states: &[KeyState],
    filter: Filter<'_>,
    page_token: &str,
) -> Result<(Vec<Key>, String), Failure> {
    let request = ListKeysRequest {
        account: account.to_owned(),
        states: states.iter().map(|state| i32::from(*state)).collect(),
        project: filter.project.to_owned(),
        page_size: PAGE,
        page_token: page_token.to_owned(),
        query: filter.search.to_owned(),
        order_by: filter.order.to_owned(),
        ..Default::default()
    };
    let listed = visit.ask(visit.admin().list_keys(visit.request(request))).await?;
    Ok((listed.keys, listed.next_page_token))
}
