//! `keyctl keys revoke`.

use std::collections::BTreeMap;

use clap::Args;
use key_authority_proto::v1::{RevokeKeyRequest, RevokeKeysRequest, RevokeKeysResponse};

use super::{Session, changed, described};
use crate::client::Api;
use crate::confirm::confirm;
use crate::console::note;
use crate::errors::{Error, Exit};
use crate::fields::Moment;
use crate::relative::counted;
use crate::table::{Table, plain};
use crate::views::propagation;
use crate::{fields, request_id};

/// Revokes a key, or all keys of an account that match filters, permanently
///
/// The keys stay in lists. When the command returns, no replica accepts any token of the keys. It asks for confirmation,
/// and shows when the key was last used, or how many keys match.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// ID of the key
    #[arg(required_unless_present = "account")]
    key: Option<String>,
    /// Revoke the keys of this account that match all filters
    #[arg(long)]
    account: Option<String>,
    #[command(flatten)]
    filters: Filters,
    /// Reason, shown in lists and in the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Show which keys match, and change nothing
    #[arg(long, requires = "account")]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

/// Which keys of the account to revoke.
#[derive(Debug, Args)]
struct Filters {
    /// Only keys with this label; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = fields::label, requires = "account")]
    label: Vec<(String, String)>,
    /// Only keys that this caller created
    #[arg(long, value_name = "KEY", requires = "account")]
    created_by: Option<String>,
    /// Only keys that cover this project, including those that cover all projects
    #[arg(long, requires = "account")]
    project: Option<String>,
    /// Only keys that were created before this time, such as 2027-01-31T12:00:00Z or 24h
    #[arg(long, value_name = "MOMENT", value_parser = fields::moment, requires = "account")]
    created_before: Option<Moment>,
    /// Only this key; may be repeated
    #[arg(long, value_name = "KEY", requires = "account")]
    key_id: Vec<String>,
    /// All keys of the account
    #[arg(long, requires = "account")]
    all: bool,
}

impl Filters {
    fn request(self, account: String, reason: String, now: i64) -> Result<RevokeKeysRequest, Error> {
        let Self { label, created_by, project, created_before, key_id: key_ids, all } = self;
        let has_filter = !label.is_empty()
            || created_by.is_some()
            || project.is_some()
            || created_before.is_some()
            || !key_ids.is_empty();
        if has_filter == all {
            return Err(Error::Usage(
                "set a filter (--label, --created-by, --project, --created-before, --key-id) or --all, not both".into(),
            ));
        }
        let labels: BTreeMap<String, String> = label.iter().cloned().collect();
        if labels.len() < label.len() {
            return Err(Error::Usage("a key has one value of each label: name each label once".into()));
        }
        let create_time_before = created_before.map(|moment| moment.before(now));
        Ok(RevokeKeysRequest {
            account,
            key_ids,
            labels,
            created_by,
            project,
            create_time_before,
            reason,
            ..RevokeKeysRequest::default()
        })
    }
}

impl Revoke {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let Self { key, account, filters, reason, dry_run, yes } = self;
        match (key, account) {
            (Some(_), Some(_)) => Err(Error::Usage("with --account, name single keys with --key-id".into())),
            (Some(key_id), None) => revoke_one(session, key_id, reason, yes).await,
            (None, account) => {
                let request = filters.request(account.unwrap_or_default(), reason, session.now)?;
                revoke_matching(session, request, dry_run, yes).await
            }
        }
    }
}

async fn revoke_one(session: &Session, key_id: String, reason: String, yes: bool) -> Result<Exit, Error> {
    if !yes {
        let described = described(session, &key_id).await?;
        confirm(format!("Revoke {described}? This is permanent.")).await?;
    }
    let request = RevokeKeyRequest { key_id, reason, request_id: request_id::fresh()? };
    let rpc = |mut api: Api, request| async move { api.revoke_key(request).await };
    let answer = session.client.change(request, rpc).await?;
    changed(session, &answer, answer.key.as_ref(), answer.propagation.as_ref())
}

async fn revoke_matching(
    session: &Session,
    request: RevokeKeysRequest,
    dry_run: bool,
    yes: bool,
) -> Result<Exit, Error> {
    let rpc = |mut api: Api, request| async move { api.revoke_keys(request).await };
    if dry_run || !yes {
        let matching = session.client.ask(RevokeKeysRequest { dry_run: true, ..request.clone() }, rpc).await?;
        if dry_run {
            show(session, &matching)?;
            note(&format!("{} would be revoked; nothing was changed", counted(u64::from(matching.count), "key")));
            return Ok(Exit::Done);
        }
        let keys = counted(u64::from(matching.count), "key");
        confirm(format!("Revoke {keys} of account {}? This is permanent.", request.account)).await?;
    }
    let answer = session.client.change(RevokeKeysRequest { request_id: request_id::fresh()?, ..request }, rpc).await?;
    show(session, &answer)?;
    note(&format!("{} revoked", counted(u64::from(answer.count), "key")));
    propagation::report(answer.propagation.as_ref());
    Ok(Exit::Done)
}

/// Prints the IDs of the keys, of which the authority lists the first thousand.
fn show(session: &Session, answer: &RevokeKeysResponse) -> Result<(), Error> {
    session.console.show(answer, || {
        let mut table = Table::list(&["KEY"]);
        for id in &answer.key_ids {
            table.row(vec![plain(id)]);
        }
        table
    })?;
    let left_out = u64::from(answer.count).saturating_sub(answer.key_ids.len() as u64);
    if left_out > 0 {
        note(&format!("{} more not listed", counted(left_out, "key")));
    }
    Ok(())
}
