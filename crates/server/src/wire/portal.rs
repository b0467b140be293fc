//! The portal session to create.

use std::collections::BTreeSet;
use std::time::Duration;

use key_authority_domain::access::Scope;
use key_authority_domain::id::{AccountId, Subject};
use key_authority_domain::portal::PortalAction;
use key_authority_domain::text::ValidationError;
use key_authority_proto::v1;

use super::access::{self, Holder};
use super::check::Check;
use super::time;
use super::violations::Violations;

/// The lifetime of a session whose creator sets none.
const LIFETIME_DEFAULT: Duration = Duration::from_hours(1);
/// The longest lifetime of a session.
const LIFETIME_MAX: Duration = Duration::from_hours(12);
/// How many bytes the allowed scopes have at most together, as they are sealed. Browsers keep cookies of 4096 bytes,
/// and the other fields of a session can have 2,800.
pub(crate) const ALLOWED_SCOPES_BYTES_MAX: usize = 900;

/// The portal session to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortalSpec {
    /// The account whose keys the user manages.
    pub account: AccountId,
    /// The user.
    pub subject: Subject,
    /// What the session may do, beside reading.
    pub may: BTreeSet<PortalAction>,
    /// The scopes that the session may add to keys; `None`: any.
    pub allowed_scopes: Option<BTreeSet<Scope>>,
    /// How long the session lasts at most.
    pub lifetime: Duration,
}

/// Reads the portal session to create.
///
/// # Errors
/// The violations of the request.
pub(crate) fn create_portal_session(request: &v1::CreatePortalSessionRequest) -> Result<PortalSpec, Violations> {
    let mut check = Check::new();
    let account = check.required("account", &request.account, AccountId::new);
    let subject = check.required("subject", &request.subject, Subject::new);
    let mut may = BTreeSet::new();
    for (index, number) in request.may.iter().enumerate() {
        match PortalAction::from_number(*number) {
            Some(action) => _ = may.insert(action),
            None => check.violation(format_args!("may[{index}]"), "must be an action of a portal session"),
        }
    }
    let allowed_scopes = request.allowed_scopes.as_ref().map(|scopes| allowed_scopes(&mut check, scopes));
    let lifetime = request.lifetime.as_ref().map(|value| check.field("lifetime", lifetime(value)));
    let lifetime = lifetime.unwrap_or(Some(LIFETIME_DEFAULT));
    check.finish(|| Some(PortalSpec { account: account?, subject: subject?, may, allowed_scopes, lifetime: lifetime? }))
}

fn allowed_scopes(check: &mut Check, scopes: &v1::AllowedScopes) -> BTreeSet<Scope> {
    let only = access::scopes_in(check, "allowed_scopes.only", &scopes.only, Holder::Any);
    if only.iter().map(sealed_bytes).sum::<usize>() > ALLOWED_SCOPES_BYTES_MAX {
        let rule = format!("must have at most {ALLOWED_SCOPES_BYTES_MAX} bytes together");
        check.violation("allowed_scopes.only", rule);
    }
    only
}

/// Returns how many bytes a scope has in a list of JSON that is separated by spaces.
fn sealed_bytes(scope: &Scope) -> usize {
    let text = scope.as_str();
    text.len() + text.matches(['"', '\\']).count() + 1
}

fn lifetime(value: &prost_types::Duration) -> Result<Duration, ValidationError> {
    let lifetime = time::lifetime(value).ok().filter(|lifetime| *lifetime <= LIFETIME_MAX);
    lifetime.ok_or_else(|| ValidationError::new("must be 1 second to 12 hours"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> v1::CreatePortalSessionRequest {
        v1::CreatePortalSessionRequest { account: "acme".into(), subject: "ada".into(), ..Default::default() }
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the field of the request has it")]
    fn seconds(seconds: i64) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds, nanos: 0 })
    }

    #[test]
    fn a_session_lasts_an_hour_unless_the_caller_sets_a_lifetime() {
        let spec = create_portal_session(&request()).unwrap();
        assert_eq!((spec.lifetime, spec.may.len()), (Duration::from_hours(1), 0));
        let may = vec![7, 1, 7];
        let spec =
            create_portal_session(&v1::CreatePortalSessionRequest { may, lifetime: seconds(43_200), ..request() });
        let spec = spec.unwrap();
        assert_eq!(spec.may, [PortalAction::Create, PortalAction::Reveal].into());
        assert_eq!(spec.lifetime, LIFETIME_MAX);
    }

    #[test]
    fn allowed_scopes_are_a_set_that_fits_into_a_cookie() {
        let allowed = |only: &[String]| {
            let allowed_scopes = Some(v1::AllowedScopes { only: only.to_vec() });
            let spec = create_portal_session(&v1::CreatePortalSessionRequest { allowed_scopes, ..request() });
            spec.map(|spec| spec.allowed_scopes.unwrap().len())
        };
        assert_eq!(create_portal_session(&request()).unwrap().allowed_scopes, None);
        assert_eq!(allowed(&[]).unwrap(), 0, "present and empty: no scope");
        assert_eq!(allowed(&["read".into(), "write".into(), "read".into()]).unwrap(), 2);
        let many: Vec<_> = (0..101).map(|number| format!("s{number}")).collect();
        assert_eq!(allowed(&many[..100]).unwrap(), 100);
        let rule = |only: &[String]| allowed(only).unwrap_err().iter().next().unwrap().rule.clone();
        assert_eq!(rule(&many), "must be at most 100 different ones");
        let scopes = |byte: &str| (10..19).map(|number| format!("{number}{}", byte.repeat(97))).collect::<Vec<_>>();
        assert_eq!(allowed(&scopes("x")).unwrap(), 9, "900 bytes");
        for byte in ["x", "\"", "\\", "ü"] {
            let longer = scopes(byte).into_iter().chain(["x".to_owned()]).collect::<Vec<_>>();
            assert_eq!(rule(&longer), "must have at most 900 bytes together", "{byte}");
        }
    }

    #[test]
    fn every_wrong_field_is_named_with_its_rule() {
        let request = v1::CreatePortalSessionRequest {
            account: "a b".into(),
            subject: "two\nlines".into(),
            may: vec![1, 0, 8],
            allowed_scopes: Some(v1::AllowedScopes { only: vec!["read".into(), "a b".into()] }),
            lifetime: seconds(43_201),
        };
        let found = create_portal_session(&request).unwrap_err();
        let fields: Vec<_> = found.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["account", "subject", "may[1]", "may[2]", "allowed_scopes.only[1]", "lifetime"]);
        assert_eq!(found.iter().next_back().unwrap().rule, "must be 1 second to 12 hours");
        for lifetime in [0, -1, i64::MAX] {
            let request = v1::CreatePortalSessionRequest { lifetime: seconds(lifetime), ..self::request() };
            assert!(create_portal_session(&request).is_err(), "{lifetime}");
        }
        assert_eq!(create_portal_session(&v1::CreatePortalSessionRequest::default()).unwrap_err().iter().count(), 2);
    }
}
