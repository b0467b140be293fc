//! Lines of a text file whose content may be broken. A line has a maximum length, so that a file without line breaks
//! does not fill the memory.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Read};

use crate::text_file::{self, MARK};

/// Maximum length of a line, in bytes. A line with a valid key is shorter.
pub(super) const LINE_BYTES_MAX: usize = 1024 * 1024;

/// A line with its number, counted from 1, and its line break, but without a byte order mark.
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) bytes: Vec<u8>,
}

impl Line {
    pub(super) fn is_blank(&self) -> bool {
        self.bytes.trim_ascii().is_empty()
    }
}

/// The lines of a file.
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    count: u64,
    /// Lines to read again.
    returned: VecDeque<Line>,
}

impl<R: Read> Lines<R> {
    /// # Errors
    /// If the file cannot be read, or is UTF-16.
    pub(super) fn begin(from: R) -> io::Result<Self> {
        let mut reader = BufReader::new(from);
        text_file::without_mark(reader.fill_buf()?)?;
        Ok(Self { reader, count: 0, returned: VecDeque::new() })
    }

    /// The next line. A line that is too long is cut after [`LINE_BYTES_MAX`] bytes and one.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.returned.pop_front() {
            return Ok(Some(line));
        }
        let mut bytes = Vec::new();
        let count = self.reader.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut bytes)?;
        if count == 0 {
            return Ok(None);
        }
        if count > LINE_BYTES_MAX && !bytes.ends_with(b"\n") {
            self.reader.skip_until(b'\n')?;
        }
        self.count += 1;
        // Joined files have a byte order mark within.
        if bytes.starts_with(MARK.as_bytes()) {
            bytes.drain(..MARK.len());
        }
        Ok(Some(Line { number: self.count, bytes }))
    }

    /// Returns lines, which are then read again.
    pub(super) fn unread(&mut self, lines: Vec<Line>) {
        for line in lines.into_iter().rev() {
            self.returned.push_front(line);
        }
    }
}

/// Decodes one line or several.
///
/// # Errors
/// What is wrong with them, without their content.
pub(super) fn text(bytes: &[u8]) -> Result<&str, String> {
    if bytes.len() > LINE_BYTES_MAX {
        return Err("is larger than 1 MiB".into());
    }
    if bytes.contains(&0) {
        return Err("contains a NUL byte".into());
    }
    std::str::from_utf8(bytes).map_err(|error| format!("is not UTF-8 (after {} valid bytes)", error.valid_up_to()))
}
