//! What the harness says while it works, on standard error; results go to standard output.

use std::fmt::Arguments;
use std::io::Write as _;

/// Says a line.
pub(crate) fn line(text: Arguments<'_>) {
    // Nothing can be done about a console that is gone.
    let _ = writeln!(std::io::stderr(), "faults: {text}");
}

/// Prints a result.
pub(crate) fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

macro_rules! say {
    ($($text:tt)*) => { $crate::progress::line(format_args!($($text)*)) };
}

pub(crate) use say;
