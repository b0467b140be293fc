//! Errors: the message, the next step and the exit code of each.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use key_authority_certificates::{PairError, PemError, explain};
use key_authority_proto::EndpointError;
use key_authority_text_io::error_chain::whole;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::escape::one_line;

mod advice;
mod exit;

pub(crate) use exit::Exit;

/// An error of another crate.
type Cause = Box<dyn StdError + Send + Sync>;

/// The next step if the authority cannot be reached.
const CHECK_ENDPOINT: &str =
    "is the authority running, is --endpoint its gRPC address, and does it start with https:// if TLS is enabled?";

/// The next step if there is no port in the endpoint either.
const NAME_PORT: &str =
    "the endpoint names no port, so that 80 or 443 is used; the gRPC port of an authority is 50051 by default";

/// The error of a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The arguments are inconsistent in a way that clap cannot check.
    #[error("{0}")]
    Usage(String),
    #[error("{} cannot be used", .path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{}: {source}", .path.display())]
    Pem { path: PathBuf, source: PemError },
    #[error("{} and {}: {source}", .cert.display(), .key.display())]
    Pair { cert: PathBuf, key: PathBuf, source: PairError },
    #[error("{} is accessible to other users (mode {mode:04o})", .path.display())]
    TooOpen { path: PathBuf, mode: u32 },
    #[error("{} already exists and is never overwritten; nothing was changed", .0.display())]
    Exists(PathBuf),
    #[error("{}: {problem}", .path.display())]
    ProfileFile { path: PathBuf, problem: String },
    #[error("no profile {name} in {}{}", .path.display(), available(.others))]
    NoProfile { name: String, path: PathBuf, others: String },
    #[error("no valid token in {place}")]
    NoToken { place: String },
    #[error("{0}")]
    EndpointForm(EndpointError),
    #[error("invalid endpoint {endpoint}")]
    Endpoint {
        endpoint: String,
        #[source]
        source: Cause,
    },
    #[error("a client certificate and its private key must be set together")]
    IncompleteIdentity,
    #[error("certificates are set, but the endpoint {0} does not use TLS")]
    TlsFilesWithoutTls(String),
    #[error("cannot connect to {endpoint}")]
    Unreachable {
        endpoint: String,
        #[source]
        source: Cause,
    },
    /// The authority returned an error.
    #[error("{}", describe(.status))]
    Refused { status: Box<Status>, is_change: bool },
    #[error("no response within {waited:?}")]
    NoAnswer { waited: Duration, is_change: bool },
    #[error("key {key_id} has a new token, but it is lost: {why}")]
    TokenLost {
        key_id: String,
        why: &'static str,
        #[source]
        source: Option<io::Error>,
    },
    /// The user did not confirm the command.
    #[error("not confirmed; nothing was changed")]
    NotConfirmed,
    #[error("the command requires confirmation, but standard input is not a terminal: {question}")]
    NoTerminal { question: String },
    #[error("account {account} has no active key to connect a client with")]
    NoActiveKey { account: String },
    #[error("interrupted; a change in progress may have been made")]
    Interrupted,
    #[error("standard output is closed or discarded, and the token would be lost; nothing was changed")]
    ClosedOutput,
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    #[error("cannot encode the response as JSON: {0}")]
    Json(String),
    #[error("the operating system provided no random bytes")]
    NoRandomness(#[source] Cause),
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
}

impl Error {
    /// The full text for people: the error with its causes, and the next step.
    pub(crate) fn report(&self) -> String {
        let mut text = format!("keyctl: {}", whole(self));
        if let Some(step) = self.next_step() {
            let _ = write!(text, "\n  next: {step}");
        }
        text
    }

    fn next_step(&self) -> Option<String> {
        let step = match self {
            Self::Refused { status, is_change } => {
                return match status.source() {
                    Some(source) => {
                        Some(explain(source).unwrap_or_else(|| advice::disconnected(status.code(), *is_change)))
                    }
                    None => advice::next_step(status, *is_change),
                };
            }
            Self::TooOpen { path, .. } => return Some(format!("chmod 600 {}", path.display())),
            Self::EndpointForm(error) => error.advice(),
            Self::NoActiveKey { account } => {
                return Some(format!("keyctl keys create {account}, or repeat with --create-if-none"));
            }
            Self::TokenLost { key_id, .. } => {
                return Some(format!("keyctl keys renew {key_id} issues another token and ends this one"));
            }
            Self::ClosedOutput => "--save FILE writes the token to a file",
            Self::Exists(_) => "choose another file, or move the existing one",
            Self::ProfileFile { .. } | Self::NoProfile { .. } => "docs/keyctl.md shows an example of a profile file",
            Self::NoToken { .. } => "put one token of a key of account system there, and nothing else",
            Self::IncompleteIdentity => "set both --client-cert and --client-key, or neither",
            Self::TlsFilesWithoutTls(_) => "use https:// in the endpoint, or remove the certificates",
            Self::Unreachable { endpoint, source } => {
                let step = if has_port(endpoint) { CHECK_ENDPOINT } else { NAME_PORT };
                return Some(explain(source.as_ref()).unwrap_or_else(|| step.to_owned()));
            }
            Self::Endpoint { .. } => CHECK_ENDPOINT,
            Self::NoAnswer { is_change, .. } => advice::unanswered(*is_change),
            Self::NoTerminal { .. } => "repeat with --yes to confirm",
            Self::Interrupted => "keyctl audit shows which changes were made",
            Self::Usage(_)
            | Self::File { .. }
            | Self::Pem { .. }
            | Self::Pair { .. }
            | Self::NotConfirmed
            | Self::Output(_)
            | Self::Json(_)
            | Self::NoRandomness(_)
            | Self::Runtime(_) => return None,
        };
        Some(step.to_owned())
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            // The reader closed the pipe, which is not an error.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::NoActiveKey { .. } => Exit::No,
            Self::Usage(_)
            | Self::EndpointForm(_)
            | Self::Endpoint { .. }
            | Self::IncompleteIdentity
            | Self::TlsFilesWithoutTls(_) => Exit::Usage,
            // A status with a source was created by tonic: the connection was lost, or the response is not gRPC.
            Self::Refused { status, .. } if status.source().is_some() => Exit::Unknown,
            Self::Refused { status, .. } => Exit::of(status.code()),
            Self::Unreachable { .. } | Self::NoAnswer { .. } | Self::TokenLost { .. } => Exit::Unknown,
            Self::NotConfirmed | Self::NoTerminal { .. } => Exit::NotConfirmed,
            Self::File { .. }
            | Self::Pem { .. }
            | Self::Pair { .. }
            | Self::TooOpen { .. }
            | Self::Exists(_)
            | Self::ProfileFile { .. }
            | Self::NoProfile { .. }
            | Self::NoToken { .. }
            | Self::ClosedOutput
            | Self::Output(_) => Exit::File,
            Self::Json(_) | Self::NoRandomness(_) | Self::Runtime(_) => Exit::Fault,
            Self::Interrupted => Exit::Interrupted,
        }
    }

    /// Whether the authority denied permission.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if status.code() == Code::PermissionDenied)
    }
}

fn has_port(endpoint: &str) -> bool {
    endpoint.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

fn available(others: &str) -> String {
    if others.is_empty() { String::new() } else { format!("; available: {others}") }
}

/// The error of the authority, with a line for each invalid field.
fn describe(status: &Status) -> String {
    let violations = status.get_details_bad_request().map(|details| details.field_violations).unwrap_or_default();
    if violations.is_empty() {
        let message = message(status);
        return if status.get_details_error_info().is_some() {
            message
        } else {
            format!("{}: {message}", status.code())
        };
    }
    violations.iter().fold("invalid request:".to_owned(), |mut text, violation| {
        let _ = write!(text, "\n  {} {}", one_line(&violation.field), one_line(&violation.description));
        text
    })
}

/// The message of a status. For a connection error it is the chain of causes, because the status itself says little.
pub(crate) fn message(status: &Status) -> String {
    match status.source() {
        Some(source) => whole(source),
        None => one_line(status.message()),
    }
}
