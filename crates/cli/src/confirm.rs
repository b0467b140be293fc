//! Confirmation before a permanent change.

use std::io::{self, IsTerminal as _};

use crate::console::prompt;
use crate::errors::Error;

/// Asks for confirmation at the terminal.
///
/// # Errors
/// If the answer is not yes, or standard input is not a terminal.
pub(crate) async fn confirm(question: String) -> Result<(), Error> {
    if !io::stdin().is_terminal() {
        return Err(Error::NoTerminal { question });
    }
    // On a blocking thread, so that an interrupt is handled while the input blocks.
    let answer = tokio::task::spawn_blocking(move || {
        prompt(&format!("{question} [y/N] "))?;
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    });
    let answer = answer.await.map_err(io::Error::other).and_then(|answer| answer).map_err(Error::Output)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::NotConfirmed),
    }
}
