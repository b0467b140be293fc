//! `keyctl completions`.

use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

use crate::arguments::Cli;
use crate::console::print;
use crate::errors::{Error, Exit};

/// Prints the completions of a shell
///
/// For bash: `keyctl completions bash > ~/.local/share/bash-completion/completions/keyctl`.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Completions {
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<Exit, Error> {
        // Into memory first: the generator panics where nobody reads on.
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "keyctl", &mut script);
        print(String::from_utf8_lossy(&script).trim_end())?;
        Ok(Exit::Done)
    }
}
