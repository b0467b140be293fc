//! Flags that say what a key is called, may do, and how long it lives.

use clap::Args;
use key_authority_proto::v1::ProjectAccess;
use prost_types::{Duration, Timestamp};

use crate::fields;

/// The projects that a key covers.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct Coverage {
    /// A project that the key covers; may be repeated
    #[arg(long, value_name = "PROJECT")]
    project: Vec<String>,
    /// The key covers all projects
    #[arg(long)]
    all_projects: bool,
    /// The key covers no project, so that it verifies nowhere
    #[arg(long)]
    no_projects: bool,
}

impl Coverage {
    /// None: the policy decides.
    pub(super) fn access(self) -> Option<ProjectAccess> {
        let is_said = self.all_projects || self.no_projects || !self.project.is_empty();
        is_said.then_some(ProjectAccess { all: self.all_projects, only: self.project })
    }
}

/// When a key expires.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct Expiry {
    /// How long the key lives, such as 30d or 12h
    #[arg(long, value_name = "LENGTH", value_parser = fields::duration)]
    pub(super) lifetime: Option<Duration>,
    /// When the key expires, such as 2027-01-31T12:00:00Z
    #[arg(long, value_name = "MOMENT", value_parser = fields::timestamp)]
    pub(super) expire_time: Option<Timestamp>,
    /// The key never expires
    #[arg(long)]
    pub(super) never_expires: bool,
}

/// The same choice is a type of its own in every request.
macro_rules! choice {
    ($expiry:expr, $request:ident) => {{
        use key_authority_proto::v1::$request::Expiry as Choice;
        let Expiry { lifetime, expire_time, never_expires } = $expiry;
        lifetime
            .map(Choice::Lifetime)
            .or(expire_time.map(Choice::ExpireTime))
            .or(never_expires.then_some(Choice::NeverExpires(true)))
    }};
}
pub(super) use choice;
