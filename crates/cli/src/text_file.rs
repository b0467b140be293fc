//! Text files: UTF-8, with or without a byte order mark.

use std::path::Path;

pub(crate) use key_authority_text_io::{MARK, decode, open, read_all, without_mark};

use crate::errors::Error;

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String, Error> {
    key_authority_text_io::read(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// Reads a file of certificates.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, Error> {
    key_authority_text_io::read_bytes(path).map_err(|source| Error::File { path: path.to_owned(), source })
}
