//! The command line. clap repeats arguments that it does not understand; an argument that may contain a secret, such as
//! a database URL without its flag, must not appear in the message.

use std::io::Write as _;

use super::config::Cli;
use crate::observability::telemetry::log_as_json;

/// The length of the longest argument that is shown. Every subcommand and every flag is shorter; tokens and authority
/// secrets are longer.
const SHOWN_LENGTH_MAX: usize = 32;

/// Parses the arguments of the process. Prints help, the version or an error, and ends the process, when they ask for
/// it. The error is a JSON line if `is_json`.
pub(super) fn parse(is_json: bool) -> Cli {
    Cli::of_process().unwrap_or_else(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
        let message = hide_values(error.render().to_string(), arguments);
        if is_json {
            log_as_json("invalid arguments", message.trim_end());
        } else {
            // A write to a closed console cannot be reported.
            let _ = write!(std::io::stderr(), "{message}");
        }
        std::process::exit(error.exit_code());
    })
}

/// Replaces the arguments in `message` that may contain a secret.
fn hide_values(mut message: String, arguments: impl IntoIterator<Item = String>) -> String {
    for argument in arguments {
        let value = argument.split_once('=').filter(|_| argument.starts_with("--")).map(|(_, value)| value);
        for text in [Some(argument.as_str()), value].into_iter().flatten().filter(|text| !is_plain(text)) {
            message = message.replace(text, "…");
        }
    }
    message
}

/// Whether a text looks like a subcommand, a flag or a number.
fn is_plain(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    text.len() <= SHOWN_LENGTH_MAX && text.bytes().all(is_fit)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn message(arguments: &[&str]) -> String {
        let error = Cli::try_parse_from(std::iter::once(&"key-authority").chain(arguments)).unwrap_err();
        hide_values(error.render().to_string(), arguments.iter().map(|&argument| argument.to_owned()))
    }

    #[test]
    fn an_argument_that_may_contain_a_secret_is_not_shown() {
        for arguments in [
            &["postgres://u:CANARY@h/d"][..],
            &["serve", "postgres://u:CANARY@h/d"],
            &["audit", "verify", "CANARY%40!"],
            &["--databse-url=postgres://u:CANARY@h/d"],
            &["--databse-url", "postgres://u:CANARY@h/d"],
            &["generate-token", "--database-url=postgres://u:CANARY@h/d"],
            &["migrate", "ka_sys_CANARY0000000000000000000000000000000000000000000000"],
            &["check-config", "--lease", "5s", "CANARY CANARY"],
        ] {
            let message = message(arguments);
            assert!(!message.contains("CANARY") && message.contains("Usage:"), "{arguments:?}: {message}");
        }
    }

    #[test]
    fn a_misspelled_word_is_named() {
        assert!(message(&["frobnicate"]).contains("frobnicate"));
        assert!(message(&["serve", "--lisen", "127.0.0.1:0"]).contains("--lisen"));
    }
}
