//! `keyctl keys create`.

use clap::Args;
use key_authority_proto::v1::CreateKeyRequest;

use super::new_token::{self, Save};
use super::settings::{Coverage, Expiry, OwnToken, choice, digest};
use super::{Session, changed};
use crate::client::Api;
use crate::errors::{Error, Exit};
use crate::{fields, request_id};

/// Creates a key and shows its token once
///
/// The account's policy sets the defaults: a key without an expiry gets the policy's default. With --sha256 or --blake3
/// the authority never sees the token, and shows none.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Account that owns the key
    account: String,
    /// ID of the key; default: generated
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    key_id: String,
    /// Name for people
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    display_name: String,
    /// What the key is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    /// Scope of the key; may be repeated
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    #[command(flatten)]
    projects: Coverage,
    /// Label, returned by Verify; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = fields::label)]
    label: Vec<(String, String)>,
    /// Network that the key is valid from, such as 192.0.2.0/24; may be repeated
    #[arg(long, value_name = "NETWORK")]
    network: Vec<String>,
    #[command(flatten)]
    expiry: Expiry,
    /// Create the key disabled
    #[arg(long)]
    disabled: bool,
    #[command(flatten)]
    own_token: OwnToken,
    #[command(flatten)]
    save: Save,
}

impl Create {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let shows_token = !self.own_token.is_set();
        let (digest, token_hint) = digest!(self.own_token, create_key_request);
        let request = CreateKeyRequest {
            account: self.account,
            key_id: self.key_id,
            display_name: self.display_name,
            description: self.description,
            scopes: self.scope,
            projects: self.projects.access(),
            labels: self.label.into_iter().collect(),
            allowed_networks: self.network,
            expiry: choice!(self.expiry, create_key_request),
            disabled: self.disabled,
            request_id: request_id::fresh()?,
            digest,
            token_hint,
        };
        if shows_token {
            return new_token::create(session, request, self.save).await;
        }
        self.save.reject_with_digest()?;
        let rpc = |mut api: Api, request| async move { api.create_key(request).await };
        let answer = session.client.change(request, rpc).await?;
        changed(session, &answer, answer.key.as_ref(), answer.propagation.as_ref())
    }
}
