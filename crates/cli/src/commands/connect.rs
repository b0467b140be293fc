//! `keyctl connect`.

use std::io::IsTerminal as _;

use clap::Args;
use key_authority_proto::v1::{CreateKeyRequest, Key, KeyState, ListKeysRequest};

use super::Session;
use super::keys::list::all_keys;
use super::keys::new_token::{self, Save};
use crate::confirm::confirm;
use crate::console::{Format, note};
use crate::errors::{Error, Exit};
use crate::json;
use crate::request_id;
use crate::table::{Table, plain};
use crate::views::when;

mod instructions;

use instructions::Wanted;

/// Finds or creates a key for a client; with --url shows how to connect the client
///
/// Lists the account's active keys with the first characters of their tokens, so that you can find the saved token of
/// one of them. With --url it shows what to paste or open to connect Claude Code, Codex, VS Code, Cursor, Claude
/// Desktop or ChatGPT to that MCP server. If the account has no active key, it offers to create one.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Account whose key the client uses
    account: String,
    /// Create a key without confirmation if there is no active one; an active key is used as it is
    #[arg(long, alias = "create")]
    create_if_none: bool,
    #[command(flatten)]
    wanted: Wanted,
    /// Display name of a created key; with --url it is the name of the server
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    display_name: String,
    #[command(flatten)]
    save: Save,
}

impl Connect {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Error> {
        if self.wanted.is_some() {
            return self.instruct(session).await;
        }
        let request = ListKeysRequest {
            account: self.account.clone(),
            states: vec![KeyState::Active.into()],
            ..ListKeysRequest::default()
        };
        let answer = all_keys(session, request).await?;
        if answer.keys.is_empty() {
            return self.create(session).await;
        }
        match session.console.format {
            Format::Token => {
                return Err(Error::Usage(format!(
                    "account {} has an active key whose token cannot be shown again; keyctl keys create creates \
                     another key",
                    self.account
                )));
            }
            Format::Json => crate::console::print(&json::text(&answer)?)?,
            Format::Table => session.console.table(table(&answer.keys, session.now))?,
        }
        note("Use the saved token of one of these keys. If you have none, create a key with keyctl keys create.");
        Ok(Exit::Done)
    }

    /// Shows how to connect a client to a server.
    async fn instruct(self, session: &Session) -> Result<Exit, Error> {
        let shown = self.wanted.clone().show(session, &self.account, self.create_if_none).await?;
        if let Some(exit) = shown {
            return Ok(exit);
        }
        self.confirm_creation().await?;
        let shown = self.wanted.show(session, &self.account, true).await?;
        shown.ok_or(Error::NoActiveKey { account: self.account })
    }

    async fn create(self, session: &Session) -> Result<Exit, Error> {
        self.confirm_creation().await?;
        let Self { account, display_name, save, .. } = self;
        let request =
            CreateKeyRequest { account, display_name, request_id: request_id::fresh()?, ..CreateKeyRequest::default() };
        new_token::create(session, request, save).await
    }

    /// Asks for confirmation to create a key, unless a flag gives it.
    async fn confirm_creation(&self) -> Result<(), Error> {
        let account = &self.account;
        if self.create_if_none {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            return Err(Error::NoActiveKey { account: account.clone() });
        }
        confirm(format!("Account {account} has no active key. Create one?")).await
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
