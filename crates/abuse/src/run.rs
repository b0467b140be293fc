//! Runs the attacks one after the other, each against a server of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use key_authority_testkit::say;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::sleep;

use crate::attack::Attack;
use crate::attacks;
use crate::observer::{Observer, resident_mib};
use crate::report::{Outcome, Report};
use crate::samples::Phase;
use crate::server::{Options, Subject};
use crate::stage::{Stage, VICTIMS, VICTIMS_MEMORY_ONLY};

/// How long the good client is measured before an attack.
const QUIET: Duration = Duration::from_secs(2);
/// The same if latency has no bound: enough to know the memory before the attack.
const QUIET_MEMORY_ONLY: Duration = Duration::from_millis(500);
/// How long memory may take to fall after an attack.
const AFTER: Duration = Duration::from_secs(10);
/// The same with `--quick`, if there is little that could fall, or if only the largest memory has a bound.
const AFTER_LITTLE: Duration = Duration::from_secs(1);
const LITTLE_MIB: f64 = 8.0;

/// Attacks the real server, and measures what a good client notices.
///
/// The exit code is 1 if a bound is broken, 2 if the rig fails.
#[derive(Debug, Parser)]
#[command(name = "abuse")]
pub(crate) struct Args {
    /// Short attacks of 3 seconds
    #[arg(long)]
    pub(crate) quick: bool,
    /// Judge memory and what works after the attack, but no latency: for debug builds and busy machines
    #[arg(long)]
    pub(crate) memory_only: bool,
    /// Attacks to run, separated by commas [default: all]
    #[arg(long, value_delimiter = ',', value_name = "ATTACK")]
    pub(crate) only: Vec<String>,
    /// List the attacks
    #[arg(long)]
    pub(crate) list: bool,
    /// Length of each attack in seconds [default: 8, or 3 with --quick]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) time: Option<u64>,
    /// The server's executable [default: key-authority in the folder of this program]
    #[arg(long, value_name = "PATH")]
    pub(crate) server: Option<PathBuf>,
    /// URL of a PostgreSQL, MySQL or MariaDB server, on which each server has a database [default: SQLite]
    #[arg(long, env = "KEY_AUTHORITY_ABUSE_DATABASE_SERVER", hide_env_values = true, value_name = "URL")]
    pub(crate) database_server: Option<String>,
    /// File for the figures as JSON, with memory over time [default: none]
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// File for a graph of memory over time during `mix` [default: none]
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Instead of attacks, call for SECONDS with 8 Python clients while connections reach an age of 1 second
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "20")]
    pub(crate) age: Option<u64>,
    /// Python interpreter with grpcio, for --age
    #[arg(long, default_value = ".venv/bin/python3", value_name = "PATH")]
    pub(crate) python: PathBuf,
}

impl Args {
    pub(crate) fn program(&self) -> Result<PathBuf> {
        match &self.server {
            Some(program) => Ok(program.clone()),
            None => Ok(std::env::current_exe()?.with_file_name("key-authority")),
        }
    }

    fn time(&self) -> Duration {
        Duration::from_secs(self.time.unwrap_or(if self.quick { 3 } else { 8 }))
    }

    fn attacks(&self) -> Result<Vec<&'static Attack>> {
        if self.only.is_empty() {
            return Ok(attacks::ALL.to_vec());
        }
        let find = |name: &String| {
            let known = attacks::ALL.iter().copied().find(|attack| attack.name == *name);
            known.with_context(|| format!("no attack is named {name}; --list shows them"))
        };
        self.only.iter().map(find).collect()
    }
}

/// Runs the attacks; false if a bound is broken.
pub(crate) async fn run(args: &Args) -> Result<bool> {
    let attacks = args.attacks()?;
    raise_file_limit()?;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut report = Report::begin(load.trim());
    for (attack, number) in attacks.iter().zip(1..) {
        say!("{number} of {}: {}", attacks.len(), attack.name);
        let outcome = Box::pin(one(args, attack)).await.context(attack.name)?;
        say!("{}", outcome.summary());
        report.add(outcome, args.json.as_deref(), args.svg.as_deref())?;
    }
    report.end();
    Ok(report.is_good())
}

async fn one(args: &Args, attack: &Attack) -> Result<Outcome> {
    let options = Options { arguments: attack.arguments, has_tls: attack.has_tls, is_log_unread: attack.is_log_unread };
    let mut subject = Subject::start(&args.program()?, args.database_server.as_deref(), options).await?;
    let (victims, quiet) = if args.memory_only { (VICTIMS_MEMORY_ONLY, QUIET_MEMORY_ONLY) } else { (VICTIMS, QUIET) };
    let stage = Arc::new(Stage::set(&subject, victims).await.context("cannot create accounts and keys")?);
    attack.prepare(&stage).await?;
    let pid = subject.server.process.pid().context("the server has exited")?;
    let observer = Observer::start(&stage, pid)?;
    sleep(quiet).await;
    let before = resident_mib(pid).unwrap_or_default();
    observer.samples.begin(Phase::Attack);
    if let Err(error) = attack.run(&stage, args.time()).await {
        // A server that fails is a result, and so is an attack that it ended, but not one that never began.
        if stage.answers.all().is_empty() && subject.server.process.is_running() {
            stage.broken(format!("the attack did not happen: {error:#}"));
        } else {
            stage.note(format!("the attack ended early: {error:#}"));
        }
        sleep(args.time()).await;
    }
    observer.samples.begin(Phase::After);
    let is_little = resident_mib(pid).is_some_and(|now| now - before < LITTLE_MIB);
    sleep(if args.quick && (is_little || args.memory_only) { AFTER_LITTLE } else { AFTER }).await;
    let (samples, memory) = observer.finish().await?;
    if !subject.server.process.is_running() {
        stage.note("the server was not running at the end");
    }
    Ok(Outcome::new(attack, &stage, &samples, &memory, args.memory_only))
}

/// Raises the number of open files to the hard limit, for attackers with many connections. The server inherits it.
fn raise_file_limit() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .context("cannot raise the limit of open files")?;
    if file_limit() < 2_000 {
        bail!("at most {} open files are allowed; the attacks need 2,000", file_limit());
    }
    Ok(())
}

/// The number of files that this process may open.
pub(crate) fn file_limit() -> usize {
    getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}
