//! `keyctl accounts resume`.

use clap::Args;
use key_authority_proto::v1::ResumeAccountRequest;

use super::{Session, changed};
use crate::client::Api;
use crate::errors::{Error, Exit};
use crate::request_id;

/// Resumes a suspended account: its keys are valid again
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// ID of the account
    account: String,
}

impl Resume {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let request = ResumeAccountRequest { account: self.account, request_id: request_id::fresh()? };
        let rpc = |mut api: Api, request| async move { api.resume_account(request).await };
        let answer = session.client.change(request, rpc).await?;
        changed(session, &answer, answer.account.as_ref(), answer.propagation.as_ref())
    }
}
