//! `keyctl keys enable`.

use clap::Args;
use key_authority_proto::v1::EnableKeyRequest;

use super::{Session, changed};
use crate::client::Api;
use crate::errors::{Error, Exit};
use crate::request_id;

/// Enables a disabled key
#[derive(Debug, Args)]
pub(crate) struct Enable {
    /// ID of the key
    key: String,
}

impl Enable {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let request = EnableKeyRequest { key_id: self.key, request_id: request_id::fresh()? };
        let rpc = |mut api: Api, request| async move { api.enable_key(request).await };
        let answer = session.client.change(request, rpc).await?;
        changed(session, &answer, answer.key.as_ref(), answer.propagation.as_ref())
    }
}
