//! `keyctl accounts list`.

use clap::Args;
use key_authority_proto::v1::{Account, ListAccountsRequest, ListAccountsResponse};

use super::Session;
use crate::client::Api;
use crate::errors::{Error, Exit};
use crate::views::account;

/// Number of accounts in one request.
const PAGE_SIZE: i32 = 500;

/// Lists the accounts that the caller may access, newest first
#[derive(Debug, Args)]
pub(crate) struct List {}

impl List {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let answer = ListAccountsResponse { accounts: all(session).await?, next_page_token: String::new() };
        session.console.show(&answer, || account::list(&answer.accounts, session.now))?;
        Ok(Exit::Done)
    }
}

/// All accounts that the caller may access.
pub(in crate::commands) async fn all(session: &Session) -> Result<Vec<Account>, Error> {
    let mut request = ListAccountsRequest { page_size: PAGE_SIZE, page_token: String::new() };
    let mut accounts = Vec::new();
    loop {
        let rpc = |mut api: Api, request| async move { api.list_accounts(request).await };
        let page = session.client.ask(request.clone(), rpc).await?;
        accounts.extend(page.accounts);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(accounts);
        }
    }
}
