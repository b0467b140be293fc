//! `keyctl connect`.

use std::io::IsTerminal as _;

use clap::Args;
use key_authority_proto::v1::{CreateKeyRequest, Key, KeyState};

use super::Session;
use super::keys::list::keys_of;
use super::keys::new_token::{self, Save};
use crate::confirm::confirm;
use crate::console::{Format, note};
use crate::errors::{Error, Exit};
use crate::json;
use crate::request_id;
use crate::table::{Table, plain};
use crate::views::when;

/// Leads to a key that a client can be connected with
///
/// It lists the account's active keys by name and by how their tokens begin, so that the saved token of one of them can be
/// found. Where there is no active key, it offers to create one.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Account whose key the client is to use
    account: String,
    /// Create a key where there is no active one, without asking
    #[arg(long)]
    create_if_none: bool,
    /// Name of a key that is created
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    display_name: String,
    #[command(flatten)]
    save: Save,
}

impl Connect {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let answer = keys_of(session, &self.account, &[KeyState::Active], "").await?;
        if answer.keys.is_empty() {
            return self.create(session).await;
        }
        match session.console.format {
            Format::Token => {
                return Err(Error::Usage(format!(
                    "account {} has an active key, and its token cannot be shown again: keyctl keys create makes another",
                    self.account
                )));
            }
            Format::Json => crate::console::print(&json::text(&answer)?)?,
            Format::Table => session.console.table(table(&answer.keys, session.now))?,
        }
        note(
            "Use the token of one of these keys, which begins with its hint. If none is kept, keyctl keys create makes a key.",
        );
        Ok(Exit::Done)
    }

    async fn create(self, session: &Session) -> Result<Exit, Error> {
        let Self { account, create_if_none, display_name, save } = self;
        if !create_if_none {
            if !std::io::stdin().is_terminal() {
                return Err(Error::NoActiveKey { account });
            }
            confirm(format!("Account {account} has no active key. Create one?")).await?;
        }
        let request =
            CreateKeyRequest { account, display_name, request_id: request_id::fresh()?, ..CreateKeyRequest::default() };
        new_token::create(session, request, save).await
    }
}

fn table(keys: &[Key], now: i64) -> Table {
    let mut table = Table::list(&["NAME", "TOKEN BEGINS WITH", "KEY", "LAST USED"]);
    for key in keys {
        table.row(vec![
            plain(&key.display_name),
            plain(&key.token_hint),
            plain(&key.id),
            plain(when(key.last_used_time.as_ref(), now, "never")),
        ]);
    }
    table
}
