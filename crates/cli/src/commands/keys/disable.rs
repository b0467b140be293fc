//! `keyctl keys disable`.

use clap::Args;
use key_authority_proto::v1::DisableKeyRequest;

use super::{Session, changed};
use crate::client::Api;
use crate::errors::{Error, Exit};
use crate::request_id;

/// Disables a key until it is enabled again
#[derive(Debug, Args)]
pub(crate) struct Disable {
    /// ID of the key
    key: String,
}

impl Disable {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let request = DisableKeyRequest { key_id: self.key, request_id: request_id::fresh()? };
        let rpc = |mut api: Api, request| async move { api.disable_key(request).await };
        let answer = session.client.change(request, rpc).await?;
        changed(session, &answer, answer.key.as_ref(), answer.propagation.as_ref())
    }
}
