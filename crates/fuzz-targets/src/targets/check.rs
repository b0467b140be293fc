//! `Check` of hostile requests: always an answer, one that a proxy can apply, and permission only for a valid token.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderName, HeaderValue};
use key_authority_proto::ext_authz::attribute_context::{HttpRequest, Peer, Request};
use key_authority_proto::ext_authz::check_response::HttpResponse;
use key_authority_proto::ext_authz::{
    self as proto, Address, AttributeContext, CheckRequest, CheckResponse, HeaderValueOption, SocketAddress,
};
use key_authority_server::testing::untrusted;
use prost::Message;

use super::resident;
use crate::Target;
use crate::input::Input;

/// The reader with its rule.
pub static TARGET: Target = Target {
    name: "check",
    run,
    seeds,
    dictionary: &[
        b"$TOKEN",
        b"$BASIC",
        b"\n",
        b"authorization: Bearer ",
        b"authorization: Basic ",
        b"x-api-key: ",
        b"?key=",
        b"token_in: query:key",
        b"scopes: ",
        b"account: account-001",
        b"x-key-id: ",
        b"X_Key_Account: ",
        b", Bearer ",
        b"project: ",
        b"orders:read",
    ],
    memory: (131_072, 512),
};

/// The number of the key whose token the requests may carry.
const KEY: u64 = 1;

fn run(input: &[u8]) {
    let Some(authority) = resident::authority() else { return };
    let Ok(permit) = authority.resident.callers.authorize_verify(&authority.caller) else { return };
    let token = resident::token(KEY);
    let mut input = Input::new(input);
    // Bytes as any peer can send them, or lines, which mutate into requests that get further.
    let request = if input.byte().is_multiple_of(2) {
        let Ok(request) = CheckRequest::decode(input.rest()) else { return };
        request
    } else {
        of_lines(input, &token)
    };
    let Some(response) = untrusted::check(&authority.resident.verifier, &permit, &request) else {
        unreachable!("the replica has every version of the secret");
    };
    check_response(&request, &response, &token);
}

/// Reads a request: the path, the address of the client, and lines of the route, a blank line, and header lines.
fn of_lines(mut input: Input<'_>, token: &str) -> CheckRequest {
    let fill = |text: String| {
        let basic = BASE64_STANDARD.encode(format!(":{token}"));
        text.replace("$TOKEN", token).replace("$BASIC", &basic)
    };
    let form = input.byte();
    let (path, address) = (fill(input.line()), input.line());
    let mut http = HttpRequest { path: path.into(), ..HttpRequest::default() };
    let mut attributes = AttributeContext { source: Some(peer(address)), ..AttributeContext::default() };
    let mut is_route = true;
    while !input.is_empty() {
        let line = fill(input.line());
        let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
        if line.is_empty() {
            is_route = false;
        } else if is_route {
            attributes.context_extensions.insert(name.to_owned(), value.to_owned());
        } else if form.is_multiple_of(2) {
            http.headers.insert(name.to_owned(), value.into());
        } else {
            let header = proto::HeaderValue { key: name.into(), raw_value: value.into(), ..Default::default() };
            http.header_map.get_or_insert_default().headers.push(header);
        }
    }
    attributes.request = Some(Request { http: Some(http) });
    CheckRequest { attributes: Some(attributes) }
}

fn peer(address: String) -> Peer {
    Peer { address: Some(Address { socket_address: Some(SocketAddress { address }) }) }
}

fn check_response(request: &CheckRequest, response: &CheckResponse, token: &str) {
    let encoded = response.encode_to_vec();
    // A denial repeats the route's own names and scopes, for the person who configures the proxy.
    let route = request.attributes.iter().flat_map(|attributes| &attributes.context_extensions);
    let is_in_route = route.into_iter().any(|(name, value)| name.contains(token) || value.contains(token));
    assert!(is_in_route || !contains(&encoded, token.as_bytes()), "the token is in the response");
    let code = response.status.as_ref().map(|status| status.code);
    match &response.http_response {
        Some(HttpResponse::OkResponse(ok)) => {
            assert_eq!(code, Some(0));
            assert!(carries(request, token), "allowed without a token");
            check_headers(&ok.headers);
            let is_set =
                |name: &String| ok.headers.iter().flat_map(|option| &option.header).any(|set| set.key == *name);
            assert!(!ok.headers_to_remove.iter().any(is_set), "a header is set and removed");
        }
        Some(HttpResponse::DeniedResponse(denied)) => {
            assert!(code.is_some_and(|code| code != 0));
            assert!(denied.status.as_ref().is_some_and(|status| matches!(status.code, 400 | 401 | 403 | 500)));
            check_headers(&denied.headers);
        }
        None => unreachable!("a response without an answer"),
    }
}

/// A proxy drops a response whose headers it cannot set.
fn check_headers(headers: &[HeaderValueOption]) {
    for header in headers.iter().flat_map(|option| &option.header) {
        assert!(HeaderName::from_bytes(header.key.as_bytes()).is_ok(), "{:?}", header.key);
        assert!(HeaderValue::from_str(&header.value).is_ok(), "{:?}", header.key);
    }
}

/// Whether the token is in a header or in the path, plain or as a password in base64.
fn carries(request: &CheckRequest, token: &str) -> bool {
    let attributes = request.attributes.as_ref();
    let Some(http) = attributes.and_then(|attributes| attributes.request.as_ref()?.http.as_ref()) else { return false };
    let raw = http.header_map.iter().flat_map(|map| &map.headers).map(|header| &header.raw_value);
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let decodes = |word: &[u8]| contains(&BASE64_STANDARD.decode(word).unwrap_or_default(), token.as_bytes());
    http.headers
        .values()
        .chain(raw)
        .chain([&http.path])
        .any(|value| contains(value, token.as_bytes()) || value.split(|byte| !is_base64(byte)).any(decodes))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn seeds() -> Vec<Vec<u8>> {
    let lines = [
        "/\n10.0.0.1\n\nauthorization: Bearer $TOKEN",
        "/\n10.0.0.1\n\nauthorization: Basic $BASIC",
        "/a?b=c&key=$TOKEN\n\ntoken_in: query:key\n\n",
        "/\n\ntoken_in: x-api-key\n\nX-API-Key: $TOKEN\nx-key-id: spoofed\nX_Key_Account: spoofed",
        "/\n::1\nscopes: orders:read, orders:write\naccount: account-001\n\nauthorization: Bearer $TOKEN",
        "/\n::1\nscopes: admin, \"\\é\n\nauthorization: Bearer $TOKEN",
        "/\n::1\nproject: p\naccount: other\n\nauthorization: Bearer $TOKEN",
        "/\nno address\nscope: typo\n\u{1b}[31m: x\nscopes: \ntoken_in: query:a query:b\n\n",
        "/\n\n\nauthorization: Bearer $TOKEN, Bearer other\nauthorization: Bearer $TOKEN",
        "/\n\n\nauthorization: Negotiate x,Bearer $TOKEN\nx-key-label-team: spoofed",
        "/?key\n\ntoken_in: bearer,basic,x-api-key,query:key\n\n",
        "",
    ];
    let mut seeds = Vec::new();
    for (index, text) in lines.iter().enumerate() {
        let form = u8::from(index % 3 == 0);
        seeds.push([&[1, form], text.as_bytes()].concat());
        let request = of_lines(Input::new(&[&[form], text.as_bytes()].concat()), &resident::token(KEY));
        seeds.push([&[0], &request.encode_to_vec()[..]].concat());
    }
    seeds.push([&[0], &CheckRequest::default().encode_to_vec()[..]].concat());
    seeds
}
