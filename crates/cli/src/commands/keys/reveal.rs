//! `keyctl keys reveal`.

use clap::Args;
use key_authority_proto::v1::RevealTokenRequest;

use super::Session;
use super::new_token::{self, Save};
use crate::client::Api;
use crate::errors::{Error, Exit};

/// Shows a key's token again, where the account's policy keeps tokens
///
/// Each showing is in the audit log.
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
        // No change, so it has no request_id; asked twice, it is told twice, and both are in the audit log.
        let rpc = |mut api: Api, request| async move { api.reveal_token(request).await };
        let answer = session.client.ask(request, rpc).await?;
        new_token::show(session, &self.key, answer, file)
    }
}
