//! Requests about accounts. Changing and showing one have files of their own.

use key_authority_domain::account::{Account, KeyPolicy};
use key_authority_domain::audit::IdempotencyKey;
use key_authority_domain::id::{AccountId, Revision};
use key_authority_domain::text::DISPLAY_NAME;
use key_authority_domain::time::Timestamp;
use key_authority_proto::v1;

use super::check::Check;
use super::mark::mark;
use super::violations::Violations;

mod change;
mod policy;
mod shown;

pub(crate) use change::account_change;
use change::present;
pub(crate) use policy::PolicyChange;
pub(crate) use shown::account_to_proto;

/// What a new account shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountSpec {
    /// Its name, for good. That `system` is taken is not checked here.
    pub id: AccountId,
    /// A label for people.
    pub display_name: String,
    /// What its keys look like and may be.
    pub policy: KeyPolicy,
    /// By what the call is known when it is repeated.
    pub request: Option<IdempotencyKey>,
}

impl AccountSpec {
    /// The account, made at `now` by `revision`.
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

/// A call that names an account and says no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountCall {
    /// Which account.
    pub account: AccountId,
    /// By what the call is known when it is repeated.
    pub request: Option<IdempotencyKey>,
}

/// Reads the account to create.
///
/// # Errors
/// What is wrong with the request.
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
    let request = mark(&mut check, request);
    check.finish(|| {
        let (id, display_name, policy) = read?;
        Some(AccountSpec { id, display_name, policy, request })
    })
}

/// Reads which account to return.
///
/// # Errors
/// What is wrong with the request.
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
        /// What is wrong with the request.
        pub(crate) fn $name(request: &v1::$request) -> Result<AccountCall, Violations> {
            let mut check = Check::new();
            let account = check.required("account", &request.account, AccountId::new);
            let request = mark(&mut check, request);
            check.finish(|| Some(AccountCall { account: account?, request }))
        }
    )*};
}

calls! {
    /// Reads which account to suspend.
    suspend_account(SuspendAccountRequest);
    /// Reads which account to resume.
    resume_account(ResumeAccountRequest);
    /// Reads which account to delete.
    delete_account(DeleteAccountRequest);
}

#[cfg(test)]
mod tests;
