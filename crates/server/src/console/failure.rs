//! A failed call, as pages show it.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::http::status_of;
use crate::rpc::errors::RpcError;

/// The reason of a failure for a method that a path does not have.
const NO_METHOD: &str = "NO_METHOD";

/// The reason of a failure for a change that may have been made.
const OUTCOME_UNKNOWN: &str = "OUTCOME_UNKNOWN";
/// The reason of a failure for more requests than a visitor may have in progress.
pub(super) const TOO_MANY_CALLS: &str = "TOO_MANY_CALLS";
/// The reason of a failure of a visitor who may not do something.
const NOT_PERMITTED: &str = "NOT_PERMITTED";
/// The reason of a refused call whose caller lacks the permission.
pub(super) const PERMISSION_MISSING: &str = "PERMISSION_MISSING";
/// The reason of a failure of a form that does not come from its session.
const FOREIGN_FORM: &str = "FORM_FOREIGN";
/// The reason of a failure that no call has.
const NO_PAGE: &str = "NO_PAGE";

/// A failed call. A handler that returns it gets the page of its kind.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) code: Code,
    pub(super) reason: String,
    pub(super) message: String,
    /// The fields that violate a rule, as the API names them.
    pub(super) violations: Vec<(String, String)>,
    metadata: Vec<(String, String)>,
}

impl Failure {
    /// A failure that no call has caused.
    fn new(code: Code, reason: &str, message: &str) -> Self {
        let (violations, metadata) = (Vec::new(), Vec::new());
        Self { code, reason: reason.to_owned(), message: message.to_owned(), violations, metadata }
    }

    /// The failure for a path that the console does not have.
    pub(super) fn no_page() -> Self {
        Self::new(Code::NotFound, NO_PAGE, "There is no such page.")
    }

    /// The failure for a method that a path does not have.
    pub(super) fn no_method() -> Self {
        Self::new(Code::Unimplemented, NO_METHOD, "This page cannot be used in this way.")
    }

    /// The failure of a visitor who may not do something.
    pub(super) fn not_permitted(message: &str) -> Self {
        Self::new(Code::PermissionDenied, NOT_PERMITTED, message)
    }

    /// The failure of a visitor for whom the console has nothing here. It is not recorded as a refusal.
    pub(super) fn nothing_here(message: &str) -> Self {
        Self::new(Code::PermissionDenied, "NOTHING_HERE", message)
    }

    /// The failure of a form that does not come from this session.
    pub(super) fn foreign_form(message: &str) -> Self {
        Self::new(Code::PermissionDenied, FOREIGN_FORM, message)
    }

    /// Whether a form does not come from its session.
    pub(super) fn is_foreign_form(&self) -> bool {
        self.reason == FOREIGN_FORM
    }

    /// Returns the reason of a refusal by the console itself, for the log: no call of the API has recorded it.
    pub(super) fn own_refusal(&self) -> Option<&'static str> {
        match self.reason.as_str() {
            NOT_PERMITTED => Some(PERMISSION_MISSING),
            FOREIGN_FORM => Some(FOREIGN_FORM),
            _ => None,
        }
    }

    /// The failure of a user whose other requests take too long.
    pub(super) fn too_many_requests() -> Self {
        let message = "other pages or changes of yours are still in progress, and nothing was changed";
        Self::new(Code::ResourceExhausted, TOO_MANY_CALLS, message)
    }

    /// The failure of a form whose expiry cannot be read.
    pub(super) fn wrong_expiry(message: &str) -> Self {
        Self::new(Code::InvalidArgument, "LIFETIME_NOT_ALLOWED", message)
    }

    /// The failure of a form or query with a field that cannot be read.
    pub(super) fn wrong_field(rule: &str) -> Self {
        Self::new(Code::InvalidArgument, "FIELD_INVALID", rule)
    }

    /// Whether the console does not have the path.
    pub(super) fn is_no_page(&self) -> bool {
        self.reason == NO_PAGE
    }

    /// Returns the HTTP status.
    pub(super) fn status(&self) -> StatusCode {
        if self.reason == NO_METHOD { StatusCode::METHOD_NOT_ALLOWED } else { status_of(self.code) }
    }

    /// Whether the caller is no longer valid.
    pub(super) fn is_unauthenticated(&self) -> bool {
        self.code == Code::Unauthenticated
    }

    /// Whether the authority cannot decide right now.
    pub(super) fn is_outage(&self) -> bool {
        self.code == Code::Unavailable || (self.code == Code::DeadlineExceeded && self.pending_revision().is_none())
    }

    /// Whether the server or the database failed, and no refusal.
    pub(super) fn is_fault(&self) -> bool {
        matches!(self.code, Code::Internal | Code::DataLoss | Code::Unknown)
    }

    /// Whether other requests have to end first.
    pub(super) fn is_too_many_calls(&self) -> bool {
        self.reason == TOO_MANY_CALLS
    }

    /// Returns the revision of a change that is committed, but not confirmed by every replica.
    pub(super) fn pending_revision(&self) -> Option<u64> {
        if self.reason != "PROPAGATION_PENDING" {
            return None;
        }
        self.metadata("revision")?.parse().ok()
    }

    /// Returns a detail of the failure.
    pub(super) fn metadata(&self, name: &str) -> Option<&str> {
        self.metadata.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the connection to the database was lost while a change was committed.
    pub(super) fn is_outcome_unknown(&self) -> bool {
        self.reason == OUTCOME_UNKNOWN
    }

    /// Returns the message as a sentence.
    pub(super) fn sentence(&self) -> String {
        sentence(self.text())
    }

    /// Returns the message, in words for people who make no calls of the API.
    pub(super) fn text(&self) -> &str {
        if self.is_outcome_unknown() { "it is not known whether the change was made" } else { &self.message }
    }
}

/// Returns a text as a sentence: with a capital first letter and a full stop.
pub(super) fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let Some(first) = characters.next() else { return String::new() };
    let mut sentence: String = first.to_uppercase().chain(characters).collect();
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let violations = details.bad_request().map(|request| request.field_violations.as_slice()).unwrap_or_default();
        Self {
            code: status.code(),
            reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
            message: status.message().to_owned(),
            violations: violations.iter().map(|found| (found.field.clone(), found.description.clone())).collect(),
            metadata: info.map(|info| info.metadata.clone().into_iter().collect()).unwrap_or_default(),
        }
    }
}

impl From<RpcError> for Failure {
    fn from(error: RpcError) -> Self {
        Status::from(error).into()
    }
}

impl IntoResponse for Failure {
    /// The page is made where the frame of the visitor is known.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status();
        response.extensions_mut().insert(self);
        response
    }
}
