//! `keyctl keys list`.

#![expect(clippy::doc_markdown, reason = "the comments of the flags are the text of --help")]

use clap::{Args, ValueEnum};
use key_authority_proto::v1::{Key, KeyState, ListKeysRequest, ListKeysResponse};
use prost_types::Timestamp;

use super::Session;
use crate::client::Api;
use crate::errors::{Error, Exit};
use crate::fields::{self, Moment};
use crate::views::key;

/// Number of keys in one request.
const PAGE_SIZE: i32 = 500;

/// Lists keys, newest first unless --order-by is set
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Account whose keys to list; default: all accounts that the caller may access
    #[arg(default_value = "", hide_default_value = true)]
    account: String,
    /// Only keys in this state; may be repeated
    #[arg(long, value_enum)]
    state: Vec<State>,
    /// Only keys that cover this project
    #[arg(long, default_value = "", hide_default_value = true)]
    project: String,
    /// Only keys whose name, ID or token hint contains this text
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    query: String,
    /// Only keys with this label; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = fields::label)]
    label: Vec<(String, String)>,
    /// Only keys that this caller created
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    created_by: String,
    /// Only keys that expire before this time, such as 2027-01-31T12:00:00Z
    #[arg(long, value_name = "MOMENT", value_parser = fields::timestamp)]
    expires_before: Option<Timestamp>,
    /// Only keys that were not used since this time, such as 2027-01-31T12:00:00Z or 90d, and not created since
    #[arg(long, value_name = "MOMENT", value_parser = fields::moment)]
    unused_since: Option<Moment>,
    /// Order: create_time, last_used_time, expire_time or display_name, each also with " desc"
    #[arg(long, value_name = "ORDER", default_value = "", hide_default_value = true)]
    order_by: String,
}

/// The state of a key as a flag.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Active,
    Disabled,
    Revoked,
    Expired,
}

impl From<State> for KeyState {
    fn from(state: State) -> Self {
        match state {
            State::Active => Self::Active,
            State::Disabled => Self::Disabled,
            State::Revoked => Self::Revoked,
            State::Expired => Self::Expired,
        }
    }
}

impl List {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let request = ListKeysRequest {
            states: self.state.into_iter().map(|state| KeyState::from(state).into()).collect(),
            project: self.project,
            query: self.query,
            labels: self.label.into_iter().collect(),
            created_by: self.created_by,
            expire_time_before: self.expires_before,
            unused_since: self.unused_since.map(|moment| moment.before(session.now)),
            order_by: self.order_by,
            account: self.account,
            ..ListKeysRequest::default()
        };
        let is_of_all_accounts = request.account.is_empty();
        let answer = all_keys(session, request).await?;
        session.console.show(&answer, || key::list(&answer.keys, session.now, is_of_all_accounts))?;
        if answer.keys.is_empty() {
            session.console.note_empty("no key matches");
        }
        Ok(Exit::Done)
    }
}

/// All keys that match the request, as one page.
pub(in crate::commands) async fn all_keys(
    session: &Session,
    request: ListKeysRequest,
) -> Result<ListKeysResponse, Error> {
    let mut keys = Vec::new();
    for_each_page(session, request, |page| keys.extend(page)).await?;
    Ok(ListKeysResponse { keys, next_page_token: String::new() })
}

/// Lists keys and calls `take` with each page.
pub(super) async fn for_each_page(
    session: &Session,
    mut request: ListKeysRequest,
    mut take: impl FnMut(Vec<Key>),
) -> Result<(), Error> {
    request.page_size = PAGE_SIZE;
    loop {
        let rpc = |mut api: Api, request| async move { api.list_keys(request).await };
        let page = session.client.ask(request.clone(), rpc).await?;
        take(page.keys);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(());
        }
    }
}
