//! `keyctl keys delete`.

use clap::Args;
use key_authority_proto::v1::DeleteKeyRequest;

use super::{Session, described};
use crate::client::Api;
use crate::confirm::confirm;
use crate::console::{Format, note, print};
use crate::errors::{Error, Exit};
use crate::views::propagation;
use crate::{json, request_id};

/// Deletes a key; only its audit events remain
///
/// When the command returns, no replica accepts any token of the key. It asks for confirmation and shows when the key
/// was last used.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// ID of the key
    key: String,
    /// Delete the key even if the account's policy protects it because of a recent use
    #[arg(long)]
    allow_recently_used: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

impl Delete {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let Self { key: key_id, allow_recently_used, yes } = self;
        if !yes {
            let described = described(session, &key_id).await?;
            confirm(format!("Delete {described}? Only its audit events remain.")).await?;
        }
        let request =
            DeleteKeyRequest { key_id: key_id.clone(), allow_recently_used, request_id: request_id::fresh()? };
        let rpc = |mut api: Api, request| async move { api.delete_key(request).await };
        let answer = session.client.change(request, rpc).await?;
        if session.console.format == Format::Json {
            print(&json::text(&answer)?)?;
        }
        note(&format!("key {key_id} deleted"));
        propagation::report(answer.propagation.as_ref());
        Ok(Exit::Done)
    }
}
