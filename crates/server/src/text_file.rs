//! Text and PEM files as editors and shells write them, with or without a byte order mark.

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

/// The byte order mark of UTF-8, with which Windows programs begin files.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// Reads a text file, which may contain a secret.
///
/// # Errors
/// If it cannot be read, or is not UTF-8.
pub(crate) fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    let bytes = std::fs::read(path).and_then(without_mark)?;
    let invalid = |error: std::string::FromUtf8Error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error());
    String::from_utf8(bytes).map(Zeroizing::new).map_err(invalid)
}

/// Returns the content of a file without its byte order mark.
///
/// # Errors
/// If it is UTF-16, which PowerShell writes by default.
pub(crate) fn without_mark(mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    if matches!(&bytes[..], [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "is UTF-16; save it as UTF-8"));
    }
    if bytes.starts_with(MARK) {
        bytes.drain(..MARK.len());
    }
    Ok(bytes)
}
