//! `keyctl tokens`.

use clap::{Args, Subcommand};
use key_authority_proto::v1::{RenewTokenRequest, RevokeTokenRequest};
use prost_types::Duration;

use super::Session;
use super::keys::new_token::{self, Save};
use crate::client::Api;
use crate::confirm::confirm;
use crate::errors::{Error, Exit};
use crate::table::{Table, plain};
use crate::token_input::presented;
use crate::views::propagation;
use crate::{fields, request_id};

/// Keys by a token that you have.
#[derive(Debug, Subcommand)]
pub(crate) enum Tokens {
    /// Revokes the key of a token permanently
    Revoke(Revoke),
    /// Issues a new token for the key of a token, and ends that token
    Renew(Renew),
}

/// Revokes the key of a token permanently
///
/// The token is read from a file or from standard input, because other users could read the command line.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// File with the token, or - for standard input
    #[arg(value_name = "FILE")]
    token: String,
    /// Reason, shown in lists and in the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

/// Issues a new token for the key of a token, and ends that token
///
/// The account's policy must have --holder-may-renew. The token is read from a file or from standard input, because other
/// users could read the command line.
#[derive(Debug, Args)]
pub(crate) struct Renew {
    /// File with the newest token of the key, or - for standard input
    #[arg(value_name = "FILE")]
    token: String,
    /// How long the old token stays valid, such as 1h; default: it ends immediately
    #[arg(long, value_name = "LENGTH", value_parser = fields::duration)]
    overlap: Option<Duration>,
    /// IP address of the holder, for a key that is limited to networks
    #[arg(long, value_name = "ADDRESS", default_value = "", hide_default_value = true)]
    client_ip: String,
    #[command(flatten)]
    save: Save,
}

impl Tokens {
    pub(super) fn shows_token(&self) -> bool {
        matches!(self, Self::Renew(_))
    }

    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        match self {
            Self::Revoke(revoke) => revoke.run(session).await,
            Self::Renew(renew) => renew.run(session).await,
        }
    }
}

impl Revoke {
    async fn run(self, session: &Session) -> Result<Exit, Error> {
        let Self { token, reason, yes } = self;
        let token = presented(token).await?;
        if !yes {
            confirm("Revoke the key of this token? This is permanent.".to_owned()).await?;
        }
        let request = RevokeTokenRequest { token, reason, request_id: request_id::fresh()? };
        let rpc = |mut api: Api, request| async move { api.revoke_token(request).await };
        let answer = session.client.change(request, rpc).await?;
        session.console.show(&answer, || {
            let mut table = Table::record();
            table.pair("revoked", plain(&answer.key_id));
            table
        })?;
        propagation::report(answer.propagation.as_ref());
        Ok(Exit::Done)
    }
}

impl Renew {
    async fn run(self, session: &Session) -> Result<Exit, Error> {
        let Self { token, overlap, client_ip, save } = self;
        let token = presented(token).await?;
        let file = save.prepare(session)?;
        let request = RenewTokenRequest { token, overlap, client_ip, request_id: request_id::fresh()? };
        let rpc = |mut api: Api, request| async move { api.renew_token(request).await };
        let answer = session.client.change(request, rpc).await?;
        let key_id = answer.key.as_ref().map(|key| key.id.clone()).unwrap_or_default();
        new_token::show(session, &key_id, answer, file)
    }
}
