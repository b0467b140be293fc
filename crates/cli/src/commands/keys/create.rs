//! `keyctl keys create`.

use clap::Args;
use key_authority_proto::v1::CreateKeyRequest;

use super::Session;
use super::new_token::{self, Save};
use super::settings::{Coverage, Expiry, choice};
use crate::errors::{Error, Exit};
use crate::{fields, request_id};

/// Creates a key and shows its token, once
///
/// What the account's policy decides need not be said: without an expiry the key gets the policy's.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Account that is to own the key
    account: String,
    /// ID that the key is to have; none: one is made
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    key_id: String,
    /// Name for people
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    display_name: String,
    /// What the key is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    /// A scope that the key has; may be repeated
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    #[command(flatten)]
    projects: Coverage,
    /// A note for programs; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = fields::label)]
    label: Vec<(String, String)>,
    /// A network that the token may be used from, such as 192.0.2.0/24; may be repeated
    #[arg(long, value_name = "NETWORK")]
    network: Vec<String>,
    #[command(flatten)]
    expiry: Expiry,
    /// Create it switched off
    #[arg(long)]
    disabled: bool,
    #[command(flatten)]
    save: Save,
}

impl Create {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
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
        };
        new_token::create(session, request, self.save).await
    }
}
