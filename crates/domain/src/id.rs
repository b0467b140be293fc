//! Names of things: accounts, keys, requests, replicas, and the revision, the number of a committed change.

use std::fmt;

use compact_str::CompactString;

use crate::text::ValidationError;

/// The longest ID, in characters.
pub const ID_LEN_MAX: usize = 64;

/// Declares an identifier: a short ASCII string that has passed its rule. Up to 24 bytes, those that are generated among
/// them, lie in the value itself.
macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $rule:literal, $is_valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(CompactString);

        impl $name {
            /// Takes `value` for an identifier.
            ///
            /// # Errors
            /// The rule in words, when the value breaks it.
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
    /// The name of an account, chosen by whoever creates it.
    AccountId,
    "must be 1 to 64 characters: an ASCII letter or digit, then letters, digits, '.', '_', '-', ':' or '@'",
    is_resource_id
);

identifier!(
    /// The stable name of a key: the same through every renewal. It is no secret.
    KeyId,
    "must be 1 to 64 characters: an ASCII letter or digit, then letters, digits, '.', '_', '-', ':' or '@'",
    is_resource_id
);

identifier!(
    /// A caller's name for one request, by which a repeated request is known.
    RequestId,
    "must be 1 to 128 printable ASCII characters without spaces",
    |value| (1..=128).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic())
);

identifier!(
    /// Who made a change: the ID of the caller's key, or `bootstrap`.
    Actor,
    "must be 1 to 64 characters: an ASCII letter or digit, then letters, digits, '.', '_', '-', ':' or '@'",
    is_resource_id
);

/// The reserved account whose keys are the credentials of our own callers.
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
    /// The actor of changes made by whoever holds the machine, not by a caller.
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
    /// Makes a fresh ID, `key_` and 20 base62 characters (119 bits), from a source of random bytes.
    ///
    /// # Errors
    /// The source's error.
    pub fn generate<E>(fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut id = String::from("key_");
        crate::token::push_base62(&mut id, 20, fill)?;
        Ok(Self(id.into()))
    }
}

/// The number of a committed change. There is one sequence for everything; 0 stands before the first change.
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

/// The name of one running server: 16 random bytes, new at every join, shown as hexadecimal.
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
    /// Reads the hexadecimal form.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_take_what_callers_use_and_refuse_what_databases_confuse() {
        for id in ["a", "Acme-1", "org:42", "someone@example.org", &"x".repeat(64)] {
            assert!(AccountId::new(id).is_ok(), "{id}");
        }
        for id in ["", " ", "a ", "a b", "-a", "ä", "a/b", "a\0", &"x".repeat(65)] {
            assert!(AccountId::new(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn a_replica_id_reads_back() {
        let id = ReplicaId([7; 16]);
        assert_eq!(ReplicaId::parse(&id.to_string()), Some(id));
        assert_eq!(ReplicaId::parse("07"), None);
        assert_eq!(ReplicaId::parse(&"zz".repeat(16)), None);
    }
}
