//! Updates of accounts.

use key_authority_domain::account::Account;
use key_authority_domain::audit::IdempotencyKey;
use key_authority_domain::id::{AccountId, Revision};
use key_authority_domain::text::DISPLAY_NAME;
use key_authority_proto::v1;

use super::policy::PolicyChange;
use crate::wire::check::Check;
use crate::wire::idempotency_key::idempotency_key;
use crate::wire::mask::Mask;
use crate::wire::revision;
use crate::wire::violations::REQUIRED;
use crate::wire::violations::Violations;

/// The paths that an update mask may name.
pub(super) const PATHS: [&str; 16] = [
    "display_name",
    "policy",
    "policy.token_prefix",
    "policy.display_name_pattern",
    "policy.max_keys",
    "policy.counted_states",
    "policy.lifetimes",
    "policy.default_lifetime",
    "policy.may_never_expire",
    "policy.project_rule",
    "policy.recoverable",
    "policy.recently_used_window",
    "policy.max_overlap",
    "policy.caller_digests",
    "policy.holder_may_revoke",
    "policy.holder_may_renew",
];

/// An update of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountUpdate {
    /// The account.
    pub id: AccountId,
    /// The change.
    pub change: AccountChange,
    /// The revision that the account must have; `None` to skip the check.
    pub etag: Option<Revision>,
    /// The idempotency key of the request.
    pub request: Option<IdempotencyKey>,
}

/// The change of an account. Changed fields of the policy are combined with the others, so only
/// [`AccountChange::apply`] can validate the policy as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct AccountChange {
    /// The new display name; `None` leaves it unchanged.
    pub display_name: Option<String>,
    /// The changes of the policy, field by field.
    pub policy: PolicyChange,
}

impl AccountChange {
    /// Applies the change. Times and revisions are not changed; an account whose change fails is unmodified.
    ///
    /// # Errors
    /// Fields that conflict with unchanged fields.
    pub(crate) fn apply(self, account: &mut Account) -> Result<(), Violations> {
        let mut check = Check::new();
        let policy =
            check.inside("account", |check| check.inside("policy", |check| self.policy.onto(check, &account.policy)));
        account.policy = check.finish(|| policy)?;
        if let Some(name) = self.display_name {
            account.display_name = name;
        }
        Ok(())
    }
}

/// Reads an update of an account. Fields that the mask does not name are ignored, and may have any value.
///
/// # Errors
/// The violations of the request.
pub(crate) fn account_change(request: &v1::UpdateAccountRequest) -> Result<AccountUpdate, Violations> {
    let mut check = Check::new();
    let mask = Mask::read(&mut check, request.update_mask.as_ref(), &PATHS);
    let read = present(&mut check, request.account.as_ref(), |check, account| {
        let id = check.required("id", &account.id, AccountId::new);
        let is_name_meant = mask.names("display_name", !account.display_name.is_empty());
        let display_name = is_name_meant.then(|| check.text("display_name", &account.display_name, DISPLAY_NAME));
        let given = account.policy.clone().unwrap_or_default();
        let is_whole = mask.names("policy", account.policy.is_some());
        let policy = check.inside("policy", |check| {
            // Without a mask, a policy is replaced as a whole, so no single field is named.
            PolicyChange::read(check, &given, |path| is_whole || mask.names(path, false))
        });
        Some((id?, AccountChange { display_name, policy }))
    });
    let etag = revision::from_etag(&request.etag);
    let request = idempotency_key(&mut check, request);
    check.finish(|| {
        let (id, change) = read?;
        Some(AccountUpdate { id, change, etag, request })
    })
}

pub(super) fn present<T>(
    check: &mut Check,
    account: Option<&v1::Account>,
    read: impl FnOnce(&mut Check, &v1::Account) -> Option<T>,
) -> Option<T> {
    if account.is_none() {
        check.violation("account", REQUIRED);
    }
    check.inside("account", |check| read(check, account?))
}
