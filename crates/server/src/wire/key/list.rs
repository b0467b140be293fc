//! Listings of keys.

use key_authority_domain::access::PROJECT_LEN_MAX;
use key_authority_domain::id::AccountId;
use key_authority_domain::key::KeyState;
use key_authority_proto::v1;

use crate::wire::check::Check;
use crate::wire::check::is_longer;
use crate::wire::page::{FILTER_ITEMS_MAX, page_size};
use crate::wire::violations::Violations;

/// The filter of a listing of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyFilter {
    /// The account; `None` for all accounts that the caller may act on.
    pub account: Option<AccountId>,
    /// The states; empty for all.
    pub states: Vec<KeyState>,
    /// A project that the keys cover. A text that is no valid project is covered by keys that cover all projects.
    pub project: Option<String>,
    /// The maximum number of keys.
    pub page_size: u32,
}

/// Reads the filter of a listing of keys. [`crate::wire::page::open_page`] opens the page token.
///
/// # Errors
/// The violations of the request.
pub(crate) fn list_keys(request: &v1::ListKeysRequest) -> Result<KeyFilter, Violations> {
    let mut check = Check::new();
    let account = check.optional("account", &request.account, AccountId::new);
    let states = states(&mut check, &request.states);
    if is_longer(&request.project, PROJECT_LEN_MAX) {
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
                check.violation(format_args!("states[{index}]"), "must be a state of a key");
            }
        }
    }
    states.sort_unstable();
    states.dedup();
    states
}
