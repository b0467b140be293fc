//! `keyctl accounts create`.

#![expect(clippy::doc_markdown, reason = "the comments of the flags are the text of --help")]

use std::path::{Path, PathBuf};

use clap::Args;
use key_authority_proto::v1::{Account, CreateAccountRequest};

use super::policy::Policy;
use super::{Session, changed};
use crate::client::Api;
use crate::errors::{Error, Exit};
use crate::{json, request_id, text_file};

/// Creates an account
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// ID of the account; it cannot be changed
    #[arg(required_unless_present = "from_file")]
    account: Option<String>,
    /// Name for people
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// JSON file with a CreateAccount request, such as docs/examples/meko.json; the ID and the name given here override
    /// it
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    #[command(flatten)]
    policy: Policy,
}

impl Create {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let (policy, fields) = self.policy.fields();
        let mut account = match &self.from_file {
            None => Account { policy: Some(policy), ..Account::default() },
            Some(_) if !fields.is_empty() => {
                return Err(Error::Usage("the file contains the policy: change it there, or omit --from-file".into()));
            }
            Some(file) => read(file)?,
        };
        account.id = self.account.unwrap_or(account.id);
        account.display_name = self.display_name.unwrap_or(account.display_name);
        let request = CreateAccountRequest { account: Some(account), request_id: request_id::fresh()? };
        let rpc = |mut api: Api, request| async move { api.create_account(request).await };
        let answer = session.client.change(request, rpc).await?;
        changed(session, &answer, answer.account.as_ref(), answer.propagation.as_ref())
    }
}

fn read(path: &Path) -> Result<Account, Error> {
    let text = text_file::read(path)?;
    let request: CreateAccountRequest =
        json::read(&text).map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
    Ok(request.account.unwrap_or_default())
}
