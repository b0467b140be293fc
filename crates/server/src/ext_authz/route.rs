//! What a proxy's configuration says of a route: its `context_extensions`.

use std::collections::BTreeMap;

use key_authority_domain::verdict::Question;

use crate::verify::decode::VerifyRequestRef;
use crate::wire::check::Check;
use crate::wire::violations::Violations;

/// The field that these are in.
const FIELD: &str = "attributes.context_extensions";
/// The longest name that is a plain one.
const NAME_LEN_MAX: usize = 64;

/// What a route may demand of a token.
const DEMANDS: [&str; 3] = ["project", "account", "scopes"];

/// A route.
#[derive(Default)]
pub(super) struct Route<'a> {
    /// What is asked of whoever takes it, with neither token, key nor address.
    asked: VerifyRequestRef<'a>,
    /// Where its tokens are.
    pub(super) places: Places<'a>,
}

/// Where a token may be. What is elsewhere is none, and is left where it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Places<'a> {
    /// `Authorization: Bearer`.
    pub(super) bearer: bool,
    /// `Authorization: Basic`, behind the ID of its key.
    pub(super) basic: bool,
    /// `X-API-Key`.
    pub(super) api_key: bool,
    /// A parameter of the query. URLs end in logs, so it takes a route that says so.
    pub(super) parameter: Option<&'a str>,
}

impl Default for Places<'_> {
    fn default() -> Self {
        Self { bearer: true, basic: true, api_key: true, parameter: None }
    }
}

impl<'a> Route<'a> {
    /// Reads a route. A name that is not known is a mistake: it may be a demand that was mistyped.
    pub(super) fn read(extensions: &'a BTreeMap<String, String>) -> Result<Self, Violations> {
        let mut route = Self::default();
        let mut check = Check::new();
        check.inside(FIELD, |check| {
            for (name, value) in extensions {
                // A demand that is there but empty comes of a template without its value, and is not "no demand".
                if is_blank(value) && DEMANDS.contains(&name.as_str()) {
                    check.violation(name, "must not be empty; leave it out where nothing is demanded");
                }
                match name.as_str() {
                    "project" => route.asked.project = value,
                    "account" => route.asked.account = value,
                    "scopes" => route.asked.scopes = words(value).collect(),
                    "token_in" => route.places = Places::read(check, value),
                    // It goes into the log, and whoever may ask can make it of any length, with lines in it.
                    _ => {
                        let name = if is_plain(name) { name } else { "…" };
                        check.violation(name, "must be one of project, account, scopes, token_in");
                    }
                }
            }
        });
        check.finish(|| Some(route))
    }

    /// What is asked.
    pub(super) fn question(&self) -> Result<Question<'_>, Violations> {
        self.asked.question().map_err(|violations| violations.within(FIELD))
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
                    "must be bearer, basic, x-api-key, and at most one query:NAME, NAME of letters, digits, '-', '_' or '.'",
                ),
            }
        }
        if text.trim().is_empty() {
            check.violation("token_in", "must name a place, or be left out");
        }
        places
    }
}

/// Of characters that nobody has a reason to write in another way: a parameter is found, and removed, byte for byte.
fn is_plain(name: &str) -> bool {
    (1..=NAME_LEN_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Whether there is nothing but white space and commas.
fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || c == ',')
}

/// What stands between spaces and commas.
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
    fn a_route_that_says_nothing_asks_nothing_and_takes_tokens_from_headers() {
        let none = extensions(&[]);
        let route = Route::read(&none).unwrap();
        assert_eq!(route.places, Places { bearer: true, basic: true, api_key: true, parameter: None });
        let question = route.question().unwrap();
        assert!(question.scopes.is_empty() && question.project.is_none() && question.account.is_none());
    }

    #[test]
    fn what_a_route_demands_is_asked() {
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
    fn a_route_that_is_wrong_is_told_so() {
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
