//! The response for a request that may pass: the headers to add, and what to remove.

use std::collections::BTreeMap;

use key_authority_proto::ext_authz::check_response::HttpResponse;
use key_authority_proto::ext_authz::header_value_option::HeaderAppendAction;
use key_authority_proto::ext_authz::{CheckResponse, HeaderValue, HeaderValueOption, OkHttpResponse, Status};
use key_authority_replica::index::KeyRecord;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::credential::Presented;
use super::headers::{Headers, plain};

const SCOPES: &str = "x-key-scopes";

/// The characters that are percent-encoded in a header: everything but printable ASCII, and the percent sign itself.
const IN_HEADER: &AsciiSet = &CONTROLS.add(b'%');

/// Allows a request. Its upstream gets headers that describe the key, and not the credential.
pub(super) fn allowed(record: &KeyRecord, presented: &Presented<'_>, headers: &Headers<'_>) -> CheckResponse {
    let identity = identity_headers(record);
    // The proxy removes headers after it has set others, so a name that is set must not be removed; setting it replaces
    // the client's value. A name that could be set but is not is removed, even if the proxy did not report that the
    // client sent it.
    let reserved = headers.reserved().chain([SCOPES]).filter(|name| !identity.contains_key(*name));
    let ok = OkHttpResponse {
        headers_to_remove: presented.headers.iter().copied().chain(reserved).map(str::to_owned).collect(),
        query_parameters_to_remove: presented.parameter.into_iter().map(str::to_owned).collect(),
        headers: identity.into_iter().map(|(name, value)| set(name, value)).collect(),
    };
    CheckResponse { status: Some(Status::default()), http_response: Some(HttpResponse::OkResponse(ok)) }
}

/// Returns the headers that describe a key.
fn identity_headers(record: &KeyRecord) -> BTreeMap<String, String> {
    let mut headers = labels(record.labels());
    headers.insert("x-key-id".into(), record.id().as_str().into());
    headers.insert("x-key-account".into(), record.account().as_str().into());
    if !record.access().scopes.is_empty() {
        let scopes = record.access().scopes.iter().map(|scope| in_header(scope.as_str()));
        headers.insert(SCOPES.into(), scopes.collect::<Vec<_>>().join(" "));
    }
    headers
}

/// Returns the headers of labels. Labels whose header names collide are all left out: a reader could mistake one for
/// another.
fn labels<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::<_, Option<String>>::new();
    for (name, value) in labels {
        let name = format!("x-key-labels-{}", plain(name));
        headers.entry(name).and_modify(|twice| *twice = None).or_insert_with(|| Some(in_header(value)));
    }
    headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn in_header(text: &str) -> String {
    utf8_percent_encode(text, IN_HEADER).to_string()
}

/// Makes a header that replaces all headers of its name.
pub(super) fn set(key: impl Into<String>, value: impl Into<String>) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: key.into(), value: value.into(), ..HeaderValue::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[(&str, &str)]) -> Vec<(String, String)> {
        labels(all.iter().copied()).into_iter().collect()
    }

    #[test]
    fn labels_become_headers_and_colliding_ones_are_left_out() {
        let headers = names(&[("Team/A", "blue é%"), ("tier", ""), ("a.b", "1"), ("a-b", "2"), ("A_B", "3")]);
        let wanted = [("x-key-labels-team-a", "blue %C3%A9%25"), ("x-key-labels-tier", "")];
        assert_eq!(headers, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
