//! What went wrong: a sentence, the next step, and the exit code.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

mod advice;
mod exit;

pub(crate) use exit::Exit;

/// A cause that is another crate's.
type Cause = Box<dyn StdError + Send + Sync>;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The words of the command do not go together in a way that clap does not see.
    #[error("{0}")]
    Usage(String),
    #[error("{} cannot be used", .path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} can be read by others than its owner (mode {mode:04o}), so it is not used", .path.display())]
    TooOpen { path: PathBuf, mode: u32 },
    #[error("{} exists, and is not overwritten; nothing was changed", .0.display())]
    Exists(PathBuf),
    #[error("{}: {problem}", .path.display())]
    ProfileFile { path: PathBuf, problem: String },
    #[error("there is no profile {name} in {}{}", .path.display(), among(.others))]
    NoProfile { name: String, path: PathBuf, others: String },
    #[error("there is no token in {place}")]
    NoToken { place: String },
    #[error("the endpoint {0} does not say how to talk to it")]
    Scheme(String),
    #[error("the endpoint {endpoint} cannot be used")]
    Endpoint {
        endpoint: String,
        #[source]
        source: Cause,
    },
    #[error("a client's certificate and its private key go together")]
    HalfAnIdentity,
    #[error("certificates were named, but {0} is plain text")]
    TlsFilesWithoutTls(String),
    #[error("no authority can be reached at {endpoint}")]
    Unreachable {
        endpoint: String,
        #[source]
        source: Cause,
    },
    /// The authority said no, or that it cannot.
    #[error("{}", refusal(.status))]
    Refused { status: Box<Status>, is_change: bool },
    #[error("no answer came within {waited:?}")]
    NoAnswer { waited: Duration, is_change: bool },
    #[error("key {key_id} has a new token, but it is lost: {why}")]
    TokenLost {
        key_id: String,
        why: &'static str,
        #[source]
        source: Option<io::Error>,
    },
    /// Somebody was asked, and did not say yes.
    #[error("nothing was changed")]
    NotConfirmed,
    #[error("this asks first, and there is no terminal to ask at: {question}")]
    NobodyToAsk { question: String },
    #[error("account {account} has no active key to connect a client with")]
    NoActiveKey { account: String },
    #[error("interrupted; a change that was under way may have been made")]
    Interrupted,
    #[error("the output cannot be written")]
    Output(#[source] io::Error),
    #[error("an answer cannot be shown as JSON: {0}")]
    Json(String),
    #[error("the operating system gave no random bytes")]
    NoRandomness(#[source] Cause),
    #[error("keyctl cannot be run here")]
    Runtime(#[source] io::Error),
}

impl Error {
    /// The whole of it, for people: what happened and why, then what to do next.
    pub(crate) fn told(&self) -> String {
        let mut text = format!("keyctl: {}", chain(self));
        if let Some(step) = self.next_step() {
            let _ = write!(text, "\n  next: {step}");
        }
        text
    }

    fn next_step(&self) -> Option<String> {
        let step = match self {
            Self::Refused { status, is_change } => return advice::next_step(status, *is_change),
            Self::TooOpen { path, .. } => return Some(format!("chmod 600 {}", path.display())),
            Self::Scheme(endpoint) => {
                return Some(format!("write http://{endpoint} for plain text, https://{endpoint} for TLS"));
            }
            Self::NoActiveKey { account } => {
                return Some(format!("keyctl keys create {account}, or repeat this with --create-if-none"));
            }
            Self::TokenLost { key_id, .. } => {
                return Some(format!("keyctl keys renew {key_id} gives it another one, and ends this one"));
            }
            Self::Exists(_) => "name another file, or move that one away",
            Self::ProfileFile { .. } | Self::NoProfile { .. } => "docs/keyctl.md shows what a profile file looks like",
            Self::NoToken { .. } => "put one token there, of a key of account system, and nothing else",
            Self::HalfAnIdentity => "name both --client-cert and --client-key, or neither",
            Self::TlsFilesWithoutTls(_) => "write https:// in the endpoint, or leave the certificates out",
            Self::Unreachable { .. } | Self::Endpoint { .. } => {
                "is the authority running, is --endpoint its gRPC address, and is https:// written where it speaks TLS?"
            }
            Self::NoAnswer { is_change, .. } => advice::unanswered(*is_change),
            Self::NobodyToAsk { .. } => "repeat it with --yes if it is meant",
            Self::Interrupted => "keyctl audit shows what was changed",
            Self::Usage(_)
            | Self::File { .. }
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
            // Whoever reads has read enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::NoActiveKey { .. } => Exit::No,
            Self::Usage(_)
            | Self::Scheme(_)
            | Self::Endpoint { .. }
            | Self::HalfAnIdentity
            | Self::TlsFilesWithoutTls(_) => Exit::Usage,
            // A status with a cause was made here: of a connection that broke, or of what is no gRPC.
            Self::Refused { status, .. } if status.source().is_some() => Exit::Unknown,
            Self::Refused { status, .. } => Exit::of(status.code()),
            Self::Unreachable { .. } | Self::NoAnswer { .. } | Self::TokenLost { .. } => Exit::Unknown,
            Self::NotConfirmed | Self::NobodyToAsk { .. } => Exit::NotConfirmed,
            Self::File { .. }
            | Self::TooOpen { .. }
            | Self::Exists(_)
            | Self::ProfileFile { .. }
            | Self::NoProfile { .. }
            | Self::NoToken { .. }
            | Self::Output(_) => Exit::File,
            Self::Json(_) | Self::NoRandomness(_) | Self::Runtime(_) => Exit::Fault,
            Self::Interrupted => Exit::Interrupted,
        }
    }

    /// Whether the authority said that the caller may not do this.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if status.code() == Code::PermissionDenied)
    }
}

fn among(others: &str) -> String {
    if others.is_empty() { String::new() } else { format!(", only: {others}") }
}

/// What the authority said, with a line for each field at fault.
fn refusal(status: &Status) -> String {
    let violations = status.get_details_bad_request().map(|details| details.field_violations).unwrap_or_default();
    if violations.is_empty() {
        let said = crate::client::said(status);
        return if status.get_details_error_info().is_some() { said } else { format!("{}: {said}", status.code()) };
    }
    violations.iter().fold("the authority does not accept this:".to_owned(), |mut text, violation| {
        let _ = write!(text, "\n  {} {}", violation.field, violation.description);
        text
    })
}

/// An error and its causes, joined; what a library repeats of its cause is told once.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = String::new();
    for error in std::iter::successors(Some(error), |&error| error.source()) {
        let part = error.to_string();
        if text.ends_with(&part) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&part);
    }
    text
}
