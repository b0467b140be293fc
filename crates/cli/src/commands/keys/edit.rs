//! `keyctl keys edit`.

use clap::{Args, ValueEnum};
use key_authority_proto::v1::{Key, UpdateKeyRequest};
use prost_types::{FieldMask, Timestamp};

use super::settings::Coverage;
use super::{Session, changed};
use crate::client::Api;
use crate::errors::{Error, Exit};
use crate::{fields, request_id};

/// Changes fields of a key; its token stays the same
///
/// Each flag replaces the whole field: with --scope the key has exactly the given scopes.
#[derive(Debug, Args)]
pub(crate) struct Edit {
    /// ID of the key
    key: String,
    #[command(flatten)]
    changes: Changes,
    /// Change the key only if it still has this etag, which show --output json prints
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
}

#[derive(Debug, Args)]
struct Changes {
    /// Name for people
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// What the key is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Scope of the key; may be repeated
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    #[command(flatten)]
    projects: Coverage,
    /// Label, returned by Verify; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = fields::label)]
    label: Vec<(String, String)>,
    /// Network that the key is valid from; may be repeated
    #[arg(long, value_name = "NETWORK")]
    network: Vec<String>,
    /// When the key expires, such as 2027-01-31T12:00:00Z
    #[arg(long, value_name = "MOMENT", value_parser = fields::timestamp)]
    expire_time: Option<Timestamp>,
    /// A field to clear; may be repeated
    #[arg(long, value_enum, value_name = "FIELD")]
    clear: Vec<Clearable>,
}

/// A field that can be cleared.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Clearable {
    /// No scopes
    Scopes,
    /// The projects that the policy sets by default
    Projects,
    /// No labels
    Labels,
    /// Any network
    Networks,
    /// No expiry
    Expiry,
}

impl Clearable {
    fn path(self) -> &'static str {
        match self {
            Self::Scopes => "scopes",
            Self::Projects => "projects",
            Self::Labels => "labels",
            Self::Networks => "allowed_networks",
            Self::Expiry => "expire_time",
        }
    }
}

impl Changes {
    /// The key with its new values, and the names of the fields that change.
    fn applied(self, id: String) -> (Key, Vec<String>) {
        let cleared = self.clear.iter().map(|field| field.path());
        let projects = self.projects.access();
        let set = [
            ("display_name", self.display_name.is_some()),
            ("description", self.description.is_some()),
            ("scopes", !self.scope.is_empty()),
            ("projects", projects.is_some()),
            ("labels", !self.label.is_empty()),
            ("allowed_networks", !self.network.is_empty()),
            ("expire_time", self.expire_time.is_some()),
        ];
        let set = set.into_iter().filter(|(_, is_set)| *is_set).map(|(path, _)| path);
        let mut paths: Vec<String> = set.chain(cleared).map(str::to_owned).collect();
        paths.sort();
        paths.dedup();
        let key = Key {
            id,
            display_name: self.display_name.unwrap_or_default(),
            description: self.description.unwrap_or_default(),
            scopes: self.scope,
            projects,
            labels: self.label.into_iter().collect(),
            allowed_networks: self.network,
            expire_time: self.expire_time,
            ..Key::default()
        };
        (key, paths)
    }
}

impl Edit {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let (key, paths) = self.changes.applied(self.key);
        if paths.is_empty() {
            return Err(Error::Usage("set at least one field to change; keyctl keys edit --help lists them".into()));
        }
        let request = UpdateKeyRequest {
            key: Some(key),
            update_mask: Some(FieldMask { paths }),
            etag: self.etag,
            request_id: request_id::fresh()?,
        };
        let rpc = |mut api: Api, request| async move { api.update_key(request).await };
        let answer = session.client.change(request, rpc).await?;
        changed(session, &answer, answer.key.as_ref(), answer.propagation.as_ref())
    }
}
