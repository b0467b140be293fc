//! The portal session to create.

use std::collections::BTreeSet;
use std::time::Duration;

use key_authority_domain::id::{AccountId, Subject};
use key_authority_domain::portal::PortalAction;
use key_authority_domain::text::ValidationError;
use key_authority_proto::v1;

use super::check::Check;
use super::time;
use super::violations::Violations;

/// The lifetime of a session whose creator sets none.
const LIFETIME_DEFAULT: Duration = Duration::from_hours(1);
/// The longest lifetime of a session.
const LIFETIME_MAX: Duration = Duration::from_hours(12);

/// The portal session to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortalSpec {
    /// The account whose keys the user manages.
    pub account: AccountId,
    /// The user.
    pub subject: Subject,
    /// What the session may do, beside reading.
    pub may: BTreeSet<PortalAction>,
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
    let lifetime = request.lifetime.as_ref().map(|value| check.field("lifetime", lifetime(value)));
    let lifetime = lifetime.unwrap_or(Some(LIFETIME_DEFAULT));
    check.finish(|| Some(PortalSpec { account: account?, subject: subject?, may, lifetime: lifetime? }))
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
    fn every_wrong_field_is_named_with_its_rule() {
        let request = v1::CreatePortalSessionRequest {
            account: "a b".into(),
            subject: "two\nlines".into(),
            may: vec![1, 0, 8],
            lifetime: seconds(43_201),
        };
        let found = create_portal_session(&request).unwrap_err();
        let fields: Vec<_> = found.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["account", "subject", "may[1]", "may[2]", "lifetime"]);
        assert_eq!(found.iter().next_back().unwrap().rule, "must be 1 second to 12 hours");
        for lifetime in [0, -1, i64::MAX] {
            let request = v1::CreatePortalSessionRequest { lifetime: seconds(lifetime), ..self::request() };
            assert!(create_portal_session(&request).is_err(), "{lifetime}");
        }
        assert_eq!(create_portal_session(&v1::CreatePortalSessionRequest::default()).unwrap_err().iter().count(), 2);
    }
}
