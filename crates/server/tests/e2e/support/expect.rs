//! What to expect of a call that is refused: the code, the reason, and the field at fault.

use std::collections::BTreeMap;

use prost::Message as _;
use prost_types::source_code_info::Location;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of every reason.
pub(crate) const DOMAIN: &str = "keyauthority";

/// Fails unless the call was refused with this code and reason; returns what the error says.
#[track_caller]
pub(crate) fn refused<T>(result: Result<T, Status>, code: Code, reason: &str) -> (Status, ErrorDetails) {
    let Err(status) = result else { panic!("the call succeeded; expected {code:?}, {reason}") };
    let details = status.get_error_details();
    assert_eq!(status.code(), code, "expected {reason}, got: {}", status.message());
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo in: {status:?}"));
    assert_eq!((info.domain.as_str(), info.reason.as_str()), (DOMAIN, reason), "{}", status.message());
    assert!(!status.message().is_empty(), "an error explains itself");
    (status, details)
}

/// Fails unless the call was refused with `INVALID_ARGUMENT` and a violation of `field` or of a part of it (`field[3]`,
/// `field.part`) with its rule; returns the rule.
#[track_caller]
pub(crate) fn invalid<T>(result: Result<T, Status>, field: &str) -> String {
    let Err(status) = result else { panic!("the call succeeded; expected a violation of {field}") };
    invalid_status(&status, field)
}

#[track_caller]
pub(crate) fn invalid_status(status: &Status, field: &str) -> String {
    let (_, details) = refused::<()>(Err(status.clone()), Code::InvalidArgument, "FIELD_INVALID");
    let violations = &details.bad_request().expect("INVALID_ARGUMENT carries a BadRequest").field_violations;
    let is_named = |named: &str| {
        named.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('[') || rest.starts_with('.'))
    };
    let violation = violations.iter().find(|violation| is_named(&violation.field));
    let violation = violation.unwrap_or_else(|| panic!("{field} is not named: {violations:?}"));
    assert!(!violation.description.is_empty(), "{field}: the rule is told");
    violation.description.clone()
}

/// The permissions that the comment of each method names in its line `Permission:`.
pub(crate) fn permissions_in_comments() -> BTreeMap<String, Vec<String>> {
    let set = prost_types::FileDescriptorSet::decode(key_authority_proto::FILE_DESCRIPTOR_SET).unwrap();
    let file = set.file.iter().find(|file| file.name().ends_with("/key_authority.proto")).unwrap();
    let methods = &file.service[0].method;
    // Field 6 of a file is its services, field 2 of a service its methods.
    let of_method = |location: &Location| match location.path[..] {
        [6, 0, 2, method] => Some((methods[usize::try_from(method).unwrap()].name().to_owned(), location.clone())),
        _ => None,
    };
    let locations = &file.source_code_info.as_ref().unwrap().location;
    locations
        .iter()
        .filter_map(of_method)
        .map(|(method, location)| (method, permissions(location.leading_comments())))
        .collect()
}

/// The names in backquotes after `Permission:`, up to the end of the clause.
fn permissions(comment: &str) -> Vec<String> {
    let line = comment.split("Permission: ").nth(1).unwrap_or_default();
    let mut parts = line.split('`').skip(1);
    let mut names = Vec::new();
    while let Some(name) = parts.next() {
        names.push(name.to_owned());
        if parts.next().is_none_or(|between| between.contains(['.', ',', ';'])) {
            break;
        }
    }
    names
}

/// The methods of `keyauthority.v1.KeyAuthority`, out of the descriptor set that reflection serves.
pub(crate) fn methods() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(key_authority_proto::FILE_DESCRIPTOR_SET).unwrap();
    let ours = set.file.into_iter().filter(|file| file.package() == "keyauthority.v1");
    let methods: Vec<_> = ours.flat_map(|file| file.service).flat_map(|service| service.method).collect();
    assert!(methods.len() > 20, "the descriptor set is whole: {methods:?}");
    methods.into_iter().filter_map(|method| method.name).collect()
}
