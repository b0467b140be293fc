//! The headers of a proxied request, and the header names that belong to the authority.

use std::borrow::Cow;
use std::collections::BTreeMap;

use key_authority_proto::ext_authz::attribute_context::HttpRequest;

/// The prefix of all headers that describe a key.
const PREFIX: &str = "x-key-";

/// The headers of a request, by their names in lower case.
pub(super) struct Headers<'a>(BTreeMap<String, Cow<'a, [u8]>>);

impl<'a> Headers<'a> {
    /// Reads the headers of a request in either form of the protocol. Values of one name are joined by commas, as a
    /// proxy does that sends one value a name.
    pub(super) fn of(request: &'a HttpRequest) -> Self {
        let raw = request.header_map.iter().flat_map(|map| &map.headers).map(|header| (&header.key, &header.raw_value));
        let mut headers = BTreeMap::<String, Cow<'a, [u8]>>::new();
        for (name, value) in request.headers.iter().chain(raw) {
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
    pub(super) fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.0.get(name).map(|value| String::from_utf8_lossy(value))
    }

    /// Returns the names that belong to the authority, as the client spelled them, but in lower case.
    pub(super) fn reserved(&self) -> impl Iterator<Item = &str> {
        let begins = |name: &&str| name.get(..PREFIX.len()).is_some_and(|beginning| plain(beginning) == PREFIX);
        self.0.keys().map(String::as_str).filter(begins)
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
    use key_authority_proto::ext_authz::{HeaderMap, HeaderValue};

    fn raw(key: &str, value: &[u8]) -> HeaderValue {
        HeaderValue { key: key.into(), raw_value: value.into(), ..HeaderValue::default() }
    }

    #[test]
    fn both_forms_of_headers_are_equal() {
        let joined = HttpRequest { headers: [("a".into(), b"1,2".to_vec())].into(), ..HttpRequest::default() };
        let header_map = Some(HeaderMap { headers: vec![raw("A", b"1"), raw("a", b"2"), raw("b", b"\xff")] });
        let one_by_one = HttpRequest { header_map, ..HttpRequest::default() };
        assert_eq!(Headers::of(&joined).get("a").as_deref(), Some("1,2"));
        let headers = Headers::of(&one_by_one);
        assert_eq!(headers.get("a").as_deref(), Some("1,2"));
        assert_eq!(headers.get("b").as_deref(), Some("\u{fffd}"));
        assert_eq!(headers.get("c"), None);
    }

    #[test]
    fn every_spelling_of_our_names_is_reserved() {
        let spellings = ["x-key-id", "X-Key-Labels-Anything", "x_key_id", "x.key-account", "x-key-", "x-key-new"];
        let others = ["x-api-key", "x-keyid", "x-ke-y", "ax-key-id", "x-key", ":path"];
        let headers = spellings.iter().chain(&others).map(|name| raw(name, b"spoofed")).collect();
        let request = HttpRequest { header_map: Some(HeaderMap { headers }), ..HttpRequest::default() };
        let mut wanted = spellings.map(str::to_ascii_lowercase);
        wanted.sort_unstable();
        assert_eq!(Headers::of(&request).reserved().collect::<Vec<_>>(), wanted);
    }
}
