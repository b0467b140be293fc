//! `keyctl keys reveal`.

use clap::Args;
use key_authority_proto::v1::RevealTokenRequest;

use super::Session;
use super::new_token::{self, Save};
use crate::client::Api;
use crate::errors::{Error, Exit};

/// Reveals a key's token, if the account's policy is recoverable
///
/// Each reveal is recorded in the audit log.
#[derive(Debug, Args)]
pub(crate) struct Reveal {
    /// ID of the key
    key: String,
    #[command(flatten)]
    save: Save,
}

impl Reveal {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let file = self.save.prepare(session)?;
        let request = RevealTokenRequest { key_id: self.key.clone() };
        // A reveal is not a change, so it has no request_id. A retry reveals the token again, and both are in the audit
        // log.
        let rpc = |mut api: Api, request| async move { api.reveal_token(request).await };
        let answer = session.client.ask(request, rpc).await?;
        new_token::show(session, &self.key, answer, file)
    }
}
