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

mod instructions;

use instructions::Wanted;

/// Leads to a key that a client can be connected with, and tells how with --url
///
/// It lists the account's active keys by name and by how their tokens begin, so that the saved token of one of them can be
/// found. With --url it tells instead what to paste or open to connect Claude Code, Codex, VS Code, Cursor, Claude Desktop and
/// ChatGPT to that MCP server. Where there is no active key, it offers to create one.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Account whose key the client is to use
    account: String,
    /// Create a key where there is no active one, without asking
    #[arg(long, visible_alias = "create")]
    create_if_none: bool,
    #[command(flatten)]
    wanted: Wanted,
    /// Name of a key that is created; with --url it is called as the server
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

    /// Tells how a client is connected to a server.
    async fn instruct(self, session: &Session) -> Result<Exit, Error> {
        let told = self.wanted.clone().show(session, &self.account, self.create_if_none).await?;
        if let Some(exit) = told {
            return Ok(exit);
        }
        self.may_create().await?;
        let told = self.wanted.show(session, &self.account, true).await?;
        told.ok_or(Error::NoActiveKey { account: self.account })
    }

    async fn create(self, session: &Session) -> Result<Exit, Error> {
        self.may_create().await?;
        let Self { account, display_name, save, .. } = self;
        let request =
            CreateKeyRequest { account, display_name, request_id: request_id::fresh()?, ..CreateKeyRequest::default() };
        new_token::create(session, request, save).await
    }

    /// Asks whether a key is to be created, unless that is said already.
    async fn may_create(&self) -> Result<(), Error> {
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
