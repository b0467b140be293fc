//! `authorization` headers, as callers of the authority and clients behind a proxy send them, and the challenges that
//! answer them.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use key_authority_bench::fill::Authority;
use key_authority_domain::token::Token;
use key_authority_http_credential::{BearerError, Challenge, Scheme, credential, split};
use key_authority_server::testing::Authenticator;
use percent_encoding::percent_decode_str;

use super::resident;
use crate::Target;
use crate::input::{CANARY, assert_hidden};

/// The reader with its rule.
pub static TARGET: Target = Target {
    name: "authorization",
    run,
    seeds,
    dictionary: &[b"Bearer ", b"Basic ", b", Bearer ", b",basic\t", b"CANARY7Q", b"\"", b"\\", b"%22", b"ka_"],
    memory: (65_536, 256),
};

fn run(input: &[u8]) {
    check_credential(input);
    check_split(input);
    check_pair(input);
    check_authentication(input);
    check_challenge(&String::from_utf8_lossy(input));
}

/// A credential is the scheme, white space, and the rest, by RFC 9110.
fn check_credential(field: &[u8]) {
    let found = credential(field);
    let trimmed = field.trim_ascii();
    let end = trimmed.iter().position(u8::is_ascii_whitespace).unwrap_or(trimmed.len());
    let (name, value) = trimmed.split_at(end);
    let scheme = match name.to_ascii_lowercase().as_slice() {
        b"bearer" => Some(Scheme::Bearer),
        b"basic" => Some(Scheme::Basic),
        _ => None,
    };
    assert_eq!(found.map(|found| found.scheme), scheme);
    let Some(found) = found else { return };
    assert_eq!(found.value, value.trim_ascii());
    assert_hidden(&format!("{found:?}"));
    let (user, password) = found.user_and_password();
    assert!(user.is_empty() || !user.contains(':'));
    let decoded = BASE64_STANDARD.decode(found.value).unwrap_or_default();
    let decoded = String::from_utf8_lossy(&decoded);
    let pair = if decoded.contains(':') { format!("{user}:{password}") } else { format!("{user}{password}") };
    assert!(pair == decoded || pair.is_empty());
}

/// Splitting loses nothing, and what it separates begins with a scheme.
fn check_split(field: &[u8]) {
    let parts = split(field);
    assert_eq!(parts.join(&b','), field);
    assert!(parts.iter().skip(1).all(|part| credential(part).is_some()), "{parts:?}");
    let joined = [b"Bearer a,", field].concat();
    assert_eq!(split(&joined).first() == Some(&&b"Bearer a"[..]), split(&[b"x,", field].concat()).len() > parts.len());
}

/// A user and a password come out as they went in.
fn check_pair(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (user, password) = text.split_once(':').unwrap_or(("", &text));
    let field = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
    let pair = credential(field.as_bytes()).map(|found| found.user_and_password());
    assert_eq!(pair, Some((user.to_owned(), password.to_owned())));
}

/// A caller is read exactly when the value is a bearer token in the authority's format, and the token is not shown.
fn check_authentication(field: &[u8]) {
    static AUTHENTICATOR: OnceLock<Option<Authenticator>> = OnceLock::new();
    let made = || Authority::keyring().ok().map(|keyring| Authenticator::new(keyring.into(), None));
    let (Ok(value), Some(authenticator)) = (HeaderValue::from_bytes(field), AUTHENTICATOR.get_or_init(made)) else {
        return;
    };
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    let read = authenticator.authenticate(&headers);
    let bearer = credential(field).filter(|found| found.scheme == Scheme::Bearer);
    let token = bearer.and_then(|found| std::str::from_utf8(found.value).ok());
    assert_eq!(read.is_ok(), token.is_some_and(|token| Token::parse(token).is_ok()));
    let shown = format!("{read:?}");
    assert_hidden(&shown);
    assert!(token.is_none_or(|token| read.is_err() || !shown.contains(token)));
}

/// A challenge is a valid header value, and no attribute leaves its quotes.
fn check_challenge(text: &str) {
    let scopes: Vec<String> = text.split(',').map(str::to_owned).collect();
    let challenge =
        Challenge { realm: Some(text), error: Some((BearerError::InsufficientScope, text)), scopes: &scopes };
    let shown = challenge.to_string();
    assert!(HeaderValue::from_str(&shown).is_ok(), "{shown}");
    let parts: Vec<&str> = shown.split('"').collect();
    let [_, realm, _, _, _, description, _, scope, ""] = &parts[..] else {
        unreachable!("four attributes in quotes: {shown}");
    };
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    assert_eq!((decoded(realm).as_str(), decoded(description).as_str()), (text, text));
    assert_eq!(scope.split(' ').map(decoded).collect::<Vec<_>>(), scopes);
}

fn seeds() -> Vec<Vec<u8>> {
    let token = resident::token(1);
    let pair = BASE64_STANDARD.encode(format!("key_1:{token}"));
    let seeds = [
        format!("Bearer {token}"),
        format!("bEARER\t {token} "),
        format!("Basic {pair}"),
        format!("Bearer {token}, Basic {pair},bearer {token}"),
        format!("Bearer {CANARY}"),
        format!("Basic {CANARY}"),
        "Bearer".to_owned(),
        "Basic ".to_owned(),
        "Bearer a b".to_owned(),
        "Bearer t,u,bearer".to_owned(),
        "Negotiate x,Bearer t".to_owned(),
        "Digest username=\"Mufasa\", realm=\"a\\b%\"".to_owned(),
        "Basic /w==".to_owned(),
        "key_1:é".to_owned(),
        String::new(),
    ];
    seeds.into_iter().map(String::into_bytes).chain([b"Bearer \xff".to_vec(), b"Bearer\0t".to_vec()]).collect()
}
