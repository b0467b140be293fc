//! Connections that reach their age while C-core clients call: no call may fail.

use anyhow::{Context as _, Result};
use key_authority_testkit::process::{command, run as run_command};
use key_authority_testkit::{progress, say};
use prost::Message as _;
use serde::Deserialize;

use crate::grpc;
use crate::run::Args;
use crate::server::{Options, Subject};
use crate::stage::Stage;

/// The clients.
const SCRIPT: &str = include_str!("../clients/age.py");
const CLIENTS: &str = "8";

/// What the clients counted.
#[derive(Debug, Deserialize)]
struct Counted {
    calls: u64,
    failed: std::collections::BTreeMap<String, u64>,
}

/// Runs the clients for some seconds; false if a call failed.
pub(crate) async fn run(args: &Args, seconds: u64) -> Result<bool> {
    let options = Options { arguments: &["--max-connection-age", "1s"], ..Options::default() };
    let subject = Subject::start(&args.program()?, args.database_server.as_deref(), options).await?;
    // Without keys to revoke this takes less than a second, so that no connection of the rig itself comes of age.
    let stage = Stage::set(&subject, 0).await?;
    say!("{CLIENTS} clients for {seconds} s, connections end at an age of 1 s");
    let question = grpc::verify(&stage.good).encode_to_vec();
    let mut python = command(&args.python);
    python.args(["-c", SCRIPT, &stage.grpc.to_string(), &seconds.to_string(), CLIENTS]);
    // Not in the command line, which every user of this machine can read.
    python.env("ABUSE_TOKEN", &stage.verifier).env("ABUSE_QUESTION", hex(&question));
    let printed = run_command(python).await.context("the Python clients failed; --python names an interpreter")?;
    let counted: Counted = serde_json::from_str(&printed).context("unexpected output of the Python clients")?;
    let failed: u64 = counted.failed.values().sum();
    progress::print("| clients | seconds | calls | failed calls |\n|---:|---:|---:|---|");
    let kinds: Vec<_> = counted.failed.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
    let kinds = if kinds.is_empty() { "0".to_owned() } else { format!("**{failed}**: {}", kinds.join(", ")) };
    progress::print(&format!("| {CLIENTS} | {seconds} | {} | {kinds} |", counted.calls));
    Ok(failed == 0 && counted.calls > 0)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
