//! `keyctl accounts`.

use clap::Subcommand;
use key_authority_proto::v1::{Account, Propagation};
use prost::{Message, Name};

use super::Session;
use crate::errors::{Error, Exit};
use crate::views::{account, propagation};

mod create;
mod delete;
mod edit;
pub(super) mod list;
mod policy;
mod resume;
mod show;
mod suspend;

/// Accounts and their policies.
#[derive(Debug, Subcommand)]
pub(crate) enum Accounts {
    /// Creates an account
    Create(create::Create),
    /// Lists the accounts that the caller may access, newest first
    List(list::List),
    /// Shows an account and its policy
    Show(show::Show),
    /// Changes an account's name or policy; existing keys do not change
    Edit(edit::Edit),
    /// Suspends an account: its keys are invalid until it is resumed
    Suspend(suspend::Suspend),
    /// Resumes a suspended account: its keys are valid again
    Resume(resume::Resume),
    /// Deletes an account that has no keys
    Delete(delete::Delete),
}

impl Accounts {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        match self {
            Self::Create(create) => create.run(session).await,
            Self::List(list) => list.run(session).await,
            Self::Show(show) => show.run(session).await,
            Self::Edit(edit) => edit.run(session).await,
            Self::Suspend(suspend) => suspend.run(session).await,
            Self::Resume(resume) => resume.run(session).await,
            Self::Delete(delete) => delete.run(session).await,
        }
    }
}

/// Prints a changed account and the propagation of the change.
fn changed<M: Message + Name>(
    session: &Session,
    answer: &M,
    account: Option<&Account>,
    propagation: Option<&Propagation>,
) -> Result<Exit, Error> {
    let accounts: Vec<Account> = account.cloned().into_iter().collect();
    session.console.show(answer, || account::list(&accounts, session.now))?;
    propagation::report(propagation);
    Ok(Exit::Done)
}
