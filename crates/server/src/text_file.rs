//! Text files that may contain a secret.

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

/// Reads a text file: UTF-8, with or without a byte order mark.
///
/// # Errors
/// If it cannot be read, or is not UTF-8.
pub(crate) fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    key_authority_text_io::read(path).map(Zeroizing::new)
}
