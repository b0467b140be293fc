//! `keyctl accounts show`.

use clap::Args;
use key_authority_proto::v1::GetAccountRequest;

use super::Session;
use crate::client::Api;
use crate::errors::{Error, Exit};
use crate::views::account;

/// Shows an account and its policy
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// ID of the account
    account: String,
}

impl Show {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let request = GetAccountRequest { account: self.account };
        let rpc = |mut api: Api, request| async move { api.get_account(request).await };
        let account = session.client.ask(request, rpc).await?;
        session.console.show(&account, || account::record(&account, session.now))?;
        Ok(Exit::Done)
    }
}
