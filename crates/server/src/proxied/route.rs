//! The configuration of a route in the proxy.

use key_authority_domain::verdict::Question;

use crate::verify::decode::VerifyRequestRef;
use crate::wire::check::Check;
use crate::wire::violations::Violations;

/// The longest plain name.
const NAME_LEN_MAX: usize = 64;

/// How a protocol writes a route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialect {
    /// The part of a request that contains the route, for messages.
    pub(crate) place: &'static str,
    /// The name of the scopes. It may be repeated.
    pub(crate) scopes: &'static str,
    /// The characters that separate scopes.
    pub(crate) separators: &'static [char],
}

/// The configuration of a route.
pub(crate) struct Route<'a> {
    dialect: Dialect,
    /// The question about each request, without token, key and address.
    question: VerifyRequestRef<'a>,
    /// The places of tokens.
    pub(super) places: Places<'a>,
}

/// The places where a token may be. Tokens in other places are ignored, and not removed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Places<'a> {
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
    /// Reads a route. An unknown name is an error: it may be a misspelled condition. So is a repeated one, except for
    /// scopes.
    pub(crate) fn read(
        dialect: Dialect,
        entries: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Violations> {
        let mut route = Self { dialect, question: VerifyRequestRef::default(), places: Places::default() };
        let (mut check, mut seen) = (Check::new(), Vec::new());
        check.inside(dialect.place, |check| {
            for (name, value) in entries {
                let is_scopes = name == dialect.scopes;
                // An empty condition comes from a template without its value, and does not mean "no condition".
                if is_blank(value) && (is_scopes || ["project", "account"].contains(&name)) {
                    check.violation(name, "must not be empty; omit it if nothing is required");
                }
                if !is_scopes && is_plain(name) && seen.contains(&name) {
                    check.violation(name, "must be set once");
                }
                match name {
                    "project" => route.question.project = value,
                    "account" => route.question.account = value,
                    _ if is_scopes => route.question.scopes.extend(words(value, dialect.separators)),
                    "token_in" => route.places = Places::read(check, value),
                    // The name appears in the log, and a caller can make it of any length and with line breaks.
                    _ => {
                        let name = if is_plain(name) { name } else { "…" };
                        let scopes = dialect.scopes;
                        check.violation(name, format!("must be one of project, account, {scopes}, token_in"));
                    }
                }
                seen.push(name);
            }
        });
        check.finish(|| Some(route))
    }

    /// Returns the question of the route.
    pub(super) fn question(&self) -> Result<Question<'_>, Violations> {
        self.question.question().map_err(|violations| violations.within(self.dialect.place))
    }
}

impl<'a> Places<'a> {
    fn read(check: &mut Check, text: &'a str) -> Self {
        let mut places = Self { bearer: false, basic: false, api_key: false, parameter: None };
        for word in words(text, &[' ', ',']) {
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

/// Returns the words between the separators.
fn words<'a>(text: &'a str, separators: &'static [char]) -> impl Iterator<Item = &'a str> {
    text.split(separators).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALECT: Dialect = Dialect { place: "place", scopes: "scopes", separators: &[' ', ','] };

    fn read<'a>(all: &[(&'a str, &'a str)]) -> Result<Route<'a>, Violations> {
        Route::read(DIALECT, all.iter().copied())
    }

    fn wrong(all: &[(&str, &str)]) -> String {
        read(all).and_then(|route| route.question().map(drop)).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_route_requires_nothing_and_takes_tokens_from_headers() {
        let route = read(&[]).unwrap();
        assert_eq!(route.places, Places { bearer: true, basic: true, api_key: true, parameter: None });
        let question = route.question().unwrap();
        assert!(question.scopes.is_empty() && question.project.is_none() && question.account.is_none());
    }

    #[test]
    fn the_conditions_of_a_route_become_the_question() {
        let all = [("project", "p 1"), ("account", "acme"), ("scopes", "read, write,,admin"), ("token_in", "basic")];
        let route = read(&all).unwrap();
        let question = route.question().unwrap();
        assert_eq!((question.project, question.account), (Some("p 1"), Some("acme")));
        assert_eq!(question.scopes, ["read", "write", "admin"]);
        assert_eq!(route.places, Places { bearer: false, basic: true, api_key: false, parameter: None });
        assert_eq!(read(&[("token_in", "bearer,query:api_key")]).unwrap().places.parameter, Some("api_key"));
        let spaces = Dialect { separators: &[' '], ..DIALECT };
        let route = Route::read(spaces, [("scopes", "a,b c"), ("scopes", "d")]).unwrap();
        assert_eq!(route.question().unwrap().scopes, ["a,b", "c", "d"]);
    }

    #[test]
    fn an_invalid_route_is_rejected() {
        assert!(wrong(&[("scope", "read")]).starts_with("place.scope must be one of"));
        for name in ["a\nline of its own", "\x1b[31m", &"x".repeat(1 << 20)] {
            assert!(wrong(&[(name, "")]).starts_with("place.… must be one of"));
        }
        for places in ["", " ", "header", "Bearer", "query", "query:", "query:a b%5F", "query:a query:b", "bearer:x"] {
            assert!(wrong(&[("token_in", places)]).contains("token_in must"), "{places:?}");
        }
        assert_eq!(wrong(&[("account", "a"), ("account", "a")]), "place.account must be set once");
        let long = "x".repeat(129);
        assert!(wrong(&[("scopes", &long)]).starts_with("place.scopes[0] must be"));
    }
}
