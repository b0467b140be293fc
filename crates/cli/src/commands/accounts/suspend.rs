//! `keyctl accounts suspend`.

use clap::Args;
use key_authority_proto::v1::SuspendAccountRequest;

use super::{Session, changed};
use crate::client::Api;
use crate::errors::{Error, Exit};
use crate::request_id;

/// Suspends an account: its keys are invalid until it is resumed
#[derive(Debug, Args)]
pub(crate) struct Suspend {
    /// ID of the account
    account: String,
}

impl Suspend {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let request = SuspendAccountRequest { account: self.account, request_id: request_id::fresh()? };
        let rpc = |mut api: Api, request| async move { api.suspend_account(request).await };
        let answer = session.client.change(request, rpc).await?;
        changed(session, &answer, answer.account.as_ref(), answer.propagation.as_ref())
    }
}
