//! Text files as editors and shells write them: UTF-8, with or without a byte order mark. And a standard output that is
//! closed.
//!
//! The server, keyctl and the client library use this one reader, so that a file that one of them accepts is accepted by
//! all, and a mistake has the same words everywhere. No message contains the content of a file, because it may be a
//! secret.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// The byte order mark of UTF-8, with which Windows programs begin files.
pub const MARK: &str = "\u{feff}";

/// The content of a file is UTF-16, which PowerShell and Excel write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Utf16;

impl fmt::Display for Utf16 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("is UTF-16; save it as UTF-8")
    }
}

impl std::error::Error for Utf16 {}

impl From<Utf16> for io::Error {
    fn from(error: Utf16) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// Returns the content of a file without its byte order mark.
///
/// # Errors
/// If it is UTF-16, as its byte order mark shows.
pub fn without_mark(content: &[u8]) -> Result<&[u8], Utf16> {
    match content {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Err(Utf16),
        _ => Ok(content.strip_prefix(MARK.as_bytes()).unwrap_or(content)),
    }
}

/// Decodes the content of a text file, without its byte order mark.
///
/// # Errors
/// If it is not UTF-8.
pub fn decode(mut content: Vec<u8>) -> io::Result<String> {
    let mark = content.len() - without_mark(&content)?.len();
    content.drain(..mark);
    String::from_utf8(content).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// Reads a text file.
///
/// # Errors
/// If it cannot be read, or is not UTF-8.
pub fn read(path: &Path) -> io::Result<String> {
    fs::read(path).and_then(decode)
}

/// Whether standard output is closed, or discards what is written.
///
/// If it is closed, the standard library has opened `/dev/null` for reading and writing in its place. The redirection
/// `> /dev/null` of a shell opens it for writing only.
#[cfg(unix)]
#[must_use]
pub fn is_output_closed() -> bool {
    use std::fs::{File, Metadata};
    use std::io::Read as _;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::MetadataExt as _;

    let Ok(output) = io::stdout().as_fd().try_clone_to_owned() else { return true };
    let mut output = File::from(output);
    let device = |metadata: Metadata| metadata.rdev();
    let is_null = match (output.metadata().map(device), fs::metadata("/dev/null").map(device)) {
        (Ok(output), Ok(null)) => output == null,
        _ => false,
    };
    is_null && output.read(&mut [0]).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_skipped() {
        for (bytes, text) in [(&b"\xef\xbb\xbfa\xef\xbb\xbf"[..], "a\u{feff}"), (b"a", "a"), (b"\xef\xbb\xbf", "")] {
            assert_eq!(decode(bytes.to_vec()).unwrap(), text);
        }
    }

    #[test]
    fn another_encoding_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        for (bytes, rule) in
            [(&b"\xff\xfea\0"[..], "is UTF-16; save"), (b"\xfe\xff\0a", "is UTF-16"), (b"\xe9", "utf-8")]
        {
            fs::write(&path, bytes).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(rule), "{error}");
        }
    }
}
