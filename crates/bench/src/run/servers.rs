//! The servers under load.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use key_authority_testkit::process::command;
use key_authority_testkit::server::Server;

use super::door::free_address;
use super::{Bench, Part};
use crate::fill::Authority;
use crate::key_set::KeySet;
use crate::load::{self, Measured, Plan, Target};
use crate::usage::Usage;

/// How long a server may take to start. Loading ten million keys takes minutes.
pub(super) const START_LIMIT: Duration = Duration::from_mins(15);

/// The real server and the bare framework.
pub(super) struct Pair {
    pub(super) ours: Server,
    pub(super) bare: Server,
    /// Where the real server serves HTTP.
    pub(super) api: Option<SocketAddr>,
    pub(super) key_set: KeySet,
}

impl Pair {
    /// Starts both; the real server with `keys` keys on `SQLite`.
    pub(super) async fn start(bench: &Bench, keys: u64) -> Result<Self> {
        let authority = authority_with(bench, keys).await?;
        let api = bench.measures(Part::Door).then(free_address).transpose()?;
        let ours = ours_with_door(bench, &authority, "real", api).await?;
        let mut command = command(std::env::current_exe()?);
        command.arg("bare");
        let bare =
            Server::start("the bare framework", command, &bench.work.path().join("bare.log"), START_LIMIT).await?;
        Ok(Self { ours, bare, api, key_set: authority.key_set })
    }

    pub(super) fn ours(&self) -> Result<Target> {
        target(&self.ours, self.key_set, true)
    }

    pub(super) fn bare(&self) -> Result<Target> {
        target(&self.bare, self.key_set, false)
    }

    /// Measures both alternately, and returns the median round of each by CPU time.
    pub(super) async fn side_by_side(&self, plan: Plan, rounds: usize) -> Result<(Measured, Measured)> {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..rounds.max(1) {
            ours.push(load::run(self.ours()?, plan).await?);
            bare.push(load::run(self.bare()?, plan).await?);
        }
        Ok((median(ours)?, median(bare)?))
    }
}

/// The median round by CPU time.
pub(super) fn median(mut rounds: Vec<Measured>) -> Result<Measured> {
    rounds.sort_by(|one, other| one.server_us.total_cmp(&other.server_us));
    let median = rounds.len() / 2;
    rounds.into_iter().nth(median).context("no round was measured")
}

pub(super) fn target(server: &Server, key_set: KeySet, is_real: bool) -> Result<Target> {
    let token = key_set.caller()?.reveal().to_owned();
    Ok(Target { address: server.grpc, usage: Usage::of(&server.process)?, token, is_real })
}

/// `keys` keys on `SQLite`.
pub(super) async fn authority_with(bench: &Bench, keys: u64) -> Result<Authority> {
    let all = bench.args.key_sets.clone().unwrap_or_else(|| bench.work.path().join("keys"));
    Box::pin(Authority::make(&all.join(keys.to_string()), None, KeySet::new(keys))).await
}

/// The real server, without an HTTP door.
pub(super) async fn ours(bench: &Bench, authority: &Authority, name: &str) -> Result<Server> {
    ours_with_door(bench, authority, name, None).await
}

/// The real server, with an HTTP door on `api`.
async fn ours_with_door(bench: &Bench, authority: &Authority, name: &str, api: Option<SocketAddr>) -> Result<Server> {
    let program = program(bench)?;
    let mut command = command(&program);
    command.arg("serve").args(["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
    command.arg("--api-listen").arg(api.map_or_else(String::new, |address| address.to_string()));
    command.arg("--data-dir").arg(&authority.folder);
    if let Some(url) = &authority.database_url {
        // In a file, since every user of this machine can read command lines, and the URL holds a password.
        let file = authority.folder.join("database.url");
        std::fs::write(&file, url).with_context(|| file.display().to_string())?;
        command.arg("--database-url-file").arg(file).arg("--secret-file").arg(authority.secret_file());
    }
    Server::start(&format!("the {name} server"), command, &bench.work.path().join(format!("{name}.log")), START_LIMIT)
        .await
}

fn program(bench: &Bench) -> Result<PathBuf> {
    match &bench.args.server {
        Some(program) => program.canonicalize().with_context(|| program.display().to_string()),
        None => Ok(std::env::current_exe()?.with_file_name("key-authority")),
    }
}
