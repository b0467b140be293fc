//! `keyctl keys list`.

use clap::{Args, ValueEnum};
use key_authority_proto::v1::{Key, KeyState, ListKeysRequest, ListKeysResponse};

use super::Session;
use crate::client::Api;
use crate::errors::{Error, Exit};
use crate::views::key;

/// Number of keys in one request.
const PAGE_SIZE: i32 = 500;

/// Lists keys, newest first
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
        let states: Vec<KeyState> = self.state.into_iter().map(Into::into).collect();
        let answer = keys_of(session, &self.account, &states, &self.project).await?;
        session.console.show(&answer, || key::list(&answer.keys, session.now, self.account.is_empty()))?;
        Ok(Exit::Done)
    }
}

/// All keys of an account that match the filters, as one page.
pub(in crate::commands) async fn keys_of(
    session: &Session,
    account: &str,
    states: &[KeyState],
    project: &str,
) -> Result<ListKeysResponse, Error> {
    let request = ListKeysRequest {
        account: account.to_owned(),
        states: states.iter().map(|&state| state.into()).collect(),
        project: project.to_owned(),
        ..ListKeysRequest::default()
    };
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
