//! What a request gets, and what it loses, that may pass.

use std::collections::BTreeMap;

use key_authority_proto::ext_authz::check_response::HttpResponse;
use key_authority_proto::ext_authz::header_value_option::HeaderAppendAction;
use key_authority_proto::ext_authz::{CheckResponse, HeaderValue, HeaderValueOption, OkHttpResponse, Status};
use key_authority_replica::index::KeyRecord;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::credential::Presented;
use super::headers::{Headers, plain};

const SCOPES: &str = "x-key-scopes";

/// What is written in another way in a header: what is not printable ASCII, and the mark of what is.
pub(super) const IN_HEADER: &AsciiSet = &CONTROLS.add(b'%');

/// Lets a request pass, with what its upstream may know of the key, and without what proved it.
pub(super) fn allowed(secret: &KeyRecord, presented: &Presented<'_>, headers: &Headers<'_>) -> CheckResponse {
    let told = told(secret);
    // The proxy removes after it has set: a name that is set is not removed, but replaced. One that could be set, and is
    // not, is removed even if the proxy did not tell that the client sent it.
    let ours = headers.ours().chain([SCOPES]).filter(|name| !told.contains_key(*name));
    let ok = OkHttpResponse {
        headers_to_remove: presented.headers.iter().copied().chain(ours).map(str::to_owned).collect(),
        query_parameters_to_remove: presented.parameter.into_iter().map(str::to_owned).collect(),
        headers: told.into_iter().map(|(name, value)| set(name, value)).collect(),
    };
    CheckResponse { status: Some(Status::default()), http_response: Some(HttpResponse::OkResponse(ok)) }
}

/// The headers that tell of a key.
fn told(secret: &KeyRecord) -> BTreeMap<String, String> {
    let mut told = labels(secret.labels());
    told.insert("x-key-id".into(), secret.id().as_str().into());
    told.insert("x-key-account".into(), secret.account().as_str().into());
    if !secret.access().scopes.is_empty() {
        let scopes = secret.access().scopes.iter().map(|scope| in_header(scope.as_str()));
        told.insert(SCOPES.into(), scopes.collect::<Vec<_>>().join(" "));
    }
    told
}

/// The headers of labels. Of several labels that would be one header none is told: whoever reads it could take one for another.
fn labels<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    let mut told = BTreeMap::<_, Option<String>>::new();
    for (name, value) in labels {
        let name = format!("x-key-labels-{}", plain(name));
        told.entry(name).and_modify(|twice| *twice = None).or_insert_with(|| Some(in_header(value)));
    }
    told.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn in_header(text: &str) -> String {
    utf8_percent_encode(text, IN_HEADER).to_string()
}

/// A header in place of all that have its name.
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
    fn a_label_is_a_header_and_of_several_that_would_be_one_none_is() {
        let told = names(&[("Team/A", "blue é%"), ("tier", ""), ("a.b", "1"), ("a-b", "2"), ("A_B", "3")]);
        let wanted = [("x-key-labels-team-a", "blue %C3%A9%25"), ("x-key-labels-tier", "")];
        assert_eq!(told, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
