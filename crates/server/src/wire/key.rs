//! Requests about keys. Creating, changing and showing one have files of their own.

use std::time::Duration;

use key_authority_domain::account::ExpiryChoice;
use key_authority_domain::audit::RequestMark;
use key_authority_domain::id::{AccountId, KeyId};
use key_authority_domain::key::KeyState;
use key_authority_domain::text::{self, TextRule};
use key_authority_proto::v1;
use key_authority_proto::v1::{create_key_request, renew_key_request};

use super::mark::mark;
use super::page::{FILTER_ITEMS_MAX, page_size};
use super::violations::{Check, Violations};
use super::{time, verify};

mod change;
mod create;
mod shown;

pub use change::{KeyUpdate, check_caller_change, key_change};
pub use create::{KeySpec, new_key};
pub use shown::{key_to_proto, state_to_proto};

const PROJECT_LEN_MAX: usize = 256;
const REASON: TextRule = text::REASON.multiline();

/// A call that names a key and says no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCall {
    /// Which key.
    pub key_id: KeyId,
    /// By what the call is known when it is repeated.
    pub request: Option<RequestMark>,
}

/// A key to revoke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokeSpec {
    /// Which key.
    pub key_id: KeyId,
    /// Why; may be empty.
    pub reason: String,
    /// By what the call is known when it is repeated.
    pub request: Option<RequestMark>,
}

/// A key to renew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewSpec {
    /// Which key.
    pub key_id: KeyId,
    /// How long the earlier tokens go on.
    pub overlap: Duration,
    /// Until when the key shall live now.
    pub expiry: ExpiryChoice,
    /// By what the call is known when it is repeated.
    pub request: Option<RequestMark>,
}

/// A key to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteSpec {
    /// Which key.
    pub key_id: KeyId,
    /// Whether to delete it although it was used lately.
    pub allow_recently_used: bool,
    /// By what the call is known when it is repeated.
    pub request: Option<RequestMark>,
}

/// Which keys to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFilter {
    /// Of which account; None means of each that the caller may act on.
    pub account: Option<AccountId>,
    /// In which states; empty means in any.
    pub states: Vec<KeyState>,
    /// Covering which project. A text that no project can be called is covered by keys that cover all.
    pub project: Option<String>,
    /// How many at most.
    pub page_size: u32,
}

/// Reads which key to return.
///
/// # Errors
/// What is wrong with the request.
pub fn get_key(request: &v1::GetKeyRequest) -> Result<KeyId, Violations> {
    key_id(&request.key_id)
}

/// Reads whose token to show.
///
/// # Errors
/// What is wrong with the request.
pub fn reveal_token(request: &v1::RevealTokenRequest) -> Result<KeyId, Violations> {
    key_id(&request.key_id)
}

fn key_id(text: &str) -> Result<KeyId, Violations> {
    KeyId::new(text).map_err(|rule| Violations::one("key_id", rule.as_str()))
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($request:ident);)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// What is wrong with the request.
        pub fn $name(request: &v1::$request) -> Result<KeyCall, Violations> {
            let mut check = Check::new();
            let key_id = check.field("key_id", KeyId::new(&request.key_id));
            let request = mark(&mut check, request);
            check.finish(|| Some(KeyCall { key_id: key_id?, request }))
        }
    )*};
}

calls! {
    /// Reads which key to disable.
    disable_key(DisableKeyRequest);
    /// Reads which key to enable.
    enable_key(EnableKeyRequest);
}

/// Reads which key to revoke, and why.
///
/// # Errors
/// What is wrong with the request.
pub fn revoke_key(request: &v1::RevokeKeyRequest) -> Result<RevokeSpec, Violations> {
    let mut check = Check::new();
    let key_id = check.field("key_id", KeyId::new(&request.key_id));
    let reason = check.text("reason", &request.reason, REASON);
    let request = mark(&mut check, request);
    check.finish(|| Some(RevokeSpec { key_id: key_id?, reason, request }))
}

/// Reads which key to renew, and how.
///
/// # Errors
/// What is wrong with the request.
pub fn renew_key(request: &v1::RenewKeyRequest) -> Result<RenewSpec, Violations> {
    let mut check = Check::new();
    let key_id = check.field("key_id", KeyId::new(&request.key_id));
    let overlap = request.overlap.as_ref().and_then(|overlap| check.field("overlap", time::duration(overlap)));
    let expiry = expiry(&mut check, request.expiry.as_ref().map(Said::from));
    let request = mark(&mut check, request);
    check.finish(|| Some(RenewSpec { key_id: key_id?, overlap: overlap.unwrap_or_default(), expiry, request }))
}

/// Reads which key to delete.
///
/// # Errors
/// What is wrong with the request.
pub fn delete_key(request: &v1::DeleteKeyRequest) -> Result<DeleteSpec, Violations> {
    let mut check = Check::new();
    let key_id = check.field("key_id", KeyId::new(&request.key_id));
    let allow_recently_used = request.allow_recently_used;
    let request = mark(&mut check, request);
    check.finish(|| Some(DeleteSpec { key_id: key_id?, allow_recently_used, request }))
}

/// Reads which keys to list. The page token is opened by [`super::page::open_page`].
///
/// # Errors
/// What is wrong with the request.
pub fn list_keys(request: &v1::ListKeysRequest) -> Result<KeyFilter, Violations> {
    let mut check = Check::new();
    let account = check.optional("account", &request.account, AccountId::new);
    let states = states(&mut check, &request.states);
    if verify::is_longer(&request.project, PROJECT_LEN_MAX) {
        check.violation("project", format!("must be at most {PROJECT_LEN_MAX} characters"));
    }
    let project = if request.project.is_empty() { None } else { Some(request.project.clone()) };
    let page_size = check.field("page_size", page_size(request.page_size));
    check.finish(|| Some(KeyFilter { account, states, project, page_size: page_size? }))
}

fn states(check: &mut Check, numbers: &[i32]) -> Vec<KeyState> {
    if numbers.len() > FILTER_ITEMS_MAX {
        check.violation("states", format!("must be at most {FILTER_ITEMS_MAX}"));
        return Vec::new();
    }
    let mut states = Vec::new();
    for (index, number) in numbers.iter().enumerate() {
        match v1::KeyState::try_from(*number) {
            Ok(v1::KeyState::Active) => states.push(KeyState::Active),
            Ok(v1::KeyState::Disabled) => states.push(KeyState::Disabled),
            Ok(v1::KeyState::Revoked) => states.push(KeyState::Revoked),
            Ok(v1::KeyState::Expired) => states.push(KeyState::Expired),
            Ok(v1::KeyState::Unspecified) | Err(_) => {
                check.violation(format_args!("states[{index}]"), "must be a state that a key can be in");
            }
        }
    }
    states.sort_unstable();
    states.dedup();
    states
}

/// What the `oneof expiry` of a request says.
#[derive(Clone, Copy)]
enum Said<'a> {
    Lifetime(&'a prost_types::Duration),
    ExpireTime(&'a prost_types::Timestamp),
    NeverExpires(bool),
}

macro_rules! said {
    ($($request:ident)*) => {$(
        impl<'a> From<&'a $request::Expiry> for Said<'a> {
            fn from(expiry: &'a $request::Expiry) -> Self {
                match expiry {
                    $request::Expiry::Lifetime(lifetime) => Self::Lifetime(lifetime),
                    $request::Expiry::ExpireTime(end) => Self::ExpireTime(end),
                    $request::Expiry::NeverExpires(never) => Self::NeverExpires(*never),
                }
            }
        }
    )*};
}

said!(create_key_request renew_key_request);

fn expiry(check: &mut Check, said: Option<Said<'_>>) -> ExpiryChoice {
    let choice = match said {
        None | Some(Said::NeverExpires(false)) => None,
        Some(Said::NeverExpires(true)) => Some(ExpiryChoice::Never),
        Some(Said::Lifetime(lifetime)) => check.field("lifetime", time::lifetime(lifetime)).map(ExpiryChoice::Lifetime),
        Some(Said::ExpireTime(end)) => check.field("expire_time", time::timestamp(end)).map(ExpiryChoice::At),
    };
    choice.unwrap_or(ExpiryChoice::Unsaid)
}

#[cfg(test)]
mod tests;
