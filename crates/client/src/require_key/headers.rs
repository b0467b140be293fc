//! Which token a request presents.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

const API_KEY: &str = "x-api-key";

/// What a request presents.
#[derive(Debug, PartialEq)]
pub(super) enum Presented {
    Nothing,
    Token(String),
    /// Tokens that differ: it is not ours to choose among them.
    Several,
}

/// Takes every token out of the headers. Credentials of other schemes than `Bearer` are not ours, and stay.
pub(super) fn take(headers: &mut HeaderMap) -> Presented {
    let (ours, others): (Vec<_>, Vec<_>) =
        headers.get_all(AUTHORIZATION).iter().cloned().partition(|value| bearer(value).is_some());
    let mut tokens: Vec<String> = ours.iter().filter_map(bearer).map(text).collect();
    tokens.extend(headers.get_all(API_KEY).iter().map(|value| text(value.as_bytes().trim_ascii())));
    headers.remove(API_KEY);
    headers.remove(AUTHORIZATION);
    for value in others {
        headers.append(AUTHORIZATION, value);
    }
    tokens.dedup();
    match (tokens.pop(), tokens.is_empty()) {
        (None, _) => Presented::Nothing,
        (Some(token), true) => Presented::Token(token),
        (Some(_), false) => Presented::Several,
    }
}

/// What follows `Bearer`, in whatever case it is written, and whatever space follows it.
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, rest) = value.as_bytes().trim_ascii().split_at_checked("Bearer".len())?;
    let ends = rest.first().is_none_or(u8::is_ascii_whitespace);
    (ends && scheme.eq_ignore_ascii_case(b"Bearer")).then(|| rest.trim_ascii())
}

/// What is no text is no token either, and the authority says so of its replacement.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(headers: &[(&'static str, &'static str)]) -> (Presented, Vec<String>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let presented = take(&mut map);
        (presented, map.values().map(|value| value.to_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn a_token_is_taken_from_either_header() {
        let token = || Presented::Token("t".to_owned());
        for headers in [
            &[("authorization", "Bearer t")][..],
            &[("authorization", "bearer  t ")],
            &[("authorization", "Bearer\tt")],
            &[("x-api-key", "t")],
            &[("authorization", "Bearer t"), ("x-api-key", "t")],
        ] {
            assert_eq!(taken(headers), (token(), vec![]), "{headers:?}");
        }
        let headers = [("authorization", "Basic dTpw"), ("x-api-key", "t"), ("accept", "*/*")];
        assert_eq!(taken(&headers), (token(), vec!["*/*".to_owned(), "Basic dTpw".to_owned()]));
    }

    #[test]
    fn nothing_is_nothing_and_an_empty_token_is_a_token() {
        assert_eq!(taken(&[]).0, Presented::Nothing);
        assert_eq!(taken(&[("authorization", "Basic dTpw")]).0, Presented::Nothing);
        assert_eq!(taken(&[("authorization", "Bearers t")]).0, Presented::Nothing);
        assert_eq!(taken(&[("x-api-key", "")]).0, Presented::Token(String::new()));
        assert_eq!(taken(&[("authorization", "Bearer")]), (Presented::Token(String::new()), vec![]));
    }

    #[test]
    fn no_choice_is_made_among_tokens_and_none_is_left() {
        for headers in [
            [("authorization", "Bearer t"), ("x-api-key", "u")],
            [("authorization", "Bearer t"), ("authorization", "Bearer u")],
            [("x-api-key", "t"), ("x-api-key", "u")],
        ] {
            assert_eq!(taken(&headers), (Presented::Several, vec![]), "{headers:?}");
        }
    }
}
