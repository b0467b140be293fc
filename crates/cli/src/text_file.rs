//! Text files as editors and shells write them: UTF-8, with or without a byte order mark.

use std::io;
use std::path::Path;

use crate::errors::Error;

/// The byte order mark of UTF-8, with which Windows programs begin files.
pub(crate) const MARK: &str = "\u{feff}";

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String, Error> {
    let text = std::fs::read(path).and_then(decode);
    text.map_err(|source| Error::File { path: path.to_owned(), source })
}

/// Decodes the content of a text file.
///
/// # Errors
/// If it is not UTF-8.
pub(crate) fn decode(bytes: Vec<u8>) -> io::Result<String> {
    let invalid = |error: std::string::FromUtf8Error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error());
    String::from_utf8(without_mark(bytes)?).map_err(invalid)
}

/// Rejects UTF-16, which PowerShell and Excel write, by its byte order mark.
///
/// # Errors
/// If the content is UTF-16.
pub(crate) fn reject_utf16(content: &[u8]) -> io::Result<()> {
    match content {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "is UTF-16; save it as UTF-8"))
        }
        _ => Ok(()),
    }
}

fn without_mark(mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    reject_utf16(&bytes)?;
    if bytes.starts_with(MARK.as_bytes()) {
        bytes.drain(..MARK.len());
    }
    Ok(bytes)
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
        for (bytes, rule) in
            [(&b"\xff\xfea\0"[..], "is UTF-16; save"), (b"\xfe\xff\0a", "is UTF-16"), (b"\xe9", "utf-8")]
        {
            let error = decode(bytes.to_vec()).unwrap_err().to_string();
            assert!(error.contains(rule), "{error}");
        }
    }
}
