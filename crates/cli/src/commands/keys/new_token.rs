//! Tokens that are shown: on standard output, or in a file for their owner alone, and nowhere else.

use std::path::PathBuf;

use clap::Args;
use key_authority_proto::v1::{
    CreateKeyRequest, CreateKeyResponse, Key, Propagation, RenewKeyResponse, RevealTokenResponse,
};
use prost::{Message, Name};

use super::Session;
use crate::client::Api;
use crate::console::{Format, note, print};
use crate::errors::{Error, Exit};
use crate::private_file::SaveFile;
use crate::table::{Table, plain};
use crate::views::{key, propagation};

/// Where a token goes.
#[derive(Debug, Args)]
pub(crate) struct Save {
    /// Write the token to this file, for its owner alone (mode 0600), and show it nowhere; an existing file is never overwritten
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

impl Save {
    /// Makes the file, before there is a token that could be lost.
    pub(super) fn prepare(self, session: &Session) -> Result<Option<SaveFile>, Error> {
        if self.save.is_some() && session.console.format == Format::Token {
            return Err(Error::Usage("--save keeps the token in a file, --output token prints it: choose one".into()));
        }
        self.save.map(SaveFile::create).transpose()
    }
}

/// An answer that shows a token.
pub(super) trait ShowsToken: Message + Name {
    fn token(&mut self) -> &mut String;
    fn key(&self) -> Option<&Key>;
    fn propagation(&self) -> Option<&Propagation>;
}

macro_rules! shows_token_of_a_changed_key {
    ($answer:ty) => {
        impl ShowsToken for $answer {
            fn token(&mut self) -> &mut String {
                &mut self.token
            }

            fn key(&self) -> Option<&Key> {
                self.key.as_ref()
            }

            fn propagation(&self) -> Option<&Propagation> {
                self.propagation.as_ref()
            }
        }
    };
}

shows_token_of_a_changed_key!(CreateKeyResponse);
shows_token_of_a_changed_key!(RenewKeyResponse);

impl ShowsToken for RevealTokenResponse {
    fn token(&mut self) -> &mut String {
        &mut self.token
    }

    fn key(&self) -> Option<&Key> {
        None
    }

    fn propagation(&self) -> Option<&Propagation> {
        None
    }
}

/// Creates a key and shows its token.
pub(in crate::commands) async fn create(
    session: &Session,
    request: CreateKeyRequest,
    save: Save,
) -> Result<Exit, Error> {
    let file = save.prepare(session)?;
    let rpc = |mut api: Api, request| async move { api.create_key(request).await };
    let answer = session.client.change(request, rpc).await?;
    let key_id = answer.key.as_ref().map(|key| key.id.clone()).unwrap_or_default();
    show(session, &key_id, answer, file)
}

/// Shows the token of key `key_id`, or saves it.
pub(super) fn show(
    session: &Session,
    key_id: &str,
    mut answer: impl ShowsToken,
    file: Option<SaveFile>,
) -> Result<Exit, Error> {
    let lost = |why, source| Error::TokenLost { key_id: key_id.to_owned(), why, source };
    if answer.token().is_empty() {
        // The first answer was lost on its way, and a token is never shown twice.
        return Err(lost("the answer that showed it did not arrive", None));
    }
    let is_saved = file.is_some();
    if let Some(file) = file {
        let token = std::mem::take(answer.token());
        let path = file.keep(&token).map_err(|error| lost("its file cannot be written", Some(error)))?;
        session.console.show(&answer, || table(session, &answer, "saved", &path.display().to_string()))?;
    } else {
        let token = answer.token().clone();
        let shown = if session.console.format == Format::Token {
            print(&token)
        } else {
            session.console.show(&answer, || table(session, &answer, "token", &token))
        };
        shown.map_err(|error| match error {
            Error::Output(error) => lost("the output cannot be written", Some(error)),
            error => error,
        })?;
    }
    propagation::tell(answer.propagation());
    // What can be revealed is kept, so nothing is lost with what was printed.
    if !is_saved && answer.propagation().is_some() && session.console.format == Format::Table {
        note("keep the token now: it is not shown again");
    }
    Ok(Exit::Done)
}

fn table(session: &Session, answer: &impl ShowsToken, name: &str, value: &str) -> Table {
    let mut table = answer.key().map_or_else(Table::record, |key| key::summary(key, session.now));
    table.pair(name, plain(value));
    table
}
