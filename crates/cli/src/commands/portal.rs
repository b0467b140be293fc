//! `keyctl portal`.

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, Subcommand};
use key_authority_proto::v1::{AllowedScopes, CreatePortalSessionRequest, PortalAction};
use prost_types::Duration;

use super::Session;
use crate::client::Api;
use crate::errors::{Error, Exit};
use crate::fields;
use crate::table::{Table, plain};
use crate::views::{exactly_when, word};

/// Pages on which a user of a product manages the keys of an account.
#[derive(Debug, Subcommand)]
pub(crate) enum Portal {
    /// Prints a link that opens the pages once, within a minute
    Create(Create),
}

/// Prints a link that opens the pages once, within a minute
///
/// The link is a secret: anyone who opens it first gets the session. The audit log records the user and the caller.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Account whose keys the user manages
    #[arg(long)]
    account: String,
    /// The user, as the product identifies it
    #[arg(long)]
    subject: String,
    /// What the user may do, beside reading: one or more, as in --may create,revoke
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(names()).map(|name| by_name(&name)))]
    may: Vec<PortalAction>,
    #[command(flatten)]
    scopes: ScopeLimit,
    /// How long the session lasts at most, up to 12h [default: 1h]
    #[arg(long, value_name = "LENGTH", value_parser = fields::duration)]
    lifetime: Option<Duration>,
}

/// The scopes that the user may give to keys.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct ScopeLimit {
    /// Scope that the user may give to keys; may be repeated [default: any scope]
    #[arg(long, value_name = "SCOPE")]
    allowed_scope: Vec<String>,
    /// The user may give no scope to keys
    #[arg(long)]
    no_scopes: bool,
}

impl ScopeLimit {
    /// The scopes. None: any.
    fn allowed(self) -> Option<AllowedScopes> {
        let is_set = self.no_scopes || !self.allowed_scope.is_empty();
        is_set.then_some(AllowedScopes { only: self.allowed_scope })
    }
}

impl Portal {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let Self::Create(Create { account, subject, may, scopes, lifetime }) = self;
        let may = may.into_iter().map(Into::into).collect();
        let allowed_scopes = scopes.allowed();
        let request = CreatePortalSessionRequest { account, subject, may, lifetime, allowed_scopes };
        let rpc = |mut api: Api, request| async move { api.create_portal_session(request).await };
        let answer = session.client.ask(request, rpc).await?;
        session.console.show(&answer, || {
            let mut table = Table::record();
            table.pair("url", plain(&answer.url));
            table.pair("link ends", plain(exactly_when(answer.url_expire_time.as_ref(), session.now)));
            table.pair("session ends", plain(exactly_when(answer.expire_time.as_ref(), session.now)));
            table
        })?;
        Ok(Exit::Done)
    }
}

/// `PORTAL_ACTION_CREATE` is `create`.
fn name(action: PortalAction) -> String {
    word("PORTAL_ACTION_", action.as_str_name())
}

fn actions() -> impl Iterator<Item = PortalAction> {
    (1..).map_while(|number| PortalAction::try_from(number).ok())
}

fn names() -> Vec<String> {
    actions().map(name).collect()
}

fn by_name(wanted: &str) -> PortalAction {
    actions().find(|&action| name(action) == wanted).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_a_unique_name() {
        assert_eq!(names(), ["create", "update", "disable", "renew", "revoke", "delete", "reveal"]);
        for action in actions() {
            assert_eq!(by_name(&name(action)), action);
        }
    }
}
