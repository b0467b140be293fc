//! The commands. To add one: a file with its flags and its `run`, and a line in the enum and the match above it.

use clap::Subcommand;

use crate::arguments::Cli;
use crate::client::Client;
use crate::clock;
use crate::console::{Console, Format};
use crate::errors::{Error, Exit};

mod accounts;
mod audit;
mod completions;
mod connect;
mod keys;
mod status;
mod verify;

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Accounts and their policies
    #[command(subcommand)]
    Accounts(Box<accounts::Accounts>),
    /// Keys of accounts
    #[command(subcommand)]
    Keys(Box<keys::Keys>),
    /// Asks whether the holder of a token may do something; exit code 0 when it is valid, 1 when it is not
    Verify(verify::Verify),
    /// Shows what was changed, by whom and when
    Audit(audit::Audit),
    /// Shows how the authority and its replicas are
    Status(status::Status),
    /// Leads to a key that a client can be connected with, and tells how with --url
    Connect(connect::Connect),
    /// Prints the completions of a shell
    Completions(completions::Completions),
}

impl Command {
    /// Whether it can show a new token, alone.
    fn shows_token(&self) -> bool {
        match self {
            Self::Keys(keys) => keys.shows_token(),
            Self::Connect(_) => true,
            _ => false,
        }
    }
}

/// What a command works with.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) console: Console,
    /// Seconds since 1970, by this machine's clock.
    pub(crate) now: i64,
}

/// Runs a command.
pub(crate) async fn run(cli: Cli) -> Result<Exit, Error> {
    let Cli { command, output, connection } = cli;
    if output == Format::Token && !command.shows_token() {
        return Err(Error::Usage("this command shows no new token, so there is no --output token of it".into()));
    }
    if let Command::Completions(completions) = command {
        return completions.run();
    }
    let client = Client::connect(connection.resolve()?).await?;
    let session = Session { client, console: Console::new(output), now: clock::now() };
    match command {
        Command::Accounts(accounts) => accounts.run(&session).await,
        Command::Keys(keys) => keys.run(&session).await,
        Command::Verify(verify) => verify.run(&session).await,
        Command::Audit(audit) => audit.run(&session).await,
        Command::Status(status) => status.run(&session).await,
        Command::Connect(connect) => connect.run(&session).await,
        Command::Completions(_) => Ok(Exit::Done),
    }
}
