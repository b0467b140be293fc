//! `keyctl completions`.

use clap::Args;
use clap_complete::{Shell, generate};

use crate::console::print;
use crate::errors::{Error, Exit};

/// Prints shell completions
///
/// For bash: `keyctl completions bash > ~/.local/share/bash-completion/completions/keyctl`.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Completions {
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, mut cli: clap::Command) -> Result<Exit, Error> {
        // Into memory first: the generator panics if the reader closes the pipe.
        let mut script = Vec::new();
        generate(self.shell, &mut cli, "keyctl", &mut script);
        print(String::from_utf8_lossy(&script).trim_end())?;
        Ok(Exit::Done)
    }
}
