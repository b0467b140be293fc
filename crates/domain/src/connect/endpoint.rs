//! The address of an MCP server.

use url::{Host, Url};

use crate::text::{TextRule, ValidationError};

/// Most characters of an address.
pub const URL_LEN_MAX: usize = 2000;
/// The parameter in which a token goes where a client can send no header.
const PARAMETER: &str = "api_key";

const TEXT: TextRule = TextRule::line(URL_LEN_MAX).required().without_spaces();

/// Where an MCP server is: an absolute `http` or `https` URL, in the spelling of the URL standard, which is ASCII, and with
/// `%24` for each `$`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Takes `value` for an address.
    ///
    /// # Errors
    /// The rule in words, when the value breaks it.
    pub fn new(value: &str) -> Result<Self, ValidationError> {
        // Checked before it is parsed: a parser of URLs leaves out line ends without a word.
        TEXT.check(value)?;
        let url = Url::parse(value).map_err(|_unparsed| ValidationError::new("must be an absolute URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ValidationError::new("must be a URL of the scheme http or https"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(ValidationError::new("must be a URL without user, password and fragment"));
        }
        if url.query_pairs().any(|(name, _)| name == PARAMETER) {
            return Err(ValidationError::new("must be a URL without a parameter api_key"));
        }
        // Some clients take `${NAME}` in an address for a variable and put its value there.
        Url::parse(&url.as_str().replace('$', "%24"))
            .ok()
            .filter(|url| !url.as_str().contains('$'))
            .map(Self)
            .ok_or_else(|| ValidationError::new("must be a URL without '$' in its host"))
    }

    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The address with the token in it.
    #[must_use]
    pub fn with_token(&self, token: &str) -> String {
        let mut url = self.0.clone();
        url.query_pairs_mut().append_pair(PARAMETER, token);
        url.into()
    }

    /// Whether what is sent there can be read on its way: plain text, and not to the same machine.
    #[must_use]
    pub fn is_in_the_clear(&self) -> bool {
        let is_near = match self.0.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        self.0.scheme() == "http" && !is_near
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_absolute_and_says_no_more_than_where() {
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
    fn the_token_joins_the_parameters_that_are_there() {
        let with = |url| Endpoint::new(url).unwrap().with_token("a_1&b");
        assert_eq!(with("https://example.com"), "https://example.com/?api_key=a_1%26b");
        assert_eq!(with("https://example.com/mcp?team=a%20b"), "https://example.com/mcp?team=a%20b&api_key=a_1%26b");
    }

    #[test]
    fn no_client_finds_a_variable_in_an_address() {
        let url = Endpoint::new("https://example.com/${HOME}?x=${HOME}&y=$").unwrap();
        assert_eq!(url.as_str(), "https://example.com/%24%7BHOME%7D?x=%24{HOME}&y=%24");
    }

    #[test]
    fn plain_text_is_for_the_same_machine() {
        let is_in_the_clear = |url| Endpoint::new(url).unwrap().is_in_the_clear();
        for near in ["http://localhost/", "http://127.0.0.1:1/", "http://[::1]/", "https://example.com"] {
            assert!(!is_in_the_clear(near), "{near}");
        }
        assert!(is_in_the_clear("http://example.com") && is_in_the_clear("http://localhost.example.com"));
    }
}
