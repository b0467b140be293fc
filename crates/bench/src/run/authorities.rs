//! The servers that are measured.

use std::path::PathBuf;

use super::Bench;
use crate::fill::Authority;
use crate::load::{self, Measured, Plan, Target};
use crate::process::{self, Server};
use crate::stock::Stock;
use crate::trouble::{Attempt as _, Trouble};

/// Ours and the bare framework, side by side.
pub(super) struct Pair {
    pub(super) ours: Server,
    pub(super) bare: Server,
    pub(super) stock: Stock,
}

impl Pair {
    /// Starts both; ours with so many keys in a database of `SQLite`.
    pub(super) async fn start(bench: &Bench, keys: u64) -> Result<Self, Trouble> {
        let authority = stocked(bench, keys).await?;
        let ours = ours(bench, &authority, "server").await?;
        let mut command = process::command(std::env::current_exe()?);
        command.arg("bare");
        let bare = Server::start(command, &bench.work.path().join("bare.log")).await?;
        Ok(Self { ours, bare, stock: authority.stock })
    }

    pub(super) fn ours(&self) -> Result<Target, Trouble> {
        target(&self.ours, self.stock, true)
    }

    pub(super) fn bare(&self) -> Result<Target, Trouble> {
        target(&self.bare, self.stock, false)
    }

    /// Measures both in turn, and gives of each the round whose CPU time lies in the middle.
    pub(super) async fn side_by_side(&self, plan: Plan, rounds: usize) -> Result<(Measured, Measured), Trouble> {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..rounds.max(1) {
            ours.push(load::run(self.ours()?, plan).await?);
            bare.push(load::run(self.bare()?, plan).await?);
        }
        Ok((middle(ours)?, middle(bare)?))
    }
}

/// The round whose CPU time lies in the middle.
pub(super) fn middle(mut rounds: Vec<Measured>) -> Result<Measured, Trouble> {
    rounds.sort_by(|one, other| one.server_us.total_cmp(&other.server_us));
    let middle = rounds.len() / 2;
    rounds.into_iter().nth(middle).ok_or_else(|| "no round was measured".into())
}

pub(super) fn target(server: &Server, stock: Stock, is_real: bool) -> Result<Target, Trouble> {
    let token = stock.caller()?.reveal().to_owned();
    Ok(Target { address: server.grpc, usage: server.process.usage()?, token, is_real })
}

/// So many keys in a database of `SQLite`.
pub(super) async fn stocked(bench: &Bench, keys: u64) -> Result<Authority, Trouble> {
    let all = bench.args.stock.clone().unwrap_or_else(|| bench.work.path().join("stock"));
    Box::pin(Authority::make(&all.join(keys.to_string()), None, Stock::new(keys))).await
}

/// The real server.
pub(super) async fn ours(bench: &Bench, authority: &Authority, name: &str) -> Result<Server, Trouble> {
    let program = program(bench)?;
    let mut command = process::command(&program);
    command.arg("serve").args(["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
    command.arg("--data-dir").arg(&authority.folder);
    if let Some(url) = &authority.database_url {
        // In a file: whoever lists the processes of this machine need not read its password.
        let file = authority.folder.join("database.url");
        std::fs::write(&file, url).attempt(file.display())?;
        command.arg("--database-url-file").arg(file).arg("--secret-file").arg(authority.secret_file());
    }
    Server::start(command, &bench.work.path().join(format!("{name}.log"))).await.attempt(program.display())
}

fn program(bench: &Bench) -> Result<PathBuf, Trouble> {
    match &bench.args.server {
        Some(program) => program.canonicalize().attempt(program.display()),
        None => Ok(std::env::current_exe()?.with_file_name("key-authority")),
    }
}
