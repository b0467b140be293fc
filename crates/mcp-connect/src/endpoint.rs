//! The URL of an MCP server.

use key_authority_domain::text::{TextRule, ValidationError};
use url::{Host, Url};

/// Maximum length of a URL, in characters.
pub const URL_LEN_MAX: usize = 2000;
/// The query parameter that carries the token of a client that cannot send a header.
const PARAMETER: &str = "api_key";

const TEXT: TextRule = TextRule::line(URL_LEN_MAX).required().without_spaces();

/// The URL of an MCP server: absolute, `http` or `https`, normalized as the WHATWG URL standard defines (ASCII only),
/// with `%24` in place of each `$`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Parses `value`.
    ///
    /// # Errors
    /// The rule that `value` breaks.
    pub fn new(value: &str) -> Result<Self, ValidationError> {
        // Checked before parsing: the URL parser silently removes line breaks.
        TEXT.check(value)?;
        let url = Url::parse(value).map_err(|_unparsed| ValidationError::new("must be an absolute URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ValidationError::new("must be an http or https URL"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(ValidationError::new("must be a URL without user, password or fragment"));
        }
        if url.query_pairs().any(|(name, _)| name == PARAMETER) {
            return Err(ValidationError::new("must be a URL without the query parameter api_key"));
        }
        // Some clients expand `${NAME}` in a URL.
        Url::parse(&url.as_str().replace('$', "%24"))
            .ok()
            .filter(|url| !url.as_str().contains('$'))
            .map(Self)
            .ok_or_else(|| ValidationError::new("must be a URL without '$' in its host"))
    }

    /// The URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The URL with the token in the query parameter `api_key`.
    #[must_use]
    pub fn with_token(&self, token: &str) -> String {
        let mut url = self.0.clone();
        url.query_pairs_mut().append_pair(PARAMETER, token);
        url.into()
    }

    /// Whether requests to the URL cross the network unencrypted: plain http to a host other than this machine.
    #[must_use]
    pub fn is_plaintext(&self) -> bool {
        let is_loopback = match self.0.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        self.0.scheme() == "http" && !is_loopback
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_absolute_and_has_no_credentials_or_fragment() {
        for good in ["https://mcp.example.com", "http://127.0.0.1:8080/mcp?team=a%20b", "https://[2001:db8::1]/mcp"] {
            assert!(Endpoint::new(good).is_ok(), "{good}");
        }
        let long = format!("https://example.com/{}", "x".repeat(URL_LEN_MAX));
        for bad in [
            "",
            "mcp.example.com",
            "/mcp",
            "https://",
            "ftp://example.com",
            "javascript:alert(1)",
            "https://user@example.com",
            "https://:secret@example.com",
            "https://example.com/#part",
            "https://example.com/?api_key=x",
            "https://example.com/?api%5Fkey=x",
            "https://example.com/a b",
            "https://example.com/a\nb",
            "https://example.com/\u{7f}",
            "https://a$b.example.com",
            &long,
        ] {
            assert!(Endpoint::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_token_is_added_to_existing_query_parameters() {
        let with = |url| Endpoint::new(url).unwrap().with_token("a_1&b");
        assert_eq!(with("https://example.com"), "https://example.com/?api_key=a_1%26b");
        assert_eq!(with("https://example.com/mcp?team=a%20b"), "https://example.com/mcp?team=a%20b&api_key=a_1%26b");
    }

    #[test]
    fn a_url_contains_no_variable() {
        let url = Endpoint::new("https://example.com/${HOME}?x=${HOME}&y=$").unwrap();
        assert_eq!(url.as_str(), "https://example.com/%24%7BHOME%7D?x=%24{HOME}&y=%24");
    }

    #[test]
    fn plain_http_to_this_machine_is_not_reported_as_plaintext() {
        let is_plaintext = |url| Endpoint::new(url).unwrap().is_plaintext();
        for local in ["http://localhost/", "http://127.0.0.1:1/", "http://[::1]/", "https://example.com"] {
            assert!(!is_plaintext(local), "{local}");
        }
        assert!(is_plaintext("http://example.com") && is_plaintext("http://localhost.example.com"));
    }
}
