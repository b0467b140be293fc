//! Exit codes. `docs/keyctl.md` lists them; scripts rely on them.

use std::process::ExitCode;

use tonic::Code;

/// The exit code of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Success; for `verify`: the token is valid.
    Done = 0,
    /// Negative result: another verdict, no active key to connect with, a key that was not imported, or keys that need
    /// attention.
    No = 1,
    /// Invalid command or value.
    Usage = 2,
    /// The caller is not authenticated, or lacks permission.
    Denied = 3,
    /// The key or account does not exist.
    NotFound = 4,
    /// Policy or state does not allow the change.
    Refused = 5,
    /// Unknown outcome: the authority could not be reached or did not answer, or its response was lost.
    Unknown = 6,
    /// The user did not confirm the command.
    NotConfirmed = 7,
    /// A file on this machine cannot be used.
    File = 8,
    /// Internal error of the authority or of keyctl.
    Fault = 9,
    /// Interrupted, as shells report SIGINT.
    Interrupted = 130,
}

impl Exit {
    /// The exit code for a call that ended with `code`.
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
    fn the_reference_lists_the_exit_codes() {
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
