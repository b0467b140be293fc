//! `keyctl accounts delete`.

use clap::Args;
use key_authority_proto::v1::DeleteAccountRequest;

use super::Session;
use crate::client::Api;
use crate::confirm::confirm;
use crate::console::{Format, note, print};
use crate::errors::{Error, Exit};
use crate::views::propagation;
use crate::{json, request_id};

/// Deletes an account that has no keys
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// ID of the account
    account: String,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

impl Delete {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let Self { account, yes } = self;
        if !yes {
            confirm(format!("Delete account {account} and its policy?")).await?;
        }
        let request = DeleteAccountRequest { account: account.clone(), request_id: request_id::fresh()? };
        let rpc = |mut api: Api, request| async move { api.delete_account(request).await };
        let answer = session.client.change(request, rpc).await?;
        if session.console.format == Format::Json {
            print(&json::text(&answer)?)?;
        }
        note(&format!("account {account} deleted"));
        propagation::report(answer.propagation.as_ref());
        Ok(Exit::Done)
    }
}
