//! Output of tokens: on standard output, or in a file for its owner alone, and nowhere else.

use std::path::PathBuf;

use clap::Args;
use key_authority_proto::v1::{
    CreateKeyRequest, CreateKeyResponse, Key, Propagation, RenewKeyResponse, RenewTokenResponse, RevealTokenResponse,
};
use prost::{Message, Name};

use super::Session;
use crate::client::Api;
use crate::console::{Format, is_closed, note, print};
use crate::errors::{Error, Exit};
use crate::private_file::SaveFile;
use crate::table::{Table, plain};
use crate::views::{key, propagation};

/// The destination of a token.
#[derive(Debug, Args)]
pub(crate) struct Save {
    /// Write the token to this file (mode 0600) instead of standard output; an existing file is never overwritten
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

impl Save {
    /// Creates the file before the token is created, so that no token is lost if the file cannot be created. Without a
    /// file, checks that standard output is open.
    pub(in crate::commands) fn prepare(self, session: &Session) -> Result<Option<SaveFile>, Error> {
        if self.save.is_some() && session.console.format == Format::Token {
            return Err(Error::Usage(
                "--save writes the token to a file and --output token prints it: choose one".into(),
            ));
        }
        match self.save {
            Some(path) => SaveFile::create(path).map(Some),
            None if is_closed() => Err(Error::ClosedOutput),
            None => Ok(None),
        }
    }
}

impl Save {
    /// Checks that there is no file for a token that the authority does not know.
    pub(super) fn reject_with_digest(self) -> Result<Option<SaveFile>, Error> {
        match self.save {
            Some(_) => Err(Error::Usage("--save needs a token of the authority: omit --sha256 and --blake3".into())),
            None => Ok(None),
        }
    }
}

/// A response that contains a token.
pub(in crate::commands) trait ShowsToken: Message + Name {
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
shows_token_of_a_changed_key!(RenewTokenResponse);

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

/// Creates a key and prints its token.
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

/// Prints the token of key `key_id`, or saves it.
pub(in crate::commands) fn show(
    session: &Session,
    key_id: &str,
    mut answer: impl ShowsToken,
    file: Option<SaveFile>,
) -> Result<Exit, Error> {
    let lost = |why, source| Error::TokenLost { key_id: key_id.to_owned(), why, source };
    // A revealed token is stored, and can be revealed again.
    let is_shown_once = answer.propagation().is_some();
    if answer.token().is_empty() {
        // The first response was lost, and a token is shown only once.
        return Err(lost("the response with the token was lost", None));
    }
    let is_saved = file.is_some();
    if let Some(file) = file {
        let token = std::mem::take(answer.token());
        let path = file.path().to_owned();
        file.keep(&token).map_err(|source| {
            if is_shown_once {
                lost("cannot write its file", Some(source))
            } else {
                Error::File { path: path.clone(), source }
            }
        })?;
        session.console.show(&answer, || table(session, &answer, "saved", &path.display().to_string()))?;
    } else {
        let token = answer.token().clone();
        let shown = if session.console.format == Format::Token {
            print(&token)
        } else {
            session.console.show(&answer, || table(session, &answer, "token", &token))
        };
        shown.map_err(|error| match error {
            Error::Output(error) if is_shown_once => lost("cannot write the output", Some(error)),
            error => error,
        })?;
    }
    propagation::report(answer.propagation());
    // A token that can be revealed is stored, so the note is not needed.
    if !is_saved && answer.propagation().is_some() && session.console.format == Format::Table {
        note("save the token now: it is not shown again");
    }
    Ok(Exit::Done)
}

fn table(session: &Session, answer: &impl ShowsToken, name: &str, value: &str) -> Table {
    let mut table = answer.key().map_or_else(Table::record, |key| key::summary(key, session.now));
    table.pair(name, plain(value));
    table
}
