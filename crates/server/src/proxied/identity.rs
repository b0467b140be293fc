//! The headers that describe a key to the service behind the proxy.

use std::collections::BTreeMap;

use key_authority_replica::index::KeyRecord;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::headers::plain;

/// The header with the scopes of the key, which is absent if it has none.
pub(crate) const SCOPES: &str = "x-key-scopes";

/// The characters that are percent-encoded in a header: everything but printable ASCII, and the percent sign itself.
const IN_HEADER: &AsciiSet = &CONTROLS.add(b'%');

/// Returns the headers that describe a key.
pub(crate) fn identity_headers(record: &KeyRecord) -> BTreeMap<String, String> {
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
        let name = format!("x-key-label-{}", plain(name));
        headers.entry(name).and_modify(|twice| *twice = None).or_insert_with(|| Some(in_header(value)));
    }
    headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn in_header(text: &str) -> String {
    utf8_percent_encode(text, IN_HEADER).to_string()
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
        let wanted = [("x-key-label-team-a", "blue %C3%A9%25"), ("x-key-label-tier", "")];
        assert_eq!(headers, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
