//! `keyctl keys renew`.

use clap::Args;
use key_authority_proto::v1::RenewKeyRequest;
use prost_types::Duration;

use super::new_token::{self, Save};
use super::settings::{Expiry, OwnToken, choice, digest};
use super::{Session, changed};
use crate::client::Api;
use crate::errors::{Error, Exit};
use crate::{fields, request_id};

/// Issues a new token for a key and ends the old one
///
/// The key keeps its ID, its settings and, unless a new one is set, its expiry. When the command returns, no replica
/// accepts the old token, unless an overlap was requested.
#[derive(Debug, Args)]
pub(crate) struct Renew {
    /// ID of the key
    key: String,
    /// How long the old token stays valid, such as 1h; default: it ends immediately
    #[arg(long, value_name = "LENGTH", value_parser = fields::duration)]
    overlap: Option<Duration>,
    #[command(flatten)]
    expiry: Expiry,
    #[command(flatten)]
    own_token: OwnToken,
    #[command(flatten)]
    save: Save,
}

impl Renew {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let Self { key: key_id, overlap, expiry, own_token, save } = self;
        let shows_token = !own_token.is_set();
        let file = if shows_token { save.prepare(session)? } else { save.reject_with_digest()? };
        let (digest, token_hint) = digest!(own_token, renew_key_request);
        let request = RenewKeyRequest {
            key_id: key_id.clone(),
            overlap,
            expiry: choice!(expiry, renew_key_request),
            request_id: request_id::fresh()?,
            digest,
            token_hint,
        };
        let rpc = |mut api: Api, request| async move { api.renew_key(request).await };
        let answer = session.client.change(request, rpc).await?;
        if shows_token {
            return new_token::show(session, &key_id, answer, file);
        }
        changed(session, &answer, answer.key.as_ref(), answer.propagation.as_ref())
    }
}
