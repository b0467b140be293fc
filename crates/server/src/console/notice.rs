//! Notices: what a change did, as the next page says it once.
//!
//! A notice is in a sealed cookie of one minute, so that nobody can make a link that says something. It is bound to the
//! session whose change it describes: a cookie that somebody moves to another browser shows nothing there.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use key_authority_domain::seal::SealContext;
use key_authority_domain::secret::Keyring;
use key_authority_domain::time::Timestamp;
use key_authority_proto::v1::{Propagation, PropagationState};
use serde::{Deserialize, Serialize};

use super::arrival::Arrival;
use super::failure::Failure;
use super::session::{Session, cookies, set_cookie};
use super::show;
use crate::entropy::{self, EntropyError};

const NAME: &str = "key-authority-notice";
const SEALED: SealContext<'static> = SealContext::Console { purpose: "notice" };
const AGE: Duration = Duration::from_mins(1);

/// What a change did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Notice {
    pub(super) text: String,
    /// The revision that is not confirmed by every replica yet.
    pub(super) pending: Option<u64>,
}

/// A notice as it is sealed.
#[derive(Serialize, Deserialize)]
struct Sealed {
    /// The session whose change it describes.
    session: [u8; 16],
    /// The time after which it is not shown, in microseconds.
    end: i64,
    notice: Notice,
}

impl Notice {
    /// A notice with nothing to wait for.
    pub(super) fn plain(text: &str) -> Self {
        Self { text: text.to_owned(), pending: None }
    }

    /// The notice of a change that is committed, but not confirmed; `None` for any other failure.
    pub(super) fn pending(what: &str, failure: &Failure) -> Option<Self> {
        let revision = failure.pending_revision()?;
        let from = failure.metadata("safe_after").map(show::exact_of_text).unwrap_or_default();
        let text = format!(
            "{what} The change is committed as revision {}, but one or more replicas have not confirmed it yet. From \
             {from} on, no replica answers without it.",
            show::count(revision)
        );
        Some(Self { text, pending: Some(revision) })
    }

    /// Returns the header that keeps the notice for the next page.
    pub(super) fn cookie(
        &self,
        keyring: &Keyring,
        session: &Session,
        now: Timestamp,
        is_secure: bool,
    ) -> Result<HeaderValue, EntropyError> {
        let (session, end, notice) = (session.id(), now.after(AGE).micros(), self.clone());
        let content = serde_json::to_vec(&Sealed { session, end, notice }).unwrap_or_default();
        let sealed = BASE64_URL_SAFE_NO_PAD.encode(keyring.seal(SEALED, &content, entropy::bytes()?));
        Ok(set_cookie(NAME, &sealed, is_secure, AGE))
    }

    /// Opens the notice of a request in this session.
    pub(super) fn open(arrival: &Arrival, session: &Session, headers: &HeaderMap) -> Option<Self> {
        cookies(headers, NAME).find_map(|sealed| {
            let sealed = BASE64_URL_SAFE_NO_PAD.decode(sealed).ok()?;
            let opened = arrival.shared.keyring.open(SEALED, &sealed).ok()?;
            let Sealed { session: of, end, notice } = serde_json::from_slice(&opened).ok()?;
            (of == session.id() && !arrival.now.is_past(Some(Timestamp::from_micros(end)))).then_some(notice)
        })
    }

    /// Returns the header that removes the notice.
    pub(super) fn removal(is_secure: bool) -> HeaderValue {
        set_cookie(NAME, "", is_secure, Duration::ZERO)
    }
}

/// Returns the line about the enforcement of a change.
pub(super) fn enforced(propagation: &Propagation) -> String {
    let waited = show::wait(propagation.waited.as_ref());
    let replicas = match propagation.replicas {
        1 => "1 of 1 replica".to_owned(),
        all => format!("{} of {} replicas", show::count(all), show::count(all)),
    };
    match propagation.state() {
        PropagationState::Lapsed => format!(
            "Enforced by every replica that answers, after {waited}: at least one did not confirm, and was waited out \
             until its lease had ended."
        ),
        _ => format!("Enforced by {replicas} after {waited}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_many_replicas_enforce_a_change_and_when() {
        let waited = prost_types::Duration { seconds: 0, nanos: 6_400_000 };
        let confirmed = Propagation { revision: 7, state: 1, replicas: 3, waited: Some(waited) };
        assert_eq!(enforced(&confirmed), "Enforced by 3 of 3 replicas after 6 ms.");
        let alone = Propagation { replicas: 1, ..confirmed };
        assert_eq!(enforced(&alone), "Enforced by 1 of 1 replica after 6 ms.");
        let seconds = prost_types::Duration { seconds: 10, nanos: 0 };
        let lapsed = Propagation { state: 2, waited: Some(seconds), ..confirmed };
        assert!(enforced(&lapsed).contains("after 10 s: at least one did not confirm"));
    }
}
