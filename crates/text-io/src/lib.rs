//! Text files as editors and shells write them: UTF-8, with or without a byte order mark. And a standard output that is
//! closed, and errors with their causes ([`error_chain`]).
//!
//! The server, keyctl and the client library use this one reader, so that a file that one of them accepts is accepted by
//! all, and a mistake has the same words everywhere. No message contains the content of a file, because it may be a
//! secret.
//!
//! A path may lead to something else than a file: a pipe that nobody writes to, or a device without an end. Reading
//! therefore has a limit of bytes and of time. The pipe of a process substitution (`<(command)`) can be read.

pub mod error_chain;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

/// The byte order mark of UTF-8, with which Windows programs begin files.
pub const MARK: &str = "\u{feff}";
/// The size of the largest file that is read. A bundle of all public CAs has a fourth of it.
const BYTES_MAX: u64 = 1024 * 1024;
/// How long a pipe may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(10);

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
/// If it cannot be read, is not UTF-8, or is larger than 1 MiB.
pub fn read(path: &Path) -> io::Result<String> {
    read_bytes(path).and_then(decode)
}

/// Reads a file that is text in another form, such as PEM, or a text with a rule of its own.
///
/// # Errors
/// If it cannot be read, or is larger than 1 MiB.
pub fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    read_all(open(path)?)
}

/// Opens a file for [`read_all`]. It does not wait for the writer of a pipe.
///
/// # Errors
/// If it cannot be opened.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    options.read(true).open(path)
}

/// Reads a file from [`open`] to its end.
///
/// # Errors
/// If it cannot be read, is larger than 1 MiB, or is a pipe in which nothing comes for ten seconds.
pub fn read_all(file: File) -> io::Result<Vec<u8>> {
    read_within(file, SILENCE_MAX)
}

fn read_within(file: File, silence_max: Duration) -> io::Result<Vec<u8>> {
    // A secret leaves no copies in memory if the buffer does not grow.
    let size = file.metadata().map_or(0, |metadata| metadata.len().min(BYTES_MAX));
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
    let mut file = file.take(BYTES_MAX + 1);
    loop {
        wait(file.get_ref(), silence_max)?;
        match file.read_to_end(&mut bytes) {
            Ok(_) if bytes.len() as u64 > BYTES_MAX => {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
            }
            Ok(_) => return Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Waits until something can be read, or the end is reached. That is so at once, except in a pipe or a terminal.
#[cfg(unix)]
fn wait(file: &File, silence_max: Duration) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    let limit = silence_max.try_into().map_err(io::Error::other)?;
    match rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&limit)))? {
        0 => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("a pipe or a terminal in which nothing came for {silence_max:?}"),
        )),
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn wait(_file: &File, _silence_max: Duration) -> io::Result<()> {
    Ok(())
}

/// Whether standard output is closed, or discards what is written.
///
/// If it is closed, the standard library has opened `/dev/null` for reading and writing in its place. The redirection
/// `> /dev/null` of a shell opens it for writing only.
#[cfg(unix)]
#[must_use]
pub fn is_output_closed() -> bool {
    use std::fs::{Metadata, metadata};
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::MetadataExt as _;

    let Ok(output) = io::stdout().as_fd().try_clone_to_owned() else { return true };
    let mut output = File::from(output);
    let device = |metadata: Metadata| metadata.rdev();
    let is_null = match (output.metadata().map(device), metadata("/dev/null").map(device)) {
        (Ok(output), Ok(null)) => output == null,
        _ => false,
    };
    is_null && output.read(&mut [0]).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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

    #[test]
    fn a_file_that_is_too_large_is_rejected_and_not_truncated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        for (bytes, is_read) in [(BYTES_MAX, true), (BYTES_MAX + 1, false)] {
            fs::write(&path, "x".repeat(bytes.try_into().unwrap())).unwrap();
            assert_eq!(read(&path).is_ok_and(|text| text.len() as u64 == bytes), is_read);
        }
    }

    #[test]
    #[cfg(unix)]
    fn what_is_no_file_is_read_within_limits() {
        let error = |path: &str| read(Path::new(path)).unwrap_err();
        assert_eq!(error("/dev/zero").to_string(), "larger than 1 MiB");
        assert_eq!(error("/").kind(), io::ErrorKind::IsADirectory);
        assert_eq!(read(Path::new("/dev/null")).unwrap(), "");
    }

    /// Makes a pipe with a name.
    #[cfg(unix)]
    fn pipe(folder: &Path) -> std::path::PathBuf {
        let path = folder.join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        path
    }

    #[test]
    #[cfg(unix)]
    fn a_pipe_is_read_to_its_end() {
        use std::io::Write as _;
        let folder = tempfile::tempdir().unwrap();
        let path = pipe(folder.path());
        let read = std::thread::spawn({
            let path = path.clone();
            move || read(&path)
        });
        let mut writer = File::options().write(true).open(path).unwrap();
        for part in ["a", "b"] {
            writer.write_all(part.as_bytes()).unwrap();
        }
        drop(writer);
        assert_eq!(read.join().unwrap().unwrap(), "ab");
    }

    #[test]
    #[cfg(unix)]
    fn a_pipe_that_nobody_writes_to_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(&pipe(folder.path())).unwrap();
        let error = read_within(file, Duration::from_millis(10)).unwrap_err();
        assert_eq!(error.to_string(), "a pipe or a terminal in which nothing came for 10ms");
    }
}
