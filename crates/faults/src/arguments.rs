//! Arguments that all forms of the harness share.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// The server under test.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// The server's executable
    #[arg(long, default_value = "target/release/key-authority", value_name = "PATH")]
    pub(crate) server: PathBuf,
}

/// Reads a duration such as 500ms, 10s or 2m.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_at);
    let amount: u64 =
        digits.parse().map_err(|_| "expected a number and a unit, such as 500ms, 10s or 2m".to_owned())?;
    match unit {
        "ms" => Ok(Duration::from_millis(amount)),
        "s" => Ok(Duration::from_secs(amount)),
        "m" => Ok(Duration::from_secs(amount * 60)),
        _ => Err("the unit is ms, s or m".to_owned()),
    }
}
