//! `keyctl keys`.

use clap::Subcommand;
use key_authority_proto::v1::{GetKeyRequest, Key, Propagation};
use prost::{Message, Name};

use super::Session;
use crate::client::Api;
use crate::errors::{Error, Exit};
use crate::views::{key, propagation};

mod create;
mod delete;
mod disable;
mod edit;
mod enable;
mod import;
pub(super) mod list;
pub(super) mod new_token;
mod renew;
mod report;
mod reveal;
mod revoke;
mod settings;
mod show;

/// Keys of accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Creates a key and shows its token once
    Create(create::Create),
    /// Imports keys of another system with their existing tokens
    Import(import::Import),
    /// Lists keys, newest first unless --order-by is set
    List(list::List),
    /// Lists active keys that need attention; exit code 1 if there are any
    Report(report::Report),
    /// Shows a key without its token
    Show(show::Show),
    /// Changes fields of a key; its token stays the same
    Edit(edit::Edit),
    /// Disables a key until it is enabled again
    Disable(disable::Disable),
    /// Enables a disabled key
    Enable(enable::Enable),
    /// Issues a new token for a key and ends the old one
    Renew(renew::Renew),
    /// Revokes a key, or all keys of an account that match filters, permanently
    Revoke(revoke::Revoke),
    /// Deletes a key; only its audit events remain
    Delete(delete::Delete),
    /// Reveals a key's token, if the account's policy is recoverable
    Reveal(reveal::Reveal),
}

impl Keys {
    pub(super) fn shows_token(&self) -> bool {
        matches!(self, Self::Create(_) | Self::Renew(_) | Self::Reveal(_))
    }

    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        match self {
            Self::Create(create) => create.run(session).await,
            Self::Import(import) => import.run(session).await,
            Self::List(list) => list.run(session).await,
            Self::Report(report) => report.run(session).await,
            Self::Show(show) => show.run(session).await,
            Self::Edit(edit) => edit.run(session).await,
            Self::Disable(disable) => disable.run(session).await,
            Self::Enable(enable) => enable.run(session).await,
            Self::Renew(renew) => renew.run(session).await,
            Self::Revoke(revoke) => revoke.run(session).await,
            Self::Delete(delete) => delete.run(session).await,
            Self::Reveal(reveal) => reveal.run(session).await,
        }
    }
}

/// Reads a key.
async fn key_of(session: &Session, key_id: &str) -> Result<Key, Error> {
    let request = GetKeyRequest { key_id: key_id.to_owned() };
    session.client.ask(request, |mut api: Api, request| async move { api.get_key(request).await }).await
}

/// Describes a key and its last use, for a confirmation. A caller that may end keys may lack the permission to read
/// them.
async fn described(session: &Session, key_id: &str) -> Result<String, Error> {
    match key_of(session, key_id).await {
        Ok(key) => Ok(key::described(&key, session.now)),
        Err(error) if error.is_denied() => {
            Ok(format!("key {key_id} (this caller has no permission to see when it was used)"))
        }
        Err(error) => Err(error),
    }
}

/// Prints a changed key and the propagation of the change.
fn changed<M: Message + Name>(
    session: &Session,
    answer: &M,
    key: Option<&Key>,
    propagation: Option<&Propagation>,
) -> Result<Exit, Error> {
    let keys: Vec<Key> = key.cloned().into_iter().collect();
    session.console.show(answer, || key::list(&keys, session.now, true))?;
    propagation::report(propagation);
    Ok(Exit::Done)
}
