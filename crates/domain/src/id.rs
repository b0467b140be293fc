//! Identifiers of accounts, keys, requests, replicas and users of products, and revisions.

use std::fmt;

use compact_str::CompactString;

use crate::text::{TextRule, ValidationError, is_invisible};

/// Maximum length of an ID, in characters.
pub const ID_LEN_MAX: usize = 64;

/// Declares an identifier: a short ASCII string that satisfies a rule. Up to 24 bytes, which includes generated IDs,
/// are stored inline.
macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $rule:literal, $is_valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(CompactString);

        impl $name {
            /// Validates `value` as an identifier.
            ///
            /// # Errors
            /// The rule that `value` breaks.
            pub fn new(value: &str) -> Result<Self, ValidationError> {
                let is_valid: fn(&str) -> bool = $is_valid;
                if is_valid(value) { Ok(Self(value.into())) } else { Err(ValidationError::new($rule)) }
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

fn is_resource_id(value: &str) -> bool {
    value.len() <= ID_LEN_MAX
        && value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:@".contains(&b))
}

identifier!(
    /// The ID of an account, chosen by the caller that creates it.
    AccountId,
    "must be 1 to 64 characters: an ASCII letter or digit, then letters, digits, '.', '_', '-', ':' or '@'",
    is_resource_id
);

identifier!(
    /// The ID of a key. It stays the same through renewals. It is not a secret.
    KeyId,
    "must be 1 to 64 characters: an ASCII letter or digit, then letters, digits, '.', '_', '-', ':' or '@'",
    is_resource_id
);

identifier!(
    /// The ID that a caller gives a request, so that a repetition is recognized.
    RequestId,
    "must be 1 to 128 printable ASCII characters without spaces",
    |value| (1..=128).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic())
);

identifier!(
    /// The author of a change: the ID of the caller's key, or `bootstrap`.
    Actor,
    "must be 1 to 64 characters: an ASCII letter or digit, then letters, digits, '.', '_', '-', ':' or '@'",
    is_resource_id
);

/// The beginning of the request IDs of the starts of portal sessions.
const PORTAL_SESSION: &str = "portal-session:";
/// The beginning of the request IDs that changes in portal sessions have in the log.
const PORTAL_REQUEST: &str = "portal-request:";
/// The domain of the digests in them.
const PORTAL_REQUEST_CONTEXT: &str = "keyauthority.v1 2026-12 request id in a portal session";

impl RequestId {
    /// Validates a request ID that a caller chose. Callers and the authority itself do not share request IDs: a caller
    /// could use up that of a session that has not started yet, or of a change that a user makes in one.
    ///
    /// # Errors
    /// The rule that `value` breaks.
    pub fn of_caller(value: &str) -> Result<Self, ValidationError> {
        if value.starts_with(PORTAL_SESSION) {
            return Err(ValidationError::new("must not begin with `portal-session:`"));
        }
        if value.starts_with(PORTAL_REQUEST) {
            return Err(ValidationError::new("must not begin with `portal-request:`"));
        }
        Self::new(value)
    }

    /// The request ID of the start of a portal session: a code starts one session.
    ///
    /// # Errors
    /// If the number of the session is too long.
    pub fn of_portal_session(session_id: &str) -> Result<Self, ValidationError> {
        Self::new(&format!("{PORTAL_SESSION}{session_id}"))
    }

    /// Returns the ID under which a request with this one is recognized again in a portal session. The author of its
    /// changes is the caller that created the session, and the browser of a user chooses the ID: it must not use up
    /// those of the caller, nor of another session. The start of a session keeps its own.
    #[must_use]
    pub fn in_portal_session(&self, session: &[u8; 16]) -> Self {
        if self.0.starts_with(PORTAL_SESSION) {
            return self.clone();
        }
        let mut hasher = blake3::Hasher::new_derive_key(PORTAL_REQUEST_CONTEXT);
        let digest = hasher.update(session).update(self.0.as_bytes()).finalize();
        Self(format!("{PORTAL_REQUEST}{}", digest.to_hex()).into())
    }
}

/// The reserved account whose keys authenticate callers of the authority.
pub const SYSTEM_ACCOUNT: &str = "system";

impl AccountId {
    /// The reserved account `system`.
    #[must_use]
    pub fn system() -> Self {
        Self(SYSTEM_ACCOUNT.into())
    }

    /// Whether this is the reserved account `system`.
    #[must_use]
    pub fn is_system(&self) -> bool {
        &*self.0 == SYSTEM_ACCOUNT
    }
}

impl Actor {
    /// The actor of changes that an operator makes on the machine, without a caller's key.
    #[must_use]
    pub fn bootstrap() -> Self {
        Self("bootstrap".into())
    }
}

impl From<&KeyId> for Actor {
    fn from(key: &KeyId) -> Self {
        Self(key.0.clone())
    }
}

impl KeyId {
    /// Generates an ID: `key_` and 20 base62 characters (119 bits). `fill` provides random bytes.
    ///
    /// # Errors
    /// The error of `fill`.
    pub fn generate<E>(fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut id = String::from("key_");
        crate::token::push_base62(&mut id, 20, fill)?;
        Ok(Self(id.into()))
    }
}

/// The number of a committed change, in one sequence for all accounts and keys. 0 means before the first change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub i64);

impl Revision {
    /// The revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The ID of a running replica: 16 random bytes, new at each join, displayed in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub [u8; 16]);

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ReplicaId {
    /// Parses the hexadecimal form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let mut bytes = [0; 16];
        if digits.len() != 2 * bytes.len() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

/// Maximum length of a subject, in characters.
pub const SUBJECT_LEN_MAX: usize = 128;

/// The user of a product, as the product names it: 1 to 128 characters without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(Box<str>);

impl Subject {
    /// Validates `value`.
    ///
    /// # Errors
    /// The rule that `value` breaks.
    pub fn new(value: &str) -> Result<Self, ValidationError> {
        const RULE: TextRule = TextRule::line(SUBJECT_LEN_MAX).required();
        RULE.check(value)?;
        if is_invisible(value) {
            return Err(ValidationError::new("must have a visible character"));
        }
        Ok(Self(value.into()))
    }

    /// The subject as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_reject_characters_that_databases_compare_differently() {
        for id in ["a", "Acme-1", "org:42", "someone@example.org", &"x".repeat(64)] {
            assert!(AccountId::new(id).is_ok(), "{id}");
        }
        for id in ["", " ", "a ", "a b", "-a", "ä", "a/b", "a\0", &"x".repeat(65)] {
            assert!(AccountId::new(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn a_replica_id_round_trips() {
        let id = ReplicaId([7; 16]);
        assert_eq!(ReplicaId::parse(&id.to_string()), Some(id));
        assert_eq!(ReplicaId::parse("07"), None);
        assert_eq!(ReplicaId::parse(&"zz".repeat(16)), None);
    }

    #[test]
    fn a_subject_is_one_line_of_text() {
        for subject in ["u", "Ada Lovelace <ada@example.org>", &"ü".repeat(128)] {
            assert_eq!(Subject::new(subject).unwrap().as_str(), subject);
        }
        for subject in ["", " ", "a\nb", "a\0", &"u".repeat(129)] {
            assert!(Subject::new(subject).is_err(), "{subject:?}");
        }
    }
}
