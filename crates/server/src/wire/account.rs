//! Requests on accounts. Updates and the conversion to protobuf have their own files.

use key_authority_domain::account::{Account, KeyPolicy};
use key_authority_domain::audit::IdempotencyKey;
use key_authority_domain::id::{AccountId, Revision};
use key_authority_domain::text::DISPLAY_NAME;
use key_authority_domain::time::Timestamp;
use key_authority_proto::v1;

use super::check::Check;
use super::idempotency_key::idempotency_key;
use super::violations::Violations;

mod change;
mod policy;
mod shown;

pub(crate) use change::account_change;
use change::present;
pub(crate) use policy::PolicyChange;
pub(crate) use shown::account_to_proto;

/// The account to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountSpec {
    /// The permanent ID. That `system` is taken is checked elsewhere.
    pub id: AccountId,
    /// The display name.
    pub display_name: String,
    /// The policy for the account's keys.
    pub policy: KeyPolicy,
    /// The idempotency key of the request.
    pub request: Option<IdempotencyKey>,
}

impl AccountSpec {
    /// Returns the account as created at `now` by `revision`.
    #[must_use]
    pub(crate) fn into_account(self, now: Timestamp, revision: Revision) -> Account {
        Account {
            id: self.id,
            display_name: self.display_name,
            suspended: false,
            policy: self.policy,
            create_time: now,
            update_time: now,
            create_revision: revision,
            revision,
        }
    }
}

/// A request that only names an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountCall {
    /// The account.
    pub account: AccountId,
    /// The idempotency key of the request.
    pub request: Option<IdempotencyKey>,
}

/// Reads the account to create.
///
/// # Errors
/// The violations of the request.
pub(crate) fn new_account(request: &v1::CreateAccountRequest) -> Result<AccountSpec, Violations> {
    let mut check = Check::new();
    let read = present(&mut check, request.account.as_ref(), |check, account| {
        let id = check.required("id", &account.id, AccountId::new);
        let display_name = check.text("display_name", &account.display_name, DISPLAY_NAME);
        let given = account.policy.clone().unwrap_or_default();
        let policy = check
            .inside("policy", |check| PolicyChange::read(check, &given, |_| true).onto(check, &KeyPolicy::default()));
        Some((id?, display_name, policy?))
    });
    let request = idempotency_key(&mut check, request);
    check.finish(|| {
        let (id, display_name, policy) = read?;
        Some(AccountSpec { id, display_name, policy, request })
    })
}

/// Reads the account to return.
///
/// # Errors
/// The violations of the request.
pub(crate) fn get_account(request: &v1::GetAccountRequest) -> Result<AccountId, Violations> {
    let mut check = Check::new();
    let account = check.required("account", &request.account, AccountId::new);
    check.finish(|| account)
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($request:ident);)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// The violations of the request.
        pub(crate) fn $name(request: &v1::$request) -> Result<AccountCall, Violations> {
            let mut check = Check::new();
            let account = check.required("account", &request.account, AccountId::new);
            let request = idempotency_key(&mut check, request);
            check.finish(|| Some(AccountCall { account: account?, request }))
        }
    )*};
}

calls! {
    /// Reads the account to suspend.
    suspend_account(SuspendAccountRequest);
    /// Reads the account to resume.
    resume_account(ResumeAccountRequest);
    /// Reads the account to delete.
    delete_account(DeleteAccountRequest);
}

#[cfg(test)]
mod tests;
