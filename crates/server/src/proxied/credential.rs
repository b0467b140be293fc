//! The credential of a proxied request, in any of the places that the route allows.

use std::borrow::Cow;

use key_authority_http_credential::{self as http_credential, Scheme};

use super::headers::Headers;
use super::route::Places;

const AUTHORIZATION: &str = "authorization";
const API_KEY: &str = "x-api-key";

/// The credential that a client presents.
#[derive(PartialEq, Eq)]
pub(crate) struct Credential {
    /// The key that the token must belong to, if the client names one.
    pub(crate) key_id: Option<String>,
    /// The token, not parsed yet.
    pub(crate) token: String,
}

/// A credential and its places, from which the proxy removes it.
pub(crate) struct Presented<'a> {
    pub(crate) credential: Credential,
    pub(crate) headers: Vec<&'static str>,
    pub(crate) parameter: Option<&'a str>,
}

/// The request has different credentials. The authority does not choose between them.
#[derive(Debug)]
pub(super) struct Ambiguous;

/// Finds the credential of a request with these `headers`. The proxy may name its path more than once.
pub(super) fn find<'a>(
    places: &Places<'a>,
    headers: &Headers<'_>,
    paths: &[&[u8]],
) -> Result<Option<Presented<'a>>, Ambiguous> {
    let mut found = Vec::new();
    let (mut in_headers, mut in_parameter) = (Vec::new(), None);
    if let Some(value) = headers.get(AUTHORIZATION) {
        found.extend(
            http_credential::split(value.as_bytes()).into_iter().filter_map(|value| authorization(places, value)),
        );
        in_headers.extend((!found.is_empty()).then_some(AUTHORIZATION));
    }
    if places.api_key
        && let Some(token) = headers.get(API_KEY)
    {
        in_headers.push(API_KEY);
        found.push(Credential { key_id: None, token: token.trim().to_owned() });
    }
    if let Some(name) = places.parameter {
        for value in paths.iter().flat_map(|path| parameters(path, name)) {
            in_parameter = Some(name);
            found.push(Credential { key_id: None, token: value.into_owned() });
        }
    }
    let Some(credential) = found.pop() else { return Ok(None) };
    if found.iter().any(|other| *other != credential) {
        return Err(Ambiguous);
    }
    Ok(Some(Presented { credential, headers: in_headers, parameter: in_parameter }))
}

/// Returns the credential of one `Authorization` value; `None` if this route takes no tokens under its scheme. The
/// value of `Basic` is a key ID as user and a token as password.
fn authorization(places: &Places<'_>, value: &[u8]) -> Option<Credential> {
    let found = http_credential::credential(value)?;
    match found.scheme {
        Scheme::Bearer if places.bearer => {
            Some(Credential { key_id: None, token: String::from_utf8_lossy(found.value).into_owned() })
        }
        Scheme::Basic if places.basic => {
            let (user, token) = found.user_and_password();
            Some(Credential { key_id: Some(user).filter(|user| !user.is_empty()), token })
        }
        Scheme::Bearer | Scheme::Basic => None,
    }
}

/// Returns the values of a query parameter without percent-decoding: no character of a token needs to be encoded. The
/// name is compared byte for byte, since the proxy removes it that way.
fn parameters<'a>(path: &'a [u8], name: &str) -> impl Iterator<Item = Cow<'a, str>> {
    let query = path
        .iter()
        .position(|byte| *byte == b'?')
        .and_then(|question_mark| path.get(question_mark + 1..))
        .unwrap_or_default();
    query
        .split(|byte| *byte == b'&')
        .filter_map(move |pair| match pair.strip_prefix(name.as_bytes())? {
            [] => Some(&[][..]),
            [b'=', value @ ..] => Some(value),
            _ => None,
        })
        .map(String::from_utf8_lossy)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Places<'_> = Places { bearer: true, basic: true, api_key: true, parameter: Some("key") };

    /// Formats the key ID, token and places of the credential, or `ambiguous`.
    fn found(places: &Places<'_>, headers: &[(&str, &str)], path: &str) -> Option<String> {
        let headers = headers.iter().map(|&(name, value)| (name, value.as_bytes()));
        match find(places, &Headers::of(headers), &[path.as_bytes()]) {
            Err(Ambiguous) => Some("ambiguous".into()),
            Ok(presented) => presented.map(|Presented { credential, headers, parameter }| {
                let Credential { key_id, token } = credential;
                let carriers = headers.into_iter().chain(parameter).collect::<Vec<_>>().join("+");
                format!("{}{token} in {carriers}", key_id.map(|id| id + ":").unwrap_or_default())
            }),
        }
    }

    #[test]
    fn a_token_is_found_in_each_place() {
        let found = |headers: &[_], path| found(&ALL, headers, path);
        assert_eq!(found(&[], "/key=t?x=key"), None);
        assert_eq!(found(&[("authorization", "bEARER  t ")], "/").unwrap(), "t in authorization");
        assert_eq!(found(&[("authorization", "Bearer\tt")], "/").unwrap(), "t in authorization");
        assert_eq!(found(&[("authorization", "Basic aWQ6dDp1")], "/").unwrap(), "id:t:u in authorization");
        assert_eq!(found(&[("authorization", "Basic OnQ=")], "/").unwrap(), "t in authorization");
        assert_eq!(found(&[("x-api-key", " t")], "/").unwrap(), "t in x-api-key");
        assert_eq!(found(&[], "/a?b=c&key=t?u&keys=x").unwrap(), "t?u in key");
    }

    #[test]
    fn a_credential_without_a_token_is_an_empty_token_and_not_none() {
        for value in ["Bearer", "Bearer ", "Basic", "Basic !", "Basic aWQ", "Basic aWQ=", "basic /w=="] {
            assert_eq!(found(&ALL, &[("authorization", value)], "/").unwrap(), " in authorization", "{value}");
        }
        assert_eq!(found(&ALL, &[("x-api-key", "")], "/").unwrap(), " in x-api-key");
        assert_eq!(found(&ALL, &[], "/?key").unwrap(), " in key");
    }

    #[test]
    fn a_repeated_token_is_one_credential_and_two_tokens_are_ambiguous() {
        let bearer = ("authorization", "Bearer t");
        assert_eq!(
            found(&ALL, &[bearer, ("x-api-key", "t")], "/?key=t&key=t").unwrap(),
            "t in authorization+x-api-key+key"
        );
        assert_eq!(found(&ALL, &[bearer, ("x-api-key", "u")], "/").unwrap(), "ambiguous");
        assert_eq!(found(&ALL, &[], "/?key=t&key=u").unwrap(), "ambiguous");
        // With the ID of a key, the same token is another credential.
        assert_eq!(found(&ALL, &[("authorization", "Basic aWQ6dA=="), ("x-api-key", "t")], "/").unwrap(), "ambiguous");
    }

    #[test]
    fn several_authorization_headers_must_be_equal() {
        let found = |value| found(&ALL, &[("authorization", value)], "/").unwrap();
        assert_eq!(found("Bearer t,Bearer t"), "t in authorization");
        assert_eq!(found("Bearer t, bearer\tt"), "t in authorization");
        assert_eq!(found("Bearer t,Bearer u"), "ambiguous");
        assert_eq!(found("Bearer t,Bearer t,Bearer u"), "ambiguous");
        assert_eq!(found("Bearer t,Basic aWQ6dA=="), "ambiguous");
        assert_eq!(found("Negotiate x,Bearer t"), "t in authorization");
        // A comma without a scheme after it belongs to the token.
        assert_eq!(found("Bearer t,u,Bearer"), "t,u,Bearer in authorization");
    }

    #[test]
    fn a_place_that_the_route_does_not_name_is_ignored() {
        let only_key = Places { bearer: false, basic: false, api_key: true, parameter: None };
        let headers = [("authorization", "Bearer jwt"), ("x-api-key", "t")];
        assert_eq!(found(&only_key, &headers, "/?key=u").unwrap(), "t in x-api-key");
        assert_eq!(found(&Places::default(), &[("authorization", "Negotiate t")], "/?key=u"), None);
        // The name is compared byte for byte, since the proxy removes it that way.
        assert_eq!(found(&ALL, &[], "/?k%65y=t"), None);
    }
}
