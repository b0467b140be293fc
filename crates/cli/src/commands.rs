//! The commands. To add one: add a file with its flags and its `run`, a variant of the enum and an arm of the match.

use clap::Subcommand;

use crate::client::Client;
use crate::clock;
use crate::connection::Connection;
use crate::console::{Console, Format};
use crate::errors::{Error, Exit};

mod accounts;
mod audit;
mod completions;
mod connect;
mod keys;
mod portal;
mod restore;
mod status;
mod tokens;
mod verify;

/// A command of `keyctl`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Accounts and their policies
    #[command(subcommand)]
    Accounts(Box<accounts::Accounts>),
    /// Keys of accounts
    #[command(subcommand)]
    Keys(Box<keys::Keys>),
    /// Keys by a token that you have
    #[command(subcommand)]
    Tokens(Box<tokens::Tokens>),
    /// Pages on which a user of a product manages the keys of an account
    #[command(subcommand)]
    Portal(portal::Portal),
    /// Verifies a token; exit code 0 if it is valid, 1 if not
    Verify(verify::Verify),
    /// Lists changes: what, by whom and when
    Audit(audit::Audit),
    /// Shows the status of the authority and its replicas
    Status(status::Status),
    /// A database that was restored to an earlier state
    #[command(subcommand)]
    Restore(restore::Restore),
    /// Finds or creates a key for a client; with --url shows how to connect the client
    Connect(connect::Connect),
    /// Prints shell completions
    Completions(completions::Completions),
}

impl Command {
    /// Whether the command supports `--output token`.
    fn shows_token(&self) -> bool {
        match self {
            Self::Keys(keys) => keys.shows_token(),
            Self::Tokens(tokens) => tokens.shows_token(),
            Self::Connect(_) => true,
            _ => false,
        }
    }
}

/// The client and console of a command.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) console: Console,
    /// Seconds since the Unix epoch, by this machine's clock.
    pub(crate) now: i64,
}

/// Runs a command.
///
/// `cli` builds the whole command line, for shell completions.
pub(crate) async fn run(
    cli: fn() -> clap::Command,
    command: Command,
    output: Format,
    connection: Connection,
) -> Result<Exit, Error> {
    if output == Format::Token && !command.shows_token() {
        return Err(Error::Usage("--output token is not available, because this command shows no new token".into()));
    }
    if let Command::Completions(completions) = command {
        return completions.run(cli());
    }
    let client = Client::connect(connection.resolve()?).await?;
    let session = Session { client, console: Console::new(output), now: clock::now() };
    match command {
        Command::Accounts(accounts) => accounts.run(&session).await,
        Command::Keys(keys) => keys.run(&session).await,
        Command::Tokens(tokens) => tokens.run(&session).await,
        Command::Portal(portal) => portal.run(&session).await,
        Command::Verify(verify) => verify.run(&session).await,
        Command::Audit(audit) => audit.run(&session).await,
        Command::Status(status) => status.run(&session).await,
        Command::Restore(restore) => restore.run(&session).await,
        Command::Connect(connect) => connect.run(&session).await,
        Command::Completions(_) => Ok(Exit::Done),
    }
}
