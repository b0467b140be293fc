//! Sessions: sealed cookies, which no replica has to remember.
//!
//! A cookie holds the digests of the caller's token, never the token, and only the authority can read it. Every replica
//! with the same authority secret accepts it. It ends after half an hour without a request, after twelve hours, or with
//! the key of its caller.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};
use key_authority_domain::seal::SealContext;
use key_authority_domain::secret::Keyring;
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::TokenDigest;
use serde::{Deserialize, Serialize};

use crate::auth::credential::Credential;
use crate::auth::portal::PortalGrant;
use crate::entropy::{self, EntropyError};

/// The first page. It redirects each visitor to the first page that the visitor may see.
pub(super) const HOME: &str = "/console/";
/// The time after which a session without requests ends.
const IDLE_MAX: Duration = Duration::from_mins(30);
/// The time after which every session ends.
pub(super) const AGE_MAX: Duration = Duration::from_hours(12);
/// How old the time of the last request may become before the cookie is written again.
const SEEN_STEP: Duration = Duration::from_mins(1);
/// The context of sealed sessions.
const SEALED: SealContext<'static> = SealContext::Console { purpose: "session" };
/// The maximum number of sessions that are remembered as ended.
const ENDED_MAX: usize = 10_000;
/// The cookie of somebody who is signed in.
pub(super) const SESSION_COOKIE: Cookie = Cookie { plain: "key-authority", secure: "__Host-key-authority" };
/// The cookie of the sign-in page. It is another one, since a page of another site can lead there, which must not end a
/// session.
pub(super) const SIGN_IN_COOKIE: Cookie =
    Cookie { plain: "key-authority-sign-in", secure: "__Host-key-authority-sign-in" };
/// The cookie of the page behind a link to a portal. Its form is sent by the browser that opened the page.
pub(super) const ENTRANCE_COOKIE: Cookie =
    Cookie { plain: "key-authority-enter", secure: "__Host-key-authority-enter" };

/// The names of a cookie without TLS and with it. The prefix of the latter binds it to this host, and to TLS.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cookie {
    plain: &'static str,
    secure: &'static str,
}

impl Cookie {
    const fn name(self, is_secure: bool) -> &'static str {
        if is_secure { self.secure } else { self.plain }
    }

    /// Returns the header that removes the cookie from the browser.
    pub(super) fn removal(self, is_secure: bool) -> HeaderValue {
        set_cookie(self.name(is_secure), "", is_secure, Duration::ZERO)
    }
}

/// A session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Session {
    id: [u8; 16],
    form: [u8; 32],
    begun: i64,
    seen: i64,
    who: Who,
}

/// Who signed in.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Who {
    /// Nobody yet: the session of the sign-in page.
    Nobody,
    /// The holder of the token with these digests, one for each version of the authority secret.
    Operator(Vec<[u8; 32]>),
    /// The user of a product.
    Portal(Portal),
}

/// The user of a product, and what its backend allows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Portal {
    pub(super) grant: PortalGrant,
    /// What the account was called when the session began.
    pub(super) account_name: String,
}

impl Session {
    /// Begins the session of somebody who has not signed in.
    pub(super) fn of_nobody(now: Timestamp) -> Result<Self, EntropyError> {
        Self::begin(now, Who::Nobody)
    }

    /// Begins the session of a caller.
    pub(super) fn of_operator(now: Timestamp, digests: &[TokenDigest]) -> Result<Self, EntropyError> {
        Self::begin(now, Who::Operator(digests.iter().map(|digest| digest.0).collect()))
    }

    /// Begins the session of a user of a product.
    pub(super) fn of_portal(now: Timestamp, grant: PortalGrant, account_name: &str) -> Result<Self, EntropyError> {
        Self::begin(now, Who::Portal(Portal { grant, account_name: account_name.to_owned() }))
    }

    fn begin(now: Timestamp, who: Who) -> Result<Self, EntropyError> {
        let now = now.micros();
        Ok(Self { id: entropy::bytes()?, form: entropy::bytes()?, begun: now, seen: now, who })
    }

    /// Returns the credential of the caller, at this address; `None` if nobody has signed in.
    pub(super) fn credential(&self, address: Option<IpAddr>) -> Option<Credential> {
        match &self.who {
            Who::Nobody => None,
            Who::Operator(digests) => {
                Some(Credential::of_session(digests.iter().copied().map(TokenDigest).collect(), address))
            }
            Who::Portal(portal) => Some(Credential::of_portal(Arc::new(portal.grant.clone()))),
        }
    }

    /// Returns the user of a product, if this is a portal session.
    pub(super) fn portal(&self) -> Option<&Portal> {
        if let Who::Portal(portal) = &self.who { Some(portal) } else { None }
    }

    /// Returns the random number that names the session.
    pub(super) const fn id(&self) -> [u8; 16] {
        self.id
    }

    /// Returns the ID that the session ends by. All sessions of one link end together: a browser can start it several
    /// times.
    fn ending_id(&self) -> [u8; 16] {
        self.portal().map_or(self.id, |portal| portal.grant.id)
    }

    /// Returns a digest of the form token, which only this browser has.
    pub(super) fn form_digest(&self) -> [u8; 32] {
        *blake3::hash(&self.form).as_bytes()
    }

    /// Returns the token that each form of the session contains.
    pub(super) fn form_token(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.form)
    }

    /// Whether a form contained the token. The comparison takes the same time for every wrong one.
    pub(super) fn is_form_token(&self, presented: &str) -> bool {
        let expected = blake3::hash(self.form_token().as_bytes());
        blake3::hash(presented.as_bytes()) == expected
    }

    /// Whether the session is over at this time.
    fn is_over(&self, now: Timestamp) -> bool {
        let begun = Timestamp::from_micros(self.begun);
        let seen = Timestamp::from_micros(self.seen);
        now.is_past(Some(begun.after(AGE_MAX)))
            || now.is_past(Some(seen.after(IDLE_MAX)))
            || now.is_past(self.portal().map(|portal| portal.grant.end))
    }

    /// Records a request at this time. Returns whether the cookie has to be written again.
    pub(super) fn touch(&mut self, now: Timestamp) -> bool {
        let is_due = now.since(Timestamp::from_micros(self.seen)) >= SEEN_STEP;
        if is_due {
            self.seen = now.micros();
        }
        is_due
    }

    /// Opens the session of a request by somebody who has signed in.
    pub(super) fn open(keyring: &Keyring, headers: &HeaderMap, is_secure: bool, now: Timestamp) -> Option<Self> {
        let session = Self::open_by(SESSION_COOKIE, keyring, headers, is_secure)?;
        (!session.is_of_nobody() && !session.is_over(now)).then_some(session)
    }

    /// Whether a request is of a portal session, even of one that is over.
    pub(super) fn is_of_portal(keyring: &Keyring, headers: &HeaderMap, is_secure: bool) -> bool {
        Self::open_by(SESSION_COOKIE, keyring, headers, is_secure).is_some_and(|session| session.portal().is_some())
    }

    /// Opens the session of a page that somebody sees who has not signed in.
    pub(super) fn open_of_nobody(
        cookie: Cookie,
        keyring: &Keyring,
        headers: &HeaderMap,
        is_secure: bool,
        now: Timestamp,
    ) -> Option<Self> {
        let session = Self::open_by(cookie, keyring, headers, is_secure)?;
        (session.is_of_nobody() && !session.is_over(now)).then_some(session)
    }

    fn is_of_nobody(&self) -> bool {
        matches!(self.who, Who::Nobody)
    }

    fn open_by(cookie: Cookie, keyring: &Keyring, headers: &HeaderMap, is_secure: bool) -> Option<Self> {
        // A neighbouring host or a page of clear text can add a cookie of the same name that does not open. It can also
        // add a session of nobody that it got from this server; under TLS, browsers prevent that (`__Host-`).
        cookies(headers, cookie.name(is_secure)).find_map(|sealed| {
            let sealed = BASE64_URL_SAFE_NO_PAD.decode(sealed).ok()?;
            let opened = keyring.open(SEALED, &sealed).ok()?;
            serde_json::from_slice(&opened).ok()
        })
    }

    /// Returns the header that stores the session in the browser.
    pub(super) fn cookie(&self, keyring: &Keyring, is_secure: bool) -> Result<HeaderValue, EntropyError> {
        let cookie = if self.is_of_nobody() { SIGN_IN_COOKIE } else { SESSION_COOKIE };
        Ok(set_cookie(cookie.name(is_secure), &self.sealed(keyring)?, is_secure, AGE_MAX))
    }

    /// Returns the header that stores the session of the page behind a link. Links lead there from other sites, and the
    /// page must find the cookie again then (`Lax`); a form of another site is sent without it.
    pub(super) fn entrance_cookie(&self, keyring: &Keyring, is_secure: bool) -> Result<HeaderValue, EntropyError> {
        Ok(cookie_header(ENTRANCE_COOKIE.name(is_secure), &self.sealed(keyring)?, is_secure, IDLE_MAX, "Lax"))
    }

    fn sealed(&self, keyring: &Keyring) -> Result<String, EntropyError> {
        let content = serde_json::to_vec(self).unwrap_or_default();
        Ok(BASE64_URL_SAFE_NO_PAD.encode(keyring.seal(SEALED, &content, entropy::bytes()?)))
    }
}

/// Whether a response stores or removes a session of somebody who is signed in.
pub(super) fn is_set_by(headers: &HeaderMap, is_secure: bool) -> bool {
    let name = SESSION_COOKIE.name(is_secure).as_bytes();
    let is_of_session =
        |value: &HeaderValue| value.as_bytes().strip_prefix(name).is_some_and(|rest| rest.starts_with(b"="));
    headers.get_all(header::SET_COOKIE).iter().any(is_of_session)
}

/// Returns a header that sets a cookie of the console.
pub(super) fn set_cookie(name: &str, value: &str, is_secure: bool, age: Duration) -> HeaderValue {
    cookie_header(name, value, is_secure, age, "Strict")
}

fn cookie_header(name: &str, value: &str, is_secure: bool, age: Duration, same_site: &str) -> HeaderValue {
    let place = if is_secure { "Path=/; Secure" } else { "Path=/console" };
    let text = format!("{name}={value}; {place}; HttpOnly; SameSite={same_site}; Max-Age={}", age.as_secs());
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// Returns the values of the cookies with this name.
pub(super) fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let all = headers.get_all(header::COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    // Another application of the host may have set a cookie of any bytes.
    let pairs = all.filter_map(|pair| std::str::from_utf8(pair).ok()?.trim().split_once('='));
    pairs.filter(move |(known, _)| *known == name).map(|(_, value)| value)
}

/// The sessions that ended before their time: somebody has signed out, or in anew. A copied cookie must not work after
/// that.
///
/// Each replica remembers its own. Revoking the caller's key ends its sessions on all of them.
#[derive(Debug, Default)]
pub(super) struct EndedSessions(Mutex<BTreeMap<[u8; 16], i64>>);

impl EndedSessions {
    /// Ends a session.
    pub(super) fn end(&self, session: &Session) {
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|_, begun| session.seen.saturating_sub(*begun) < micros(AGE_MAX));
        if ended.len() >= ENDED_MAX
            && let Some(oldest) = ended.iter().min_by_key(|(_, begun)| **begun).map(|(id, _)| *id)
        {
            ended.remove(&oldest);
        }
        ended.insert(session.ending_id(), session.begun);
    }

    /// Whether the session has ended.
    pub(super) fn contains(&self, session: &Session) -> bool {
        self.has_ended(session.ending_id())
    }

    /// Whether the session, or the portal session of the grant, with this ID has ended.
    pub(super) fn has_ended(&self, id: [u8; 16]) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&id)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> Keyring {
        Keyring::parse(&Keyring::file_text(&[7; 32])).unwrap()
    }

    fn headers(cookie: &HeaderValue) -> HeaderMap {
        let pair = cookie.to_str().unwrap().split(';').next().unwrap();
        [(header::COOKIE, HeaderValue::try_from(format!("other=1; {pair}")).unwrap())].into_iter().collect()
    }

    #[test]
    fn a_session_ends_without_requests_and_at_its_greatest_age() {
        let start = Timestamp::from_micros(1_000_000);
        let mut session = Session::of_operator(start, &[TokenDigest([3; 32])]).unwrap();
        let headers = headers(&session.cookie(&ring(), true).unwrap());
        let open = |now| Session::open(&ring(), &headers, true, now);
        assert!(open(start).unwrap().credential(None).is_some());
        assert!(open(start.after(IDLE_MAX)).is_none());
        assert!(!session.touch(start.after(Duration::from_secs(59))));
        let mut now = start;
        while now < start.after(AGE_MAX) {
            assert!(!session.is_over(now));
            now = now.after(Duration::from_mins(29));
            assert!(session.touch(now));
        }
        assert!(session.is_over(now));
    }

    #[test]
    fn an_altered_cookie_and_one_for_another_transport_open_nothing() {
        let now = Timestamp::from_micros(1);
        let session = Session::of_operator(now, &[TokenDigest([3; 32])]).unwrap();
        let cookie = session.cookie(&ring(), false).unwrap();
        assert!(Session::open(&ring(), &headers(&cookie), false, now).is_some());
        assert!(Session::open(&ring(), &headers(&cookie), true, now).is_none());
        let altered = HeaderValue::try_from(cookie.to_str().unwrap().replacen('A', "B", 1)).unwrap();
        assert!(Session::open(&ring(), &headers(&altered), false, now).is_none());
        assert!(cookie.to_str().unwrap().ends_with("; Path=/console; HttpOnly; SameSite=Strict; Max-Age=43200"));
        let nobody = headers(&Session::of_nobody(now).unwrap().cookie(&ring(), false).unwrap());
        assert!(Session::open(&ring(), &nobody, false, now).is_none());
        assert!(Session::open_of_nobody(SIGN_IN_COOKIE, &ring(), &nobody, false, now).is_some());
        // A cookie of the same name that does not open, in front of it, changes nothing.
        let pair = headers(&cookie).remove(header::COOKIE).unwrap();
        for planted in [&b"key-authority=planted"[..], "visitor=J\u{fc}rgen".as_bytes(), b"visitor=J\xfcrgen", b"\xff"]
        {
            let both = [planted, b"; ", pair.as_bytes()].concat();
            let both = [(header::COOKIE, HeaderValue::from_bytes(&both).unwrap())].into_iter().collect();
            assert!(Session::open(&ring(), &both, false, now).is_some(), "{planted:?}");
        }
        assert!(SESSION_COOKIE.removal(true).to_str().unwrap().starts_with("__Host-key-authority=; Path=/; Secure; "));
    }

    #[test]
    fn a_form_token_belongs_to_one_session() {
        let now = Timestamp::from_micros(1);
        let [mine, other] = [Session::of_nobody(now).unwrap(), Session::of_nobody(now).unwrap()];
        assert!(mine.is_form_token(&mine.form_token()));
        assert!(!mine.is_form_token(&other.form_token()) && !mine.is_form_token(""));
        let ended = EndedSessions::default();
        ended.end(&mine);
        assert!(ended.contains(&mine) && !ended.contains(&other));
    }

    #[test]
    fn all_sessions_of_one_link_end_together() {
        let now = Timestamp::from_micros(1);
        let begin = |grant: PortalGrant| Session::of_portal(now, grant, "Acme").unwrap();
        let grant = PortalGrant::example();
        let [first, second] = [begin(grant.clone()), begin(grant.clone())];
        let other = begin(PortalGrant { id: [0xcd; 16], ..grant.clone() });
        let ended = EndedSessions::default();
        ended.end(&first);
        assert!(ended.contains(&first) && ended.contains(&second) && ended.has_ended(grant.id));
        assert!(!ended.contains(&other));
    }
}
