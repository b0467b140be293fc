//! `keyctl keys revoke`.

use clap::Args;
use key_authority_proto::v1::RevokeKeyRequest;

use super::{Session, changed, described};
use crate::client::Api;
use crate::confirm::confirm;
use crate::errors::{Error, Exit};
use crate::request_id;

/// Revokes a key permanently; it stays in lists
///
/// When the command returns, no replica accepts any token of the key. It asks for confirmation and shows when the key
/// was last used.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// ID of the key
    key: String,
    /// Reason, shown in lists and in the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

impl Revoke {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let Self { key: key_id, reason, yes } = self;
        if !yes {
            let described = described(session, &key_id).await?;
            confirm(format!("Revoke {described}? This is permanent.")).await?;
        }
        let request = RevokeKeyRequest { key_id, reason, request_id: request_id::fresh()? };
        let rpc = |mut api: Api, request| async move { api.revoke_key(request).await };
        let answer = session.client.change(request, rpc).await?;
        changed(session, &answer, answer.key.as_ref(), answer.propagation.as_ref())
    }
}
