//! Exit codes. `docs/keyctl.md` lists them; scripts rely on them.

use std::process::ExitCode;

use tonic::Code;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; of `verify`: the token is valid.
    Done = 0,
    /// The answer is no: the verdict is another one, there is no active key to connect with, or a key was not imported.
    No = 1,
    /// The command is wrong, or a value in it.
    Usage = 2,
    /// The caller's token is not known, or its key may not do this.
    Denied = 3,
    /// There is no such key or account.
    NotFound = 4,
    /// Policy or state does not allow it.
    Refused = 5,
    /// Not known: the authority was not reached, did not answer, or its answer was lost.
    Unknown = 6,
    /// It was to be confirmed, and was not.
    NotConfirmed = 7,
    /// A file on this machine cannot be used.
    File = 8,
    /// A fault, of the authority or of keyctl.
    Fault = 9,
    /// Interrupted, as shells say it.
    Interrupted = 130,
}

impl Exit {
    /// What a call that ended with this code means.
    pub(crate) fn of(code: Code) -> Self {
        match code {
            Code::Ok => Self::Done,
            Code::InvalidArgument | Code::OutOfRange => Self::Usage,
            Code::Unauthenticated | Code::PermissionDenied => Self::Denied,
            Code::NotFound => Self::NotFound,
            Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted | Code::ResourceExhausted => Self::Refused,
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => Self::Unknown,
            Code::Internal | Code::DataLoss | Code::Unimplemented => Self::Fault,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_lists_the_codes() {
        let reference = include_str!("../../../../docs/keyctl.md");
        let (_, table) = reference.split_once("## Exit codes").unwrap();
        let listed: Vec<u8> = table.lines().filter_map(|row| row.split('|').nth(1)?.trim().parse().ok()).collect();
        let ours = [
            Exit::Done,
            Exit::No,
            Exit::Usage,
            Exit::Denied,
            Exit::NotFound,
            Exit::Refused,
            Exit::Unknown,
            Exit::NotConfirmed,
            Exit::File,
            Exit::Fault,
            Exit::Interrupted,
        ];
        assert_eq!(listed, ours.map(|exit| exit as u8));
    }
}
