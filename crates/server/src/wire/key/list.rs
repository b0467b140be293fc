//! Listings of keys.

use key_authority_domain::access::PROJECT_LEN_MAX;
use key_authority_domain::id::{AccountId, Actor};
use key_authority_domain::key::{KeyState, Labels};
use key_authority_domain::text::{DISPLAY_NAME, TextRule, ValidationError};
use key_authority_domain::time::Timestamp;
use key_authority_proto::v1;
use key_authority_storage::key_order::{KeyOrder, KeyRank};

use crate::wire::access::labels;
use crate::wire::check::Check;
use crate::wire::check::is_longer;
use crate::wire::page::{FILTER_ITEMS_MAX, page_size};
use crate::wire::time::timestamp;
use crate::wire::violations::Violations;

/// The rule of `query`: that of a display name.
const QUERY: TextRule = DISPLAY_NAME;

/// The filter of a listing of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyFilter {
    /// The account; `None` for all accounts that the caller may act on.
    pub account: Option<AccountId>,
    /// The states; empty for all.
    pub states: Vec<KeyState>,
    /// A project that the keys cover. A text that is no valid project is covered by keys that cover all projects.
    pub project: Option<String>,
    /// A text in the names, IDs or hints of the keys.
    pub text: Option<String>,
    /// The labels that the keys have.
    pub labels: Labels,
    /// The caller that created the keys.
    pub created_by: Option<Actor>,
    /// The keys expire before this time.
    pub expires_before: Option<Timestamp>,
    /// The keys were created before this time and not used since.
    pub unused_since: Option<Timestamp>,
    /// The order of the keys.
    pub order: KeyOrder,
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
    let project = project(&mut check, &request.project);
    let text = check.text("query", &request.query, QUERY);
    let text = (!text.is_empty()).then_some(text);
    let labels = labels(&mut check, &request.labels);
    let created_by = check.optional("created_by", &request.created_by, Actor::new);
    let expires_before = time(&mut check, "expire_time_before", request.expire_time_before.as_ref());
    let unused_since = time(&mut check, "unused_since", request.unused_since.as_ref());
    let order = check.field("order_by", order(&request.order_by));
    let page_size = check.field("page_size", page_size(request.page_size));
    check.finish(|| {
        Some(KeyFilter {
            account,
            states,
            project,
            text,
            labels,
            created_by,
            expires_before,
            unused_since,
            order: order?,
            page_size: page_size?,
        })
    })
}

/// Reads the project that keys cover; `None` if it is empty.
fn project(check: &mut Check, text: &str) -> Option<String> {
    if is_longer(text, PROJECT_LEN_MAX) {
        check.violation("project", format!("must be at most {PROJECT_LEN_MAX} characters"));
    }
    (!text.is_empty()).then(|| text.to_owned())
}

fn time(check: &mut Check, field: &str, value: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    value.and_then(|value| check.field(field, timestamp(value)))
}

/// Reads an order: a field, and ` desc` for the descending order.
fn order(text: &str) -> Result<KeyOrder, ValidationError> {
    if text.is_empty() {
        return Ok(KeyOrder::NEWEST);
    }
    let (field, is_descending) = text.strip_suffix(" desc").map_or((text, false), |field| (field, true));
    let rank = match field {
        "create_time" => KeyRank::Created,
        "last_used_time" => KeyRank::LastUsed,
        "expire_time" => KeyRank::Expires,
        "display_name" => KeyRank::DisplayName,
        _ => {
            return Err(ValidationError::new(
                "must be create_time, last_used_time, expire_time or display_name, with ` desc` for the descending order",
            ));
        }
    };
    Ok(KeyOrder { rank, is_descending })
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
