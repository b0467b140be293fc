//! The requests of Verify, decoded in place. Nothing is copied, and nothing is allocated unless the request has scopes
//! or is invalid.
//!
//! The token is not validated at this point: there is a verdict for every token.

use std::borrow::Cow;
use std::fmt;

use key_authority_domain::access::{PROJECT_LEN_MAX, SCOPE_LEN_MAX, SCOPES_MAX};
use key_authority_domain::id::ID_LEN_MAX;
use key_authority_domain::verdict::{Question, Verdict};
use key_authority_proto::v1;

use crate::wire::access::client_ip;
use crate::wire::check::{Check, is_longer};
use crate::wire::fields::{Fields, Undecodable};
use crate::wire::violations::Violations;

/// The maximum number of questions in a batch.
pub const BATCH_MAX: usize = 1000;

/// A `VerifyRequest` that borrows from the buffer of its message.
#[derive(Default, PartialEq, Eq)]
pub(crate) struct VerifyRequestRef<'a> {
    /// The token, as its holder presented it.
    pub token: &'a str,
    /// The project that the key must cover. This and every other text is empty if the message does not have it.
    pub project: &'a str,
    /// The scopes that the key must have: at most one more than allowed.
    pub scopes: Vec<&'a str>,
    /// The address of the client.
    pub client_ip: &'a str,
    /// The account that must own the key.
    pub account: &'a str,
    /// The ID that the key must have.
    pub key_id: &'a str,
}

impl<'a> VerifyRequestRef<'a> {
    /// Decodes `message`.
    ///
    /// # Errors
    /// When the message is not a `VerifyRequest`; `prost` has the details.
    pub(crate) fn read(message: &'a [u8]) -> Result<Self, Undecodable> {
        Self::of(Fields::of(message))
    }

    /// Decodes `message`, a field of another message.
    ///
    /// # Errors
    /// When the message is not a `VerifyRequest`.
    fn read_nested(message: &'a [u8]) -> Result<Self, Undecodable> {
        Self::of(Fields::nested(message))
    }

    fn of(fields: Fields<'a>) -> Result<Self, Undecodable> {
        let mut request = Self::default();
        for field in fields {
            let (number, content) = field?;
            match number {
                1 => request.token = content.text()?,
                2 => request.project = content.text()?,
                3 => {
                    let scope = content.text()?;
                    // One more than allowed shows that there are too many.
                    if request.scopes.len() <= SCOPES_MAX {
                        request.scopes.push(scope);
                    }
                }
                4 => request.client_ip = content.text()?,
                5 => request.account = content.text()?,
                6 => request.key_id = content.text()?,
                _ => {}
            }
        }
        Ok(request)
    }

    /// Returns the question of the request. An empty field requires nothing. A text within its limit that no key can
    /// have is not an error: it matches nothing.
    ///
    /// # Errors
    /// Fields over their limits, and a `client_ip` that is no address.
    pub(crate) fn question(&self) -> Result<Question<'_>, Violations> {
        let mut check = Check::new();
        let project = limited(&mut check, "project", self.project, PROJECT_LEN_MAX);
        if self.scopes.len() > SCOPES_MAX {
            check.violation("scopes", format!("must be at most {SCOPES_MAX}"));
        } else {
            for (index, scope) in self.scopes.iter().enumerate() {
                if scope.is_empty() || is_longer(scope, SCOPE_LEN_MAX) {
                    check
                        .violation(format_args!("scopes[{index}]"), format!("must be 1 to {SCOPE_LEN_MAX} characters"));
                }
            }
        }
        let client_ip = client_ip(&mut check, self.client_ip);
        let account = limited(&mut check, "account", self.account, ID_LEN_MAX);
        let key_id = limited(&mut check, "key_id", self.key_id, ID_LEN_MAX);
        check.finish(|| Some(Question { key_id, account, project, scopes: &self.scopes, client_ip }))
    }
}

/// Decodes a `BatchVerifyRequest`, in order. Of too many questions, it returns one more than allowed.
///
/// # Errors
/// When the message is not a `BatchVerifyRequest`.
pub(crate) fn batch(message: &[u8]) -> Result<Vec<VerifyRequestRef<'_>>, Undecodable> {
    let mut all = Vec::new();
    for field in Fields::of(message) {
        if let (1, content) = field? {
            let request = VerifyRequestRef::read_nested(content.bytes()?)?;
            if all.len() <= BATCH_MAX {
                all.push(request);
            }
        }
    }
    Ok(all)
}

/// Returns the questions of a batch.
///
/// # Errors
/// Too many questions, or the violations of any of them, as in `requests[10].client_ip`.
pub(crate) fn questions<'a>(batch: &'a [VerifyRequestRef<'a>]) -> Result<Vec<Question<'a>>, Violations> {
    let mut check = Check::new();
    if batch.len() > BATCH_MAX {
        check.violation("requests", format!("must be at most {BATCH_MAX}"));
        return check.finish(|| None);
    }
    let mut questions = Vec::with_capacity(batch.len());
    for (index, request) in batch.iter().enumerate() {
        match request.question() {
            Ok(question) => questions.push(question),
            Err(violations) => check.absorb(violations.within(format_args!("requests[{index}]"))),
        }
    }
    check.finish(|| Some(questions))
}

/// A `VerifyStreamRequest` that borrows from the buffer of its message.
#[derive(Default)]
pub(crate) struct StreamRequestRef<'a> {
    /// The number of the question.
    pub id: u64,
    /// The encoded question, if there is one.
    pub request: Option<Cow<'a, [u8]>>,
}

impl StreamRequestRef<'_> {
    /// Decodes the question, if there is one.
    ///
    /// # Errors
    /// When it is not a `VerifyRequest`.
    pub(crate) fn body(&self) -> Result<Option<VerifyRequestRef<'_>>, Undecodable> {
        self.request.as_deref().map(VerifyRequestRef::read_nested).transpose()
    }
}

/// Decodes a message of a stream.
///
/// # Errors
/// When it is not a `VerifyStreamRequest`.
pub(crate) fn stream_request(message: &[u8]) -> Result<StreamRequestRef<'_>, Undecodable> {
    let mut question = StreamRequestRef::default();
    for field in Fields::of(message) {
        match field? {
            (1, content) => question.id = content.number()?,
            (2, content) => {
                let bytes = content.bytes()?;
                question.request = Some(match question.request {
                    None => Cow::Borrowed(bytes),
                    Some(parts) => merged(parts, bytes)?,
                });
            }
            _ => {}
        }
    }
    Ok(question)
}

/// Merges a message field that occurs again: its parts are concatenated, but each must be whole by itself.
///
/// # Errors
/// When a part is not a `VerifyRequest`.
fn merged<'a>(parts: Cow<'a, [u8]>, next: &'a [u8]) -> Result<Cow<'a, [u8]>, Undecodable> {
    // What is owned was merged, and validated, before. A message of many parts must not be read again for each.
    if let Cow::Borrowed(first) = parts {
        VerifyRequestRef::read_nested(first)?;
    }
    VerifyRequestRef::read_nested(next)?;
    let mut parts = parts.into_owned();
    parts.extend_from_slice(next);
    Ok(parts.into())
}

/// Converts a verdict.
#[must_use]
pub(crate) const fn verdict_to_proto(verdict: Verdict) -> v1::Verdict {
    match verdict {
        Verdict::Valid => v1::Verdict::Valid,
        Verdict::Malformed => v1::Verdict::Malformed,
        Verdict::Unknown => v1::Verdict::Unknown,
        Verdict::Disabled => v1::Verdict::Disabled,
        Verdict::Revoked => v1::Verdict::Revoked,
        Verdict::Expired => v1::Verdict::Expired,
        Verdict::AccountSuspended => v1::Verdict::AccountSuspended,
        Verdict::ProjectDenied => v1::Verdict::ProjectDenied,
        Verdict::ScopeDenied => v1::Verdict::ScopeDenied,
        Verdict::NetworkDenied => v1::Verdict::NetworkDenied,
    }
}

fn limited<'a>(check: &mut Check, field: impl fmt::Display, text: &'a str, max: usize) -> Option<&'a str> {
    if is_longer(text, max) {
        check.violation(field, format!("must be at most {max} characters"));
    }
    if text.is_empty() { None } else { Some(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    use proptest::prelude::*;
    use prost::Message as _;

    /// Returns the client address of the question, or the names of the invalid fields.
    fn fields(request: &v1::VerifyRequest) -> Result<Option<IpAddr>, String> {
        let bytes = request.encode_to_vec();
        let request = VerifyRequestRef::read(&bytes).map_err(|_| "undecodable")?;
        let named = |violations: Violations| {
            violations.into_iter().map(|violation| violation.field).collect::<Vec<_>>().join(" ")
        };
        request.question().map(|question| question.client_ip).map_err(named)
    }

    fn wrong(request: &v1::VerifyRequest) -> String {
        fields(request).unwrap_err()
    }

    #[test]
    fn empty_fields_require_nothing() {
        let bytes = v1::VerifyRequest { token: "not validated".repeat(1000), ..Default::default() }.encode_to_vec();
        let request = VerifyRequestRef::read(&bytes).ok().unwrap();
        let question = request.question().unwrap();
        assert_eq!((question.key_id, question.account, question.project), (None, None, None));
        assert!(question.scopes.is_empty() && question.client_ip.is_none());
    }

    #[test]
    fn each_field_may_be_as_long_as_its_limit_and_no_longer() {
        let at_limit = v1::VerifyRequest {
            project: "é".repeat(256),
            scopes: vec!["é".repeat(128); 100],
            client_ip: "::ffff:192.0.2.7".into(),
            account: "é".repeat(64),
            key_id: "no id at all \0".into(),
            ..Default::default()
        };
        assert!(fields(&at_limit).is_ok());

        assert_eq!(wrong(&v1::VerifyRequest { project: "é".repeat(257), ..Default::default() }), "project");
        assert_eq!(wrong(&v1::VerifyRequest { account: "é".repeat(65), ..Default::default() }), "account");
        assert_eq!(wrong(&v1::VerifyRequest { key_id: "a".repeat(65), ..Default::default() }), "key_id");
        assert_eq!(wrong(&v1::VerifyRequest { scopes: vec!["a".into(); 101], ..Default::default() }), "scopes");
        let scopes = vec!["a b".into(), String::new(), "é".repeat(129)];
        assert_eq!(wrong(&v1::VerifyRequest { scopes, ..Default::default() }), "scopes[1] scopes[2]");
    }

    #[test]
    fn a_client_ip_is_an_address_and_nothing_else() {
        for good in ["192.0.2.7", "2001:db8::1", "::ffff:10.0.0.1"] {
            let request = v1::VerifyRequest { client_ip: good.into(), ..Default::default() };
            assert_eq!(fields(&request), Ok(good.parse().ok()));
        }
        for bad in ["192.0.2.7:80", "[::1]", "10.0.0.0/8", "fe80::1%eth0", "localhost", " ", "010.0.0.1"] {
            assert_eq!(wrong(&v1::VerifyRequest { client_ip: bad.into(), ..Default::default() }), "client_ip", "{bad}");
        }
    }

    #[test]
    fn a_batch_names_the_invalid_question() {
        let count = |requests: &[v1::VerifyRequest]| {
            let bytes = v1::BatchVerifyRequest { requests: requests.to_vec() }.encode_to_vec();
            let batch = batch(&bytes).ok().unwrap();
            questions(&batch).map(|questions| questions.len()).map_err(|violations| violations.to_string())
        };
        let mut requests = vec![v1::VerifyRequest::default(); 1000];
        assert_eq!(count(&requests), Ok(1000));
        assert_eq!(count(&[]), Ok(0));
        requests[10].client_ip = "x".into();
        assert!(count(&requests).unwrap_err().starts_with("requests[10].client_ip must be"));
        requests.push(v1::VerifyRequest::default());
        assert_eq!(count(&requests), Err("requests must be at most 1000".to_owned()));
    }

    #[test]
    fn every_verdict_has_its_own_number() {
        let mut numbers: Vec<_> = Verdict::ALL.iter().map(|verdict| verdict_to_proto(*verdict) as i32).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
    }

    /// Fails unless both decoders read the same from `bytes`.
    fn assert_read_alike(bytes: &[u8]) {
        let ours = VerifyRequestRef::read(bytes).ok().map(|request| v1::VerifyRequest {
            token: request.token.to_owned(),
            project: request.project.to_owned(),
            scopes: request.scopes.iter().copied().map(str::to_owned).collect(),
            client_ip: request.client_ip.to_owned(),
            account: request.account.to_owned(),
            key_id: request.key_id.to_owned(),
        });
        assert_eq!(ours, v1::VerifyRequest::decode(bytes).ok(), "{bytes:?}");
        let ours = stream_request(bytes).ok();
        let ours = ours.and_then(|request| Some((request.id, request.body().ok()?.is_some())));
        let theirs =
            v1::VerifyStreamRequest::decode(bytes).ok().map(|question| (question.id, question.request.is_some()));
        assert_eq!(ours, theirs, "{bytes:?}");
        let theirs = v1::BatchVerifyRequest::decode(bytes).ok().map(|batch| batch.requests.len());
        assert_eq!(batch(bytes).ok().map(|batch| batch.len()), theirs, "{bytes:?}");
    }

    /// A field of type `bytes`.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
    }

    #[test]
    fn parts_of_a_question_that_are_whole_only_together_are_rejected() {
        for parts in [[&b"\x0a\x01a"[..], b"\x12\x01p"], [b"\x0a\x05ab", b"cde"], [b"\x3b", b"\x3c"]] {
            assert_read_alike(&parts.map(|part| field(2, part)).concat());
        }
    }

    #[test]
    fn groups_may_be_nested_as_deep_as_in_prost() {
        for depth in 97..=101 {
            let groups = [[0x3b].repeat(depth), [0x3c].repeat(depth)].concat();
            assert_read_alike(&groups);
            if let Ok(len) = u8::try_from(groups.len()) {
                let field = |number: u8| [&[number << 3 | 2, len & 0x7f | 0x80, len >> 7], &groups[..]].concat();
                assert_read_alike(&field(1));
                assert_read_alike(&field(2));
            }
        }
    }

    proptest! {
        #[test]
        fn noise_is_read_as_prost_reads_it(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            assert_read_alike(&bytes);
        }

        /// Fields of every number and type, some of them cut off.
        #[test]
        fn fields_are_read_as_prost_reads_them(
            fields in prop::collection::vec((1_u32..9, 0_u8..6, prop::collection::vec(any::<u8>(), 0..6)), 0..6),
            cut in 0_usize..8,
        ) {
            let mut bytes = Vec::new();
            for (number, wire_type, content) in fields {
                prost::encoding::encode_varint(u64::from(number << 3 | u32::from(wire_type)), &mut bytes);
                if wire_type == 2 {
                    bytes.push(u8::try_from(content.len()).unwrap());
                }
                bytes.extend(content);
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            assert_read_alike(&bytes);
        }
    }
}
