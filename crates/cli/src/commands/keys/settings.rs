//! Flags for the projects and the expiry of a key.

use clap::Args;
use key_authority_proto::v1::ProjectAccess;
use prost_types::{Duration, Timestamp};

use crate::fields;

/// The projects that a key covers.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct Coverage {
    /// Project that the key covers; may be repeated
    #[arg(long, value_name = "PROJECT")]
    project: Vec<String>,
    /// The key covers all projects
    #[arg(long)]
    all_projects: bool,
    /// The key covers no project, so Verify always denies it
    #[arg(long)]
    no_projects: bool,
}

impl Coverage {
    /// The requested projects. None: the policy's default.
    pub(super) fn access(self) -> Option<ProjectAccess> {
        let is_set = self.all_projects || self.no_projects || !self.project.is_empty();
        is_set.then_some(ProjectAccess { all: self.all_projects, only: self.project })
    }
}

/// The digest of a token that the caller made.
#[derive(Debug, Args)]
pub(super) struct OwnToken {
    /// BLAKE3 digest of a token that you made, in 64 hexadecimal digits, instead of a token of the authority
    #[arg(long, value_name = "HEX", value_parser = fields::digest, conflicts_with = "sha256")]
    pub(super) blake3: Option<fields::Digest>,
    /// SHA-256 digest of a token that you made, in 64 hexadecimal digits, instead of a token of the authority
    #[arg(long, value_name = "HEX", value_parser = fields::digest)]
    pub(super) sha256: Option<fields::Digest>,
    /// Hint by which people recognize the token of the digest, at most 8 characters
    #[arg(long, value_name = "HINT", default_value = "", hide_default_value = true)]
    pub(super) token_hint: String,
}

impl OwnToken {
    /// Whether the token is known to the caller alone.
    pub(super) fn is_set(&self) -> bool {
        self.blake3.is_some() || self.sha256.is_some()
    }
}

/// Converts the flags of a digest. Each request has its own type for the same choice.
macro_rules! digest {
    ($own:expr, $request:ident) => {{
        use key_authority_proto::v1::$request::Digest as Choice;
        let OwnToken { blake3, sha256, token_hint } = $own;
        (blake3.map(|digest| Choice::Blake3(digest.0)).or(sha256.map(|digest| Choice::Sha256(digest.0))), token_hint)
    }};
}
pub(super) use digest;

/// When a key expires.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct Expiry {
    /// Lifetime of the key, such as 30d or 12h
    #[arg(long, value_name = "LENGTH", value_parser = fields::duration)]
    pub(super) lifetime: Option<Duration>,
    /// When the key expires, such as 2027-01-31T12:00:00Z
    #[arg(long, value_name = "MOMENT", value_parser = fields::timestamp)]
    pub(super) expire_time: Option<Timestamp>,
    /// The key never expires
    #[arg(long)]
    pub(super) never_expires: bool,
}

/// Converts the flags. Each request has its own type for the same choice.
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
