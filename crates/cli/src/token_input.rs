//! Tokens that a command reads from a file or from standard input.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read};
use std::path::PathBuf;

use crate::console::prompt;
use crate::errors::Error;
use crate::text_file;

/// Maximum size of the input, in bytes. Tokens are smaller.
const BYTES_MAX: u64 = 64 * 1024;

/// The first line of a file, or of standard input.
pub(crate) async fn presented(place: String) -> Result<String, Error> {
    // On a blocking thread, so that an interrupt is handled while the input blocks.
    let path = PathBuf::from(&place);
    let line = tokio::task::spawn_blocking(move || {
        if place != "-" {
            return first_line(File::open(place).map_err(explained)?);
        }
        if io::stdin().is_terminal() {
            prompt("Token: ")?;
        }
        first_line(io::stdin().lock())
    });
    let line = line.await.map_err(io::Error::other).and_then(|line| line);
    line.map_err(|source| Error::File { path: shortened(path), source })
}

/// Adds what the argument is. A token itself is a frequent mistake.
fn explained(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::NotFound {
        return error;
    }
    let hint = "give the name of a file that contains the token, or - to read it from standard input";
    io::Error::new(io::ErrorKind::NotFound, format!("{error}; {hint}"))
}

/// The path as it is shown in an error. A token that was typed in place of the path is not shown as a whole.
fn shortened(path: PathBuf) -> PathBuf {
    let text = path.to_string_lossy();
    let may_be_token = text.len() >= 24 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if may_be_token { PathBuf::from(format!("{}…", text.chars().take(8).collect::<String>())) } else { path }
}

fn first_line(from: impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    BufReader::new(from.take(BYTES_MAX)).read_until(b'\n', &mut line)?;
    Ok(text_file::decode(line)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_in_place_of_its_file_is_explained_and_not_repeated() {
        let token = format!("shop_{}", "0".repeat(46));
        let error = presented(token.clone()).await.unwrap_err();
        let text =
            format!("{error} {}", std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default());
        assert!(text.contains("a file that contains the token, or - to read it from standard input"), "{text}");
        assert!(!text.contains(&token), "{text}");
    }
}
