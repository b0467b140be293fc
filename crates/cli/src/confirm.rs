//! Asking before something is ended for good.

use std::io::{self, IsTerminal as _};

use crate::console::prompt;
use crate::errors::Error;

/// Goes on when whoever sits at the terminal says yes. Where nobody does, it is refused.
pub(crate) async fn confirm(question: String) -> Result<(), Error> {
    if !io::stdin().is_terminal() {
        return Err(Error::NobodyToAsk { question });
    }
    // In a thread of its own, so that an interrupt is heard meanwhile.
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
