//! The configuration of a route in the proxy: its `context_extensions`.

use std::collections::BTreeMap;

use key_authority_domain::verdict::Question;

use crate::verify::decode::VerifyRequestRef;
use crate::wire::check::Check;
use crate::wire::violations::Violations;

/// The request's field that contains the route.
const FIELD: &str = "attributes.context_extensions";
/// The longest plain name.
const NAME_LEN_MAX: usize = 64;

/// The conditions that a route may require of a token.
const CONDITIONS: [&str; 3] = ["project", "account", "scopes"];

/// The configuration of a route.
#[derive(Default)]
pub(super) struct Route<'a> {
    /// The question about each request, without token, key and address.
    question: VerifyRequestRef<'a>,
    /// The places of tokens.
    pub(super) places: Places<'a>,
}

/// The places where a token may be. Tokens in other places are ignored, and not removed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Places<'a> {
    /// `Authorization: Bearer`.
    pub(super) bearer: bool,
    /// `Authorization: Basic`, as the password; the user is the key ID or empty.
    pub(super) basic: bool,
    /// `X-API-Key`.
    pub(super) api_key: bool,
    /// A query parameter. URLs appear in logs, so a route must name the parameter.
    pub(super) parameter: Option<&'a str>,
}

impl Default for Places<'_> {
    fn default() -> Self {
        Self { bearer: true, basic: true, api_key: true, parameter: None }
    }
}

impl<'a> Route<'a> {
    /// Reads a route. An unknown name is an error: it may be a misspelled condition.
    pub(super) fn read(extensions: &'a BTreeMap<String, String>) -> Result<Self, Violations> {
        let mut route = Self::default();
        let mut check = Check::new();
        check.inside(FIELD, |check| {
            for (name, value) in extensions {
                // An empty condition comes from a template without its value, and does not mean "no condition".
                if is_blank(value) && CONDITIONS.contains(&name.as_str()) {
                    check.violation(name, "must not be empty; omit it if nothing is required");
                }
                match name.as_str() {
                    "project" => route.question.project = value,
                    "account" => route.question.account = value,
                    "scopes" => route.question.scopes = words(value).collect(),
                    "token_in" => route.places = Places::read(check, value),
                    // The name appears in the log, and a caller can make it of any length and with line breaks.
                    _ => {
                        let name = if is_plain(name) { name } else { "…" };
                        check.violation(name, "must be one of project, account, scopes, token_in");
                    }
                }
            }
        });
        check.finish(|| Some(route))
    }

    /// Returns the question of the route.
    pub(super) fn question(&self) -> Result<Question<'_>, Violations> {
        self.question.question().map_err(|violations| violations.within(FIELD))
    }
}

impl<'a> Places<'a> {
    fn read(check: &mut Check, text: &'a str) -> Self {
        let mut places = Self { bearer: false, basic: false, api_key: false, parameter: None };
        for word in words(text) {
            match word.split_once(':').unwrap_or((word, "")) {
                ("bearer", "") => places.bearer = true,
                ("basic", "") => places.basic = true,
                ("x-api-key", "") => places.api_key = true,
                ("query", name) if places.parameter.is_none() && is_plain(name) => places.parameter = Some(name),
                _ => check.violation(
                    "token_in",
                    "must be bearer, basic, x-api-key, and at most one query:NAME, NAME of letters, digits, '-', '_' \
                     or '.'",
                ),
            }
        }
        if text.trim().is_empty() {
            check.violation("token_in", "must name a place, or be omitted");
        }
        places
    }
}

/// Whether a name has only characters that no client encodes: a parameter is found and removed byte for byte.
fn is_plain(name: &str) -> bool {
    (1..=NAME_LEN_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Whether the text has only white space and commas.
fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || c == ',')
}

/// Returns the words between spaces and commas.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',']).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extensions(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn wrong(all: &[(&str, &str)]) -> String {
        let extensions = extensions(all);
        let read = Route::read(&extensions).and_then(|route| route.question().map(drop));
        read.unwrap_err().to_string()
    }

    #[test]
    fn an_empty_route_requires_nothing_and_takes_tokens_from_headers() {
        let none = extensions(&[]);
        let route = Route::read(&none).unwrap();
        assert_eq!(route.places, Places { bearer: true, basic: true, api_key: true, parameter: None });
        let question = route.question().unwrap();
        assert!(question.scopes.is_empty() && question.project.is_none() && question.account.is_none());
    }

    #[test]
    fn the_conditions_of_a_route_become_the_question() {
        let all = extensions(&[
            ("project", "p 1"),
            ("account", "acme"),
            ("scopes", "read, write,,admin"),
            ("token_in", "basic"),
        ]);
        let route = Route::read(&all).unwrap();
        let question = route.question().unwrap();
        assert_eq!((question.project, question.account), (Some("p 1"), Some("acme")));
        assert_eq!(question.scopes, ["read", "write", "admin"]);
        assert_eq!(route.places, Places { bearer: false, basic: true, api_key: false, parameter: None });
        let all = extensions(&[("token_in", "bearer,query:api_key")]);
        assert_eq!(Route::read(&all).unwrap().places.parameter, Some("api_key"));
    }

    #[test]
    fn an_invalid_route_is_rejected() {
        assert!(wrong(&[("scope", "read")]).starts_with("attributes.context_extensions.scope must be one of"));
        for name in ["a\nline of its own", "\x1b[31m", &"x".repeat(1 << 20)] {
            assert!(wrong(&[(name, "")]).starts_with("attributes.context_extensions.… must be one of"));
        }
        for places in ["", " ", "header", "Bearer", "query", "query:", "query:a b%5F", "query:a query:b", "bearer:x"] {
            assert!(wrong(&[("token_in", places)]).contains("token_in must"), "{places:?}");
        }
        let long = "x".repeat(129);
        assert!(wrong(&[("scopes", &long)]).starts_with("attributes.context_extensions.scopes[0] must be"));
    }
}
