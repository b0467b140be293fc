//! The decision about one request.

use std::net::IpAddr;

use key_authority_domain::verdict::{Question, Verdict};
use key_authority_replica::index::{KeyRecord, SecretMissing};

use super::credential::{self, Presented};
use super::denial::Denial;
use super::headers::Headers;
use super::route::Route;
use crate::auth::permit::Permit;
use crate::verify::Verifier;
use crate::wire::violations::Violations;

/// Why a request may not pass.
pub(crate) enum NotAllowed {
    /// It is denied.
    Denied(Denial),
    /// This replica cannot decide, which is no denial.
    Undecided(SecretMissing),
}

impl From<Denial> for NotAllowed {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<Violations> for NotAllowed {
    fn from(violations: Violations) -> Self {
        Self::Denied(violations.into())
    }
}

/// Decides about a request with these `headers` and `paths`, from `client_ip`. `allow` makes the answer to one that may
/// pass.
///
/// # Errors
/// [`NotAllowed`].
pub(crate) fn decide<T>(
    (verifier, permit): (&Verifier, &Permit),
    route: &Route<'_>,
    headers: &Headers<'_>,
    paths: &[&[u8]],
    client_ip: Option<IpAddr>,
    allow: impl FnOnce(&KeyRecord, &Presented<'_>) -> T,
) -> Result<T, NotAllowed> {
    let question = route.question()?;
    let presented = credential::find(&route.places, headers, paths).map_err(Denial::from)?.ok_or(Denial::NoToken)?;
    let question = Question { key_id: presented.credential.key_id.as_deref(), client_ip, ..question };
    let index = verifier.read();
    let decision = verifier.decide(&index, permit, &presented.credential.token, &question);
    let decision = decision.map_err(NotAllowed::Undecided)?;
    verifier.count(permit, &decision);
    match decision.key.map(AsRef::as_ref) {
        Some(record) if decision.verdict == Verdict::Valid => Ok(allow(record, &presented)),
        record => Err(Denial::of(decision.verdict, record, question.scopes).into()),
    }
}
