//! The headers of a proxied request, and the header names that belong to the authority.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// The prefix of all headers that describe a key.
const PREFIX: &str = "x-key-";

/// The headers of a request, by their names in lower case.
pub(crate) struct Headers<'a>(BTreeMap<String, Cow<'a, [u8]>>);

impl<'a> Headers<'a> {
    /// Reads the headers of a request. Values of one name are joined by commas, as a proxy does that sends one value a
    /// name.
    pub(crate) fn of(all: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut headers = BTreeMap::<String, Cow<'a, [u8]>>::new();
        for (name, value) in all {
            headers
                .entry(name.to_ascii_lowercase())
                .and_modify(|values| {
                    // In place: a caller could send a name hundreds of thousands of times.
                    let values = values.to_mut();
                    values.push(b',');
                    values.extend_from_slice(value);
                })
                .or_insert(value.into());
        }
        Self(headers)
    }

    /// Returns the value of a header. Bytes that are not UTF-8 become a character that no token contains.
    pub(crate) fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.0.get(name).map(|value| String::from_utf8_lossy(value))
    }

    /// Returns the names that belong to the authority, as the client spelled them, but in lower case.
    pub(crate) fn reserved(&self) -> impl Iterator<Item = &str> {
        let begins = |name: &&str| name.get(..PREFIX.len()).is_some_and(|beginning| plain(beginning) == PREFIX);
        self.0.keys().map(String::as_str).filter(begins)
    }

    /// Whether a name is reserved, and has other separators than hyphens in its prefix. No proxy removes such a name with
    /// `X-Key-*`, and no client has a reason to send one.
    pub(crate) fn has_alias(&self) -> bool {
        self.reserved().any(|name| !name.starts_with(PREFIX))
    }
}

/// Replaces everything but letters and digits by a hyphen. Many servers cannot distinguish names that differ in nothing
/// else: `X_Key_Id` and `X-Key-Id` are both `HTTP_X_KEY_ID` in the environment of a CGI program.
pub(super) fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_name_are_joined() {
        let joined = Headers::of([("a", &b"1,2"[..])].into_iter());
        assert_eq!(joined.get("a").as_deref(), Some("1,2"));
        let one_by_one = Headers::of([("A", &b"1"[..]), ("a", b"2"), ("b", b"\xff")].into_iter());
        assert_eq!(one_by_one.get("a").as_deref(), Some("1,2"));
        assert_eq!(one_by_one.get("b").as_deref(), Some("\u{fffd}"));
        assert_eq!(one_by_one.get("c"), None);
    }

    #[test]
    fn an_alias_is_a_reserved_name_with_other_separators() {
        let has_alias = |name| Headers::of([(name, &b"spoofed"[..])].into_iter()).has_alias();
        assert!(["x_key_id", "X-Key_Id", "x.key-account", "X!Key~Label~Team"].into_iter().all(has_alias));
        assert!(!["x-key-id", "X-KEY-label_team", "x-api-key", "x_keyid", "x"].into_iter().any(has_alias));
    }

    #[test]
    fn every_spelling_of_our_names_is_reserved() {
        let spellings = ["x-key-id", "X-Key-Label-Anything", "x_key_id", "x.key-account", "x-key-", "x-key-new"];
        let others = ["x-api-key", "x-keyid", "x-ke-y", "ax-key-id", "x-key", ":path"];
        let all = spellings.iter().chain(&others).map(|&name| (name, &b"spoofed"[..]));
        let mut wanted = spellings.map(str::to_ascii_lowercase);
        wanted.sort_unstable();
        assert_eq!(Headers::of(all).reserved().collect::<Vec<_>>(), wanted);
    }
}
