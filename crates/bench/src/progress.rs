//! What is said on the way, on standard error; results go to standard output and to files.

use std::fmt::Arguments;
use std::io::Write as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Says a line.
pub(crate) fn line(text: Arguments<'_>) {
    // Nothing can be done about a console that is gone.
    let _ = writeln!(std::io::stderr(), "bench: {text}");
}

/// Prints a result.
pub(crate) fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A bar for something long; nothing is shown where nobody watches.
pub(crate) fn bar(what: &str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("bench: {msg} {wide_bar} {human_pos}/{human_len} {eta}");
    let bar = ProgressBar::new(length).with_message(what.to_owned());
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

macro_rules! say {
    ($($text:tt)*) => { $crate::progress::line(format_args!($($text)*)) };
}

pub(crate) use say;
