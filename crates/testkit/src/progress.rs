//! Progress goes to standard error, results go to standard output.

use std::fmt::Arguments;
use std::io::Write as _;
use std::path::PathBuf;

/// Writes one line of progress, after the name of the program. Use [`say!`](crate::say).
pub fn line(text: Arguments<'_>) {
    let program = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let name = program.file_stem().unwrap_or_default().display();
    // A closed console does not stop the run.
    let _ = writeln!(std::io::stderr(), "{name}: {text}");
}

/// Writes a result.
pub fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Writes one line of progress to standard error. It takes the arguments of [`format!`].
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::progress::line(format_args!($($text)*)) };
}
