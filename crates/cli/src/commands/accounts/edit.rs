//! `keyctl accounts edit`.

use clap::{Args, ValueEnum};
use key_authority_proto::v1::{Account, UpdateAccountRequest};
use prost_types::FieldMask;

use super::policy::Policy;
use super::{Session, changed};
use crate::client::Api;
use crate::errors::{Error, Exit};
use crate::request_id;

/// Changes an account's name or policy; existing keys do not change
#[derive(Debug, Args)]
pub(crate) struct Edit {
    /// ID of the account
    account: String,
    /// Name for people
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// Change the account only if it still has this etag, which show --output json prints
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    policy: Policy,
    /// A field of the policy to clear; may be repeated
    #[arg(long, value_enum, value_name = "FIELD")]
    clear: Vec<Clearable>,
}

/// A field of a policy that can be cleared.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Clearable {
    /// Any name
    DisplayNamePattern,
    /// Any lifetime
    Lifetimes,
    /// No default
    DefaultLifetime,
    /// As the lifetimes define
    MayNeverExpire,
    /// Each key may list projects
    ProjectRule,
    /// No protection against deletion
    RecentlyUsedWindow,
    /// The default of the authority
    MaxOverlap,
}

impl Clearable {
    fn path(self) -> &'static str {
        match self {
            Self::DisplayNamePattern => "policy.display_name_pattern",
            Self::Lifetimes => "policy.lifetimes",
            Self::DefaultLifetime => "policy.default_lifetime",
            Self::MayNeverExpire => "policy.may_never_expire",
            Self::ProjectRule => "policy.project_rule",
            Self::RecentlyUsedWindow => "policy.recently_used_window",
            Self::MaxOverlap => "policy.max_overlap",
        }
    }
}

impl Edit {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let (policy, mut paths) = self.policy.fields();
        paths.extend(self.clear.iter().map(|field| field.path().to_owned()));
        if self.display_name.is_some() {
            paths.push("display_name".into());
        }
        if paths.is_empty() {
            return Err(Error::Usage(
                "set at least one field to change; keyctl accounts edit --help lists them".into(),
            ));
        }
        paths.sort();
        paths.dedup();
        let account = Account {
            id: self.account,
            display_name: self.display_name.unwrap_or_default(),
            policy: Some(policy),
            ..Account::default()
        };
        let request = UpdateAccountRequest {
            account: Some(account),
            update_mask: Some(FieldMask { paths }),
            etag: self.etag,
            request_id: request_id::fresh()?,
        };
        let rpc = |mut api: Api, request| async move { api.update_account(request).await };
        let answer = session.client.change(request, rpc).await?;
        changed(session, &answer, answer.account.as_ref(), answer.propagation.as_ref())
    }
}
