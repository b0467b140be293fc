//! `keyctl keys revoke`.

use clap::Args;
use key_authority_proto::v1::RevokeKeyRequest;

use super::{Session, changed, described};
use crate::client::Api;
use crate::confirm::confirm;
use crate::errors::{Error, Exit};
use crate::request_id;

/// Ends a key for good; it stays listed
///
/// When the command is over, no replica accepts any token of the key. It asks first, and tells when the key was last used.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// ID of the key
    key: String,
    /// Why, for people who read the list or the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Revoke {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let Self { key: key_id, reason, yes } = self;
        if !yes {
            let described = described(session, &key_id).await?;
            confirm(format!("Revoke {described}? It ends for good.")).await?;
        }
        let request = RevokeKeyRequest { key_id, reason, request_id: request_id::fresh()? };
        let rpc = |mut api: Api, request| async move { api.revoke_key(request).await };
        let answer = session.client.change(request, rpc).await?;
        changed(session, &answer, answer.key.as_ref(), answer.propagation.as_ref())
    }
}
