//! `keyctl restore accept`.

use clap::{Args, Subcommand};
use key_authority_proto::v1::{AcceptRestoreRequest, GetAuthorityStatusRequest};

use super::Session;
use crate::client::Api;
use crate::confirm::confirm;
use crate::console::{Format, note, print};
use crate::errors::{Error, Exit};
use crate::views::propagation;
use crate::{json, request_id};

/// A database that was restored to an earlier state.
#[derive(Debug, Subcommand)]
pub(crate) enum Restore {
    /// Accepts the state of the database: quarantined tokens are valid from then on
    Accept(Accept),
}

/// Accepts the state of the database: quarantined tokens are valid from then on
///
/// First revoke or delete again the keys that must stay invalid; see docs/coherence.md.
#[derive(Debug, Args)]
pub(crate) struct Accept {
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

impl Restore {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let Self::Accept(Accept { yes }) = self;
        if !yes {
            let rpc = |mut api: Api, request| async move { api.get_authority_status(request).await };
            let held = session.client.ask(GetAuthorityStatusRequest {}, rpc).await?.held_tokens;
            confirm(format!("Accept the database as it is? {held} quarantined tokens are valid from then on.")).await?;
        }
        let request = AcceptRestoreRequest { request_id: request_id::fresh()? };
        let rpc = |mut api: Api, request| async move { api.accept_restore(request).await };
        let answer = session.client.change(request, rpc).await?;
        if session.console.format == Format::Json {
            print(&json::text(&answer)?)?;
        }
        note("restore accepted");
        propagation::report(answer.propagation.as_ref());
        Ok(Exit::Done)
    }
}
