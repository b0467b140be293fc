//! Accounts: to create, to change, to name, to show.

use key_authority_domain::account::{Account, KeyPolicy};
use key_authority_domain::audit::RequestMark;
use key_authority_domain::id::{AccountId, Revision};
use key_authority_domain::text::DISPLAY_NAME;
use key_authority_domain::time::Timestamp;
use key_authority_proto::v1;

use super::mark::mark;
use super::mask::Mask;
use super::revision;
use super::time::timestamp_to_proto;
use super::violations::{Check, PRESENT, Violations};

mod policy;

pub use policy::{PolicyChange, policy_to_proto};

/// What a new account shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSpec {
    /// Its name, for good. That `system` is taken is not checked here.
    pub id: AccountId,
    /// A label for people.
    pub display_name: String,
    /// What its keys look like and may be.
    pub policy: KeyPolicy,
    /// By what the call is known when it is repeated.
    pub request: Option<RequestMark>,
}

impl AccountSpec {
    /// The account, made at `now` by `revision`.
    #[must_use]
    pub fn into_account(self, now: Timestamp, revision: Revision) -> Account {
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

/// A change of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountUpdate {
    /// Of which account.
    pub id: AccountId,
    /// What shall change.
    pub change: AccountChange,
    /// The revision that the account must be at; None when that is not to be checked.
    pub etag: Option<Revision>,
    /// By what the call is known when it is repeated.
    pub request: Option<RequestMark>,
}

/// What shall change about an account. Fields of the policy combine with those that stay, so that only
/// [`AccountChange::apply`] can tell whether the policy as a whole can be followed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountChange {
    /// The label; None leaves it.
    pub display_name: Option<String>,
    /// The policy, field by field.
    pub policy: PolicyChange,
}

impl AccountChange {
    /// Makes the change. Times and revisions are not touched; an account whose change fails stays as it was.
    ///
    /// # Errors
    /// Fields that do not go together with those that stay.
    pub fn apply(self, account: &mut Account) -> Result<(), Violations> {
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

/// A call that names an account and says no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountCall {
    /// Which account.
    pub account: AccountId,
    /// By what the call is known when it is repeated.
    pub request: Option<RequestMark>,
}

/// Reads the account to create.
///
/// # Errors
/// What is wrong with the request.
pub fn new_account(request: &v1::CreateAccountRequest) -> Result<AccountSpec, Violations> {
    let mut check = Check::new();
    let read = present(&mut check, request.account.as_ref(), |check, account| {
        let id = check.field("id", AccountId::new(&account.id));
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

/// Reads a change of an account. Fields that the mask does not name are not looked at, and may hold anything.
///
/// # Errors
/// What is wrong with the request.
pub fn account_change(request: &v1::UpdateAccountRequest) -> Result<AccountUpdate, Violations> {
    let mut check = Check::new();
    let mask = Mask::read(&mut check, request.update_mask.as_ref(), &PATHS);
    let read = present(&mut check, request.account.as_ref(), |check, account| {
        let id = check.field("id", AccountId::new(&account.id));
        let is_name_meant = mask.names("display_name", !account.display_name.is_empty());
        let display_name = is_name_meant.then(|| check.text("display_name", &account.display_name, DISPLAY_NAME));
        let given = account.policy.clone().unwrap_or_default();
        let is_whole = mask.names("policy", account.policy.is_some());
        let policy = check.inside("policy", |check| {
            // Without a mask a policy is carried as a whole, so no single field of it is.
            PolicyChange::read(check, &given, |path| is_whole || mask.names(path, false))
        });
        Some((id?, AccountChange { display_name, policy }))
    });
    let etag = revision::from_etag(&request.etag);
    let request = mark(&mut check, request);
    check.finish(|| {
        let (id, change) = read?;
        Some(AccountUpdate { id, change, etag, request })
    })
}

/// The paths that an update mask may name.
const PATHS: [&str; 13] = [
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
];

fn present<T>(
    check: &mut Check,
    account: Option<&v1::Account>,
    read: impl FnOnce(&mut Check, &v1::Account) -> Option<T>,
) -> Option<T> {
    if account.is_none() {
        check.violation("account", PRESENT);
    }
    check.inside("account", |check| read(check, account?))
}

/// Reads which account to return.
///
/// # Errors
/// What is wrong with the request.
pub fn get_account(request: &v1::GetAccountRequest) -> Result<AccountId, Violations> {
    AccountId::new(&request.account).map_err(|rule| Violations::one("account", rule.as_str()))
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($request:ident);)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// What is wrong with the request.
        pub fn $name(request: &v1::$request) -> Result<AccountCall, Violations> {
            let mut check = Check::new();
            let account = check.field("account", AccountId::new(&request.account));
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

/// An account.
#[must_use]
pub fn account_to_proto(account: &Account) -> v1::Account {
    let state = if account.suspended { v1::AccountState::Suspended } else { v1::AccountState::Active };
    v1::Account {
        id: account.id.as_str().to_owned(),
        display_name: account.display_name.clone(),
        state: state as i32,
        policy: Some(policy_to_proto(&account.policy)),
        create_time: Some(timestamp_to_proto(account.create_time)),
        update_time: Some(timestamp_to_proto(account.update_time)),
        etag: revision::etag(account.revision),
    }
}

#[cfg(test)]
mod tests;
