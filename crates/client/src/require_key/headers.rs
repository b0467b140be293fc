//! Takes the token out of a request's headers.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use key_authority_http_credential::{Scheme, credential};

use crate::token::Token;

const API_KEY: &str = "x-api-key";

/// The request has tokens that differ. The layer must not choose among them: the service behind it could choose
/// another.
#[derive(Debug)]
pub(super) struct ConflictingTokens;

/// Removes every token from the headers, and returns it. Credentials of other schemes than `Bearer` stay in the
/// request.
///
/// A header without a value gives an empty token, which is denied as malformed.
pub(super) fn take_token(headers: &mut HeaderMap) -> Result<Option<Token>, ConflictingTokens> {
    let (bearers, others): (Vec<_>, Vec<_>) =
        headers.get_all(AUTHORIZATION).iter().cloned().partition(|value| bearer(value).is_some());
    let mut tokens: Vec<Token> = bearers.iter().filter_map(bearer).map(token).collect();
    tokens.extend(headers.get_all(API_KEY).iter().map(|value| token(value.as_bytes().trim_ascii())));
    headers.remove(API_KEY);
    headers.remove(AUTHORIZATION);
    for value in others {
        headers.append(AUTHORIZATION, value);
    }
    tokens.dedup_by(|one, other| one.expose() == other.expose());
    if tokens.len() > 1 { Err(ConflictingTokens) } else { Ok(tokens.pop()) }
}

fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    credential(value.as_bytes()).filter(|found| found.scheme == Scheme::Bearer).map(|found| found.value)
}

/// Bytes that are not UTF-8 become replacement characters, which no valid token contains. The authority denies them.
fn token(bytes: &[u8]) -> Token {
    Token::new(String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The token, or none, or a conflict; and the headers that remain.
    fn taken(headers: &[(&'static str, &'static str)]) -> (Result<Option<String>, &'static str>, Vec<String>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let token = match take_token(&mut map) {
            Ok(token) => Ok(token.map(Token::into_exposed)),
            Err(ConflictingTokens) => Err("conflict"),
        };
        (token, map.values().map(|value| value.to_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn a_token_is_taken_from_either_header() {
        let token = || Ok(Some("t".to_owned()));
        for headers in [
            &[("authorization", "Bearer t")][..],
            &[("authorization", "bearer  t ")],
            &[("authorization", "Bearer\tt")],
            &[("x-api-key", "t")],
            &[("authorization", "Bearer t"), ("x-api-key", "t")],
        ] {
            assert_eq!(taken(headers), (token(), vec![]), "{headers:?}");
        }
    }

    #[test]
    fn other_schemes_and_headers_stay() {
        let headers = [("authorization", "Basic dTpw"), ("x-api-key", "t"), ("accept", "*/*")];
        assert_eq!(taken(&headers), (Ok(Some("t".to_owned())), vec!["*/*".to_owned(), "Basic dTpw".to_owned()]));
    }

    #[test]
    fn a_request_without_a_token_is_not_one_with_an_empty_token() {
        for headers in [&[][..], &[("authorization", "Basic dTpw")], &[("authorization", "Bearers t")]] {
            assert_eq!(taken(headers).0, Ok(None), "{headers:?}");
        }
        assert_eq!(taken(&[("x-api-key", "")]), (Ok(Some(String::new())), vec![]));
        assert_eq!(taken(&[("authorization", "Bearer")]), (Ok(Some(String::new())), vec![]));
    }

    #[test]
    fn different_tokens_conflict_and_none_stays_in_the_request() {
        for headers in [
            [("authorization", "Bearer t"), ("x-api-key", "u")],
            [("authorization", "Bearer t"), ("authorization", "Bearer u")],
            [("x-api-key", "t"), ("x-api-key", "u")],
        ] {
            assert_eq!(taken(&headers), (Err("conflict"), vec![]), "{headers:?}");
        }
    }
}
