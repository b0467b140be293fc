//! What the attackers were answered, counted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use tonic::Status;
use tonic_types::StatusExt as _;

/// The answers with their counts. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<BTreeMap<String, u64>>>);

impl Answers {
    pub(crate) fn count(&self, answer: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(answer.into()).or_default() += 1;
    }

    /// Announces a call. It counts as unanswered if it has no answer when the attack is cut.
    pub(crate) fn expect(&self) -> Pending {
        Pending { answers: self.clone(), is_answered: false }
    }

    pub(crate) fn all(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A call without an answer yet.
#[derive(Debug)]
pub(crate) struct Pending {
    answers: Answers,
    is_answered: bool,
}

impl Pending {
    pub(crate) fn answered(mut self, answer: impl Into<String>) {
        self.is_answered = true;
        self.answers.count(answer);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.is_answered {
            self.answers.count("held until the end");
        }
    }
}

/// A status as code and reason.
pub(crate) fn of_status(status: &Status) -> String {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone()).filter(|reason| !reason.is_empty());
    let code = code_name(status.code());
    match reason {
        Some(reason) => format!("{code} {reason}"),
        None => code,
    }
}

/// The status in headers or trailers; None if they have none.
pub(crate) fn of_headers(headers: &HeaderMap) -> Option<String> {
    Status::from_header_map(headers).map(|status| of_status(&status))
}

/// An error of HTTP/2: who ended what, with which code.
pub(crate) fn of_h2(error: &h2::Error) -> String {
    let code = error.reason().map_or_else(|| "without a code".to_owned(), |reason| code_of(reason.into()));
    let by = if error.is_remote() { "" } else { " (by the attacker's own library)" };
    if error.is_go_away() {
        format!("GOAWAY {code}{by}")
    } else if error.is_reset() {
        format!("RST_STREAM {code}{by}")
    } else {
        "connection closed".to_owned()
    }
}

/// The name of a gRPC code as the specification spells it.
fn code_name(code: tonic::Code) -> String {
    let mut name = String::new();
    for (place, character) in format!("{code:?}").chars().enumerate() {
        if character.is_ascii_uppercase() && place > 0 && code != tonic::Code::Ok {
            name.push('_');
        }
        name.push(character.to_ascii_uppercase());
    }
    name
}

/// The name of an error code of HTTP/2.
pub(crate) fn code_of(code: u32) -> String {
    let names = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    usize::try_from(code).ok().and_then(|code| names.get(code)).map_or_else(|| code.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_spelt_as_in_the_specifications() {
        assert_eq!(code_name(tonic::Code::InvalidArgument), "INVALID_ARGUMENT");
        assert_eq!(code_name(tonic::Code::Ok), "OK");
        assert_eq!(code_of(11), "ENHANCE_YOUR_CALM");
        assert_eq!(code_of(99), "99");
    }

    #[test]
    fn a_call_without_an_answer_is_counted_when_it_is_dropped() {
        let answers = Answers::default();
        drop(answers.expect());
        answers.expect().answered("OK");
        assert_eq!(answers.all(), BTreeMap::from([("OK".to_owned(), 1), ("held until the end".to_owned(), 1)]));
    }
}
