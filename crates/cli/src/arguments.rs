//! The command line.

use clap::builder::Resettable;
use clap::{CommandFactory as _, FromArgMatches as _, Parser};

use crate::commands::Command;
use crate::connection::Connection;
use crate::console::Format;

const EXAMPLES: &str = "\
Examples:
  export KEYCTL_TOKEN_FILE=data/root.token
  keyctl status
  keyctl accounts create acme --token-prefix acme_ --max-keys 10
  keyctl keys create acme --key-id ci --scope deploy --lifetime 30d --save ci.txt
  keyctl keys list acme
  keyctl verify ci.txt --scope deploy
  keyctl keys renew ci --overlap 1h --save ci-2.txt
  keyctl keys revoke ci --reason 'found in a log'
  keyctl audit --account acme --since 24h

Exit codes:
  0 success (verify: valid)  1 negative result   2 invalid usage or value
  3 permission denied        4 not found         5 rejected by policy or state
  6 outcome unknown          7 not confirmed     8 a file cannot be used
  9 internal error           130 interrupted";

/// Issues, verifies, renews and revokes API keys of a Key Authority.
#[derive(Debug, Parser)]
#[command(name = "keyctl", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Output format
    #[arg(
        long, short, help_heading = "Global options", global = true,
        value_enum, default_value_t = Format::Table, env = "KEYCTL_OUTPUT", value_name = "FORM"
    )]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

impl Cli {
    /// Parses the arguments and variables of the process.
    ///
    /// # Errors
    /// If they cannot be parsed, or ask for help.
    pub(crate) fn of_process() -> Result<Self, clap::Error> {
        let command = without_blank_variables(Self::command());
        let format = |error: clap::Error| error.format(&mut Self::command());
        command.try_get_matches().and_then(|matches| Self::from_arg_matches(&matches).map_err(format))
    }
}

/// Ignores variables that are set but blank, as in `VARIABLE=` of a container's environment: they count as unset.
fn without_blank_variables(command: clap::Command) -> clap::Command {
    let is_blank = |argument: &clap::Arg| {
        let value = argument.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.as_encoded_bytes().trim_ascii().is_empty())
    };
    command
        .mut_args(|argument| if is_blank(&argument) { argument.env(Resettable::Reset) } else { argument })
        .mut_subcommands(without_blank_variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_flag_accepts_a_token() {
        fn flags(command: &clap::Command, found: &mut Vec<String>) {
            found.extend(command.get_arguments().filter_map(|flag| flag.get_long()).map(str::to_owned));
            command.get_subcommands().for_each(|subcommand| flags(subcommand, found));
        }
        let mut found = Vec::new();
        flags(&Cli::command(), &mut found);
        assert!(found.contains(&"token-file".to_owned()) && !found.contains(&"token".to_owned()), "{found:?}");
    }

    #[test]
    fn the_reference_lists_every_setting() {
        let reference = include_str!("../../../docs/keyctl.md");
        let command = Cli::command();
        let settings: Vec<_> =
            command.get_arguments().filter_map(|flag| Some((flag.get_long()?, flag.get_env()?))).collect();
        assert!(settings.len() >= 9, "{settings:?}");
        for (flag, variable) in settings {
            let variable = variable.to_str().unwrap();
            let row = reference.lines().find(|row| row.starts_with('|') && row.contains(&format!("`{variable}`")));
            assert!(row.is_some_and(|row| row.contains(&format!("`--{flag}`"))), "--{flag} {variable}: {row:?}");
        }
    }

    #[test]
    fn every_example_can_be_parsed() {
        let lines = EXAMPLES.lines().filter_map(|line| line.strip_prefix("  keyctl "));
        let mut count = 0;
        for line in lines {
            let words = line.replace("'found in a log'", "found");
            let parsed = Cli::try_parse_from(std::iter::once("keyctl").chain(words.split(' ')));
            assert!(parsed.is_ok(), "{line}: {:?}", parsed.err());
            count += 1;
        }
        assert_eq!(count, 8);
    }
}
