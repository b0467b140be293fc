//! The measurements, one after the other, and the report.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::fill::Authority;
use crate::load::{self, Measured, Mode, Plan, Target};
use crate::process::{self, Server};
use crate::progress::{self, say};
use crate::stock::{Presented, Stock};
use crate::trouble::{Attempt as _, Trouble};

/// What is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// How many keys are resident
    #[arg(long, default_value_t = 1_000_000, value_name = "COUNT")]
    keys: u64,
    /// How long each run is counted, in seconds
    #[arg(long, default_value_t = 3.0, value_name = "SECONDS")]
    time: f64,
    /// How often each is measured, in turn with what it is compared with; the median counts
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    rounds: usize,
    /// The server's program [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Folder in which the keys are kept for the next run [default: they are made anew, and removed]
    #[arg(long, value_name = "PATH")]
    stock: Option<PathBuf>,
}

/// Measures.
pub(crate) async fn run(args: RunArgs) -> Result<(), Trouble> {
    let work = tempfile::Builder::new().prefix("key-authority-bench-").tempdir().attempt("a folder")?;
    let stock = Stock::new(args.keys);
    let folder = args.stock.clone().unwrap_or_else(|| work.path().join("stock"));
    let authority = Authority::make(&folder, None, stock).await?;
    let ours = start_ours(&args, &authority, work.path()).await?;
    say!("the server is ready after {:.2?}", ours.started_in);
    let bare = start_bare(work.path()).await?;
    let sides = [("ours", target(&ours, stock, true)?), ("bare", target(&bare, stock, false)?)];
    for (name, mode, connections, in_flight) in [
        ("unary, 8 x 32", Mode::Unary, 8, 32),
        ("unary, 1 x 1", Mode::Unary, 1, 1),
        ("batch of 100, 4 x 4", Mode::Batch(100), 4, 4),
        ("stream, 1 x 512", Mode::Stream, 1, 512),
    ] {
        let plan = Plan {
            stock,
            presented: Presented::Valid,
            mode,
            connections,
            in_flight,
            warm_up: Duration::from_secs(1),
            time: Duration::from_secs_f64(args.time),
        };
        let mut rounds: [Vec<Measured>; 2] = Default::default();
        for _ in 0..args.rounds {
            for ((_, target), rounds) in sides.iter().zip(&mut rounds) {
                rounds.push(load::run(target.clone(), plan).await?);
            }
        }
        for ((side, _), rounds) in sides.iter().zip(rounds) {
            let Measured { server_us, per_second, generator_us, p50_us, p99_us, .. } = median(rounds)?;
            progress::print(&format!(
                "{name:20} {side}  server {server_us:7.3} us  {per_second:9.0}/s  generator {generator_us:6.2} us  p50 {p50_us:7.0}  p99 {p99_us:7.0}"
            ));
        }
    }
    Ok(())
}

/// The one whose CPU time lies in the middle.
fn median(mut rounds: Vec<Measured>) -> Result<Measured, Trouble> {
    rounds.sort_by(|one, other| one.server_us.total_cmp(&other.server_us));
    let middle = rounds.len() / 2;
    rounds.into_iter().nth(middle).ok_or_else(|| "no round was measured".into())
}

fn target(server: &Server, stock: Stock, is_real: bool) -> Result<Target, Trouble> {
    let token = stock.caller()?.reveal().to_owned();
    Ok(Target { address: server.grpc, usage: server.process.usage()?, token, is_real })
}

async fn start_ours(args: &RunArgs, authority: &Authority, work: &Path) -> Result<Server, Trouble> {
    let beside = || Ok::<_, Trouble>(std::env::current_exe()?.with_file_name("key-authority"));
    let program = args.server.clone().map_or_else(beside, Ok)?;
    let mut command = process::command(&program);
    command.arg("serve").arg("--data-dir").arg(&authority.folder);
    command.args(["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
    Server::start(command, &work.join("server.log")).await.attempt(program.display())
}

async fn start_bare(work: &Path) -> Result<Server, Trouble> {
    let mut command = process::command(std::env::current_exe()?);
    command.arg("bare");
    Server::start(command, &work.join("bare.log")).await
}
