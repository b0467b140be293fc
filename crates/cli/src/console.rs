//! Output: results on standard output, notes on standard error.

use std::io::{self, Write as _};

use anstream::{AutoStream, ColorChoice};
use clap::ValueEnum;
pub(crate) use key_authority_text_io::is_output_closed as is_closed;
use prost::{Message, Name};

use crate::errors::{Error, Exit};
use crate::escape::visible;
use crate::json;
use crate::table::Table;

/// The format of standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables for people
    Table,
    /// The response of the authority as JSON, as grpcurl prints it
    Json,
    /// Only the new token, for commands that show one
    Token,
}

/// Standard output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    pub(crate) format: Format,
    is_coloured: bool,
}

impl Console {
    /// Enables colours on a terminal, unless `NO_COLOR` is set.
    pub(crate) fn new(format: Format) -> Self {
        Self { format, is_coloured: AutoStream::choice(&io::stdout()) != ColorChoice::Never }
    }

    /// Prints a response as JSON or as a table.
    pub(crate) fn show<M: Message + Name>(self, answer: &M, table: impl FnOnce() -> Table) -> Result<(), Error> {
        match self.format {
            Format::Json => print(&json::text(answer)?),
            Format::Table | Format::Token => self.table(table()),
        }
    }

    /// Says on standard error that a table has a header only.
    pub(crate) fn note_empty(self, text: &str) {
        if self.format == Format::Table {
            note(text);
        }
    }

    /// Prints a table.
    pub(crate) fn table(self, table: Table) -> Result<(), Error> {
        print(&table.render(self.is_coloured))
    }
}

/// Prints one or more lines on standard output.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Error::Output)
}

/// Prints a note on standard error.
pub(crate) fn note(text: &str) {
    // An error of standard error cannot be reported.
    let _ = writeln!(io::stderr(), "{}", visible(text));
}

/// Prints the help or version that the arguments ask for on standard output, or their error on standard error.
///
/// # Errors
/// If the help or version cannot be written.
pub(crate) fn explain(outcome: &clap::Error) -> Result<Exit, Error> {
    if !outcome.use_stderr() {
        return outcome.print().map(|()| Exit::Done).map_err(Error::Output);
    }
    let text = outcome.render().to_string();
    if visible(&text) == text {
        // An error of standard error cannot be reported.
        let _ = outcome.print();
    } else {
        note(text.trim_end());
    }
    Ok(Exit::Usage)
}

/// Prints a question without a line break, so that the user types the answer next to it.
pub(crate) fn prompt(question: &str) -> io::Result<()> {
    let mut console = io::stderr();
    write!(console, "{}", visible(question))?;
    console.flush()
}
