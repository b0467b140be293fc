//! `keyctl keys show`.

use clap::Args;

use super::{Session, key_of};
use crate::errors::{Error, Exit};
use crate::views::key;

/// Shows a key without its token
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// ID of the key
    key: String,
}

impl Show {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let key = key_of(session, &self.key).await?;
        session.console.show(&key, || key::record(&key, session.now))?;
        Ok(Exit::Done)
    }
}
