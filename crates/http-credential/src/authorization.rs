//! The `Authorization` header (RFC 9110, 11.6.2), as far as it carries tokens.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// A scheme that can carry a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `Bearer TOKEN` (RFC 6750).
    Bearer,
    /// `Basic base64(KEY_ID:TOKEN)` (RFC 7617).
    Basic,
}

impl Scheme {
    const ALL: [(&'static [u8], Self); 2] = [(b"bearer", Self::Bearer), (b"basic", Self::Basic)];
}

/// A credential of a supported scheme. `Debug` does not show its value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credential<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// The text after the name of the scheme, without surrounding white space. It may be empty, and need not be UTF-8.
    pub value: &'a [u8],
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credential").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

impl Credential<'_> {
    /// The user and the password of a [`Scheme::Basic`] credential. A value that is no such pair gives two empty texts:
    /// a credential that nothing accepts, which is not the same as none.
    #[must_use]
    pub fn user_and_password(&self) -> (String, String) {
        let decoded = BASE64_STANDARD.decode(self.value).unwrap_or_default();
        let decoded = String::from_utf8_lossy(&decoded);
        let (user, password) = decoded.split_once(':').unwrap_or_default();
        (user.to_owned(), password.to_owned())
    }
}

/// Parses one field value. Returns `None` for another scheme.
///
/// The name of a scheme is compared without regard to case, and any white space may follow it. `Bearer` alone is a
/// credential with an empty value: the client meant to present a token.
#[must_use]
pub fn credential(field: &[u8]) -> Option<Credential<'_>> {
    let field = field.trim_ascii();
    let (name, value) = match field.iter().position(u8::is_ascii_whitespace) {
        Some(end) => field.split_at(end),
        None => (field, &[][..]),
    };
    let (_, scheme) = Scheme::ALL.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known))?;
    Some(Credential { scheme, value: value.trim_ascii() })
}

/// Splits a field value into the values that a proxy has joined with commas (RFC 9110, 5.3).
///
/// A token may contain a comma but no space. So a comma separates two values only where what follows it reads as a
/// scheme of ours, a space, and a value.
#[must_use]
pub fn split(field: &[u8]) -> Vec<&[u8]> {
    let (mut values, mut begin) = (Vec::new(), 0);
    for comma in field.iter().enumerate().filter_map(|(place, byte)| (*byte == b',').then_some(place)) {
        let (Some(value), Some(rest)) = (field.get(begin..comma), field.get(comma + 1..)) else { continue };
        if starts_with_scheme(rest.trim_ascii_start()) {
            values.push(value);
            begin = comma + 1;
        }
    }
    values.extend(field.get(begin..));
    values
}

/// Whether the text starts with a supported scheme and white space.
fn starts_with_scheme(text: &[u8]) -> bool {
    Scheme::ALL.into_iter().any(|(name, _)| {
        let (begin, rest) = text.split_at_checked(name.len()).unwrap_or_default();
        begin.eq_ignore_ascii_case(name) && matches!(rest.first(), Some(b' ' | b'\t'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(field: &str) -> Option<(Scheme, &str)> {
        credential(field.as_bytes()).map(|found| (found.scheme, std::str::from_utf8(found.value).unwrap()))
    }

    #[test]
    fn scheme_names_ignore_case_and_any_white_space_follows() {
        for field in ["Bearer t", "bEARER  t ", "Bearer\tt", " bearer t"] {
            assert_eq!(read(field), Some((Scheme::Bearer, "t")), "{field:?}");
        }
        assert_eq!(read("basic aWQ6dA=="), Some((Scheme::Basic, "aWQ6dA==")));
        assert_eq!(read("Bearer a b"), Some((Scheme::Bearer, "a b")), "not cut; such a value is no token");
    }

    #[test]
    fn a_scheme_without_a_value_is_an_empty_credential() {
        for field in ["Bearer", "Bearer ", "bearer\t"] {
            assert_eq!(read(field), Some((Scheme::Bearer, "")), "{field:?}");
        }
    }

    #[test]
    fn other_schemes_are_no_credential() {
        for field in ["", "Bearers t", "Digest x", "t", "Bearer,t"] {
            assert_eq!(read(field), None, "{field:?}");
        }
    }

    #[test]
    fn a_basic_credential_is_a_pair_or_two_empty_texts() {
        let pair = |value: &str| credential(format!("Basic {value}").as_bytes()).unwrap().user_and_password();
        assert_eq!(pair("aWQ6dDp1"), ("id".into(), "t:u".into()));
        assert_eq!(pair("OnQ="), (String::new(), "t".into()));
        for broken in ["", "!", "aWQ", "aWQ=", "/w=="] {
            assert_eq!(pair(broken), Default::default(), "{broken}");
        }
    }

    #[test]
    fn joined_values_are_split_only_at_another_scheme() {
        let parts = |field: &'static str| {
            split(field.as_bytes()).into_iter().map(|part| std::str::from_utf8(part).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(parts("Bearer t"), ["Bearer t"]);
        assert_eq!(parts("Bearer t,u"), ["Bearer t,u"]);
        assert_eq!(parts("Bearer t, Basic u,bearer v"), ["Bearer t", " Basic u", "bearer v"]);
        assert_eq!(parts("Bearer t,bearer"), ["Bearer t,bearer"], "a token may end like this");
        assert_eq!(parts(""), [""]);
    }

    #[test]
    fn debug_does_not_show_the_value() {
        assert!(!format!("{:?}", credential(b"Bearer canary")).contains("canary"));
    }
}
