//! Revisions and the etags derived from them.

use key_authority_domain::id::Revision;
use key_authority_proto::v1;

use super::violations::Violations;

/// Represents an etag that the authority never issued. No state has this revision, so comparing it always fails.
const NO_STATE: Revision = Revision(-1);

/// Converts a revision to its number.
#[must_use]
pub(crate) fn number(revision: Revision) -> u64 {
    u64::try_from(revision.0).unwrap_or_default()
}

/// Returns the etag of a key or account that `revision` changed last.
#[must_use]
pub(crate) fn etag(revision: Revision) -> String {
    revision.to_string()
}

/// Returns the revision that an etag requires; `None` without an etag.
///
/// A text that is no etag of the authority belongs to no state. It counts as the etag of another state, for which the
/// contract says ABORTED, and not as a malformed field.
#[must_use]
pub(crate) fn from_etag(text: &str) -> Option<Revision> {
    if text.is_empty() {
        return None;
    }
    let revision = text.parse().map_or(NO_STATE, Revision);
    Some(if etag(revision) == text { revision } else { NO_STATE })
}

/// Reads the revision to wait for. Whether it has been committed is checked elsewhere.
///
/// # Errors
/// When the number cannot be a revision.
pub(crate) fn awaited(request: v1::AwaitRevisionRequest) -> Result<Revision, Violations> {
    match i64::try_from(request.revision) {
        Ok(number @ 1..) => Ok(Revision(number)),
        _ => Err(Violations::one("revision", AWAITED_RULE)),
    }
}

/// The rule of the revision to wait for, also for one beyond the latest.
pub(crate) const AWAITED_RULE: &str = "must be from 1 to the latest committed revision";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_reads_back_and_no_other_text_does() {
        for revision in [Revision(0), Revision(1), Revision(i64::MAX)] {
            assert_eq!(from_etag(&etag(revision)), Some(revision));
        }
        assert_eq!(from_etag(""), None);
        for foreign in ["01", "+1", " 1", "1 ", "W/1", "\"1\"", "9223372036854775808", "-0", "é"] {
            assert_eq!(from_etag(foreign), Some(NO_STATE), "{foreign}");
        }
    }

    #[test]
    fn revisions_start_at_one() {
        let wait = |revision| awaited(v1::AwaitRevisionRequest { revision });
        assert_eq!(wait(1), Ok(Revision(1)));
        assert_eq!(wait(i64::MAX as u64), Ok(Revision(i64::MAX)));
        assert!(wait(0).is_err() && wait(i64::MAX as u64 + 1).is_err() && wait(u64::MAX).is_err());
        assert_eq!(number(Revision(-1)), 0);
    }
}
