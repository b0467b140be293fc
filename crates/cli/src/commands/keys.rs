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
mod reveal;
mod revoke;
mod settings;
mod show;

/// Keys of accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Creates a key and shows its token, once
    Create(create::Create),
    /// Takes over keys of another system, with the tokens that their holders have
    Import(import::Import),
    /// Lists keys, the newest first
    List(list::List),
    /// Shows all of a key but its token
    Show(show::Show),
    /// Changes what a key is called, may do, and how long it lives; its token stays
    Edit(edit::Edit),
    /// Switches a key off, until it is enabled again
    Disable(disable::Disable),
    /// Switches a disabled key on
    Enable(enable::Enable),
    /// Gives a key a new token, and ends the one before it
    Renew(renew::Renew),
    /// Ends a key for good; it stays listed
    Revoke(revoke::Revoke),
    /// Removes a key; only the audit log remembers it
    Delete(delete::Delete),
    /// Shows a key's token again, where the account's policy keeps tokens
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

/// One key.
async fn key_of(session: &Session, key_id: &str) -> Result<Key, Error> {
    let request = GetKeyRequest { key_id: key_id.to_owned() };
    session.client.ask(request, |mut api: Api, request| async move { api.get_key(request).await }).await
}

/// A key and its use in words, for a question before it is ended. A caller that may end keys need not be one that may read them.
async fn described(session: &Session, key_id: &str) -> Result<String, Error> {
    match key_of(session, key_id).await {
        Ok(key) => Ok(key::described(&key, session.now)),
        Err(error) if error.is_denied() => Ok(format!("key {key_id} (this caller may not see whether it is used)")),
        Err(error) => Err(error),
    }
}

/// Shows a key that was changed, and how the change reached the replicas.
fn changed<M: Message + Name>(
    session: &Session,
    answer: &M,
    key: Option<&Key>,
    propagation: Option<&Propagation>,
) -> Result<Exit, Error> {
    let keys: Vec<Key> = key.cloned().into_iter().collect();
    session.console.show(answer, || key::list(&keys, session.now, true))?;
    propagation::tell(propagation);
    Ok(Exit::Done)
}
