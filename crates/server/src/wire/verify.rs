//! The question of Verify and the name of its answer. This is the hot path: nothing is copied, and nothing is allocated
//! unless the question is invalid.
//!
//! The token is not looked at here: whatever it is, there is a verdict for it.

use std::fmt;
use std::net::IpAddr;

use key_authority_domain::access::{PROJECT_LEN_MAX, SCOPE_LEN_MAX, SCOPES_MAX};
use key_authority_domain::id::ID_LEN_MAX;
use key_authority_domain::verdict::{Question, Verdict};
use key_authority_proto::v1;

use super::violations::{Check, Violations};

/// Most questions of a batch.
pub const BATCH_MAX: usize = 1000;

/// Reads a question. Empty fields ask nothing. A text within its limit that no key can have is no mistake: it matches
/// nothing.
///
/// # Errors
/// Fields over their limits, and a `client_ip` that is no address.
pub fn question(request: &v1::VerifyRequest) -> Result<Question<'_>, Violations> {
    let mut check = Check::new();
    let project = asked(&mut check, "project", &request.project, PROJECT_LEN_MAX);
    if request.scopes.len() > SCOPES_MAX {
        check.violation("scopes", format!("must be at most {SCOPES_MAX}"));
    } else {
        for (index, scope) in request.scopes.iter().enumerate() {
            if scope.is_empty() || is_longer(scope, SCOPE_LEN_MAX) {
                check.violation(format_args!("scopes[{index}]"), format!("must be 1 to {SCOPE_LEN_MAX} characters"));
            }
        }
    }
    let client_ip = client_ip(&mut check, &request.client_ip);
    let account = asked(&mut check, "account", &request.account, ID_LEN_MAX);
    let key_id = asked(&mut check, "key_id", &request.key_id, ID_LEN_MAX);
    check.finish(|| Some(Question { key_id, account, project, scopes: &request.scopes, client_ip }))
}

/// Reads a batch of questions, in order.
///
/// # Errors
/// Too many questions, or what is wrong with any of them, as in `requests[10].client_ip`.
pub fn batch(request: &v1::BatchVerifyRequest) -> Result<Vec<Question<'_>>, Violations> {
    let mut check = Check::new();
    if request.requests.len() > BATCH_MAX {
        check.violation("requests", format!("must be at most {BATCH_MAX}"));
        return check.finish(|| None);
    }
    let mut questions = Vec::with_capacity(request.requests.len());
    for (index, request) in request.requests.iter().enumerate() {
        match question(request) {
            Ok(question) => questions.push(question),
            Err(violations) => check.absorb(violations.within(format_args!("requests[{index}]"))),
        }
    }
    check.finish(|| Some(questions))
}

/// The verdict on the wire.
#[must_use]
pub const fn verdict_to_proto(verdict: Verdict) -> v1::Verdict {
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

fn asked<'a>(check: &mut Check, field: impl fmt::Display, text: &'a str, max: usize) -> Option<&'a str> {
    if is_longer(text, max) {
        check.violation(field, format!("must be at most {max} characters"));
    }
    if text.is_empty() { None } else { Some(text) }
}

/// Whether `text` has more than `max` characters. They are counted only where bytes do not tell already.
pub(crate) fn is_longer(text: &str, max: usize) -> bool {
    text.len() > max && text.chars().nth(max).is_some()
}

fn client_ip(check: &mut Check, text: &str) -> Option<IpAddr> {
    if text.is_empty() {
        return None;
    }
    let address = text.parse().ok();
    if address.is_none() {
        check.violation("client_ip", "must be an IPv4 or IPv6 address, without port, prefix length or zone");
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(request: &v1::VerifyRequest) -> String {
        question(request).unwrap_err().into_iter().map(|violation| violation.field).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn empty_fields_ask_nothing() {
        let request = v1::VerifyRequest { token: "not looked at".repeat(1000), ..Default::default() };
        let question = question(&request).unwrap();
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
        let read = question(&at_limit).unwrap();
        assert_eq!((read.account, read.scopes.len()), (Some(at_limit.account.as_str()), 100));

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
            assert_eq!(question(&request).unwrap().client_ip, good.parse().ok());
        }
        for bad in ["192.0.2.7:80", "[::1]", "10.0.0.0/8", "fe80::1%eth0", "localhost", " ", "010.0.0.1"] {
            assert_eq!(wrong(&v1::VerifyRequest { client_ip: bad.into(), ..Default::default() }), "client_ip", "{bad}");
        }
    }

    #[test]
    fn a_batch_names_the_question_at_fault() {
        let mut requests = vec![v1::VerifyRequest::default(); 1000];
        assert_eq!(batch(&v1::BatchVerifyRequest { requests: requests.clone() }).unwrap().len(), 1000);
        assert!(batch(&v1::BatchVerifyRequest::default()).unwrap().is_empty());
        requests[10].client_ip = "x".into();
        let violations = batch(&v1::BatchVerifyRequest { requests: requests.clone() }).unwrap_err().to_string();
        assert!(violations.starts_with("requests[10].client_ip must be"), "{violations}");
        requests.push(v1::VerifyRequest::default());
        let violations = batch(&v1::BatchVerifyRequest { requests }).unwrap_err().to_string();
        assert_eq!(violations, "requests must be at most 1000");
    }

    #[test]
    fn every_verdict_has_a_number_of_its_own() {
        let mut numbers: Vec<_> = Verdict::ALL.iter().map(|verdict| verdict_to_proto(*verdict) as i32).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
    }
}
