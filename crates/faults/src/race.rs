//! The race: Verify against revocation, while a nemesis injects one fault after another.

#![expect(clippy::doc_markdown, reason = "the comments of the arguments are the text of --help")]

mod callers;
mod history;
mod key_supply;
mod keys;
mod nemesis;
mod phases;
mod report;
mod revoker;
mod verifier;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use key_authority_testkit::clock::Clock;
use key_authority_testkit::rng::SeededRng;
use key_authority_testkit::say;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use self::callers::{CallerRace, RevokedCallers};
use self::history::History;
use self::key_supply::KeySupply;
use self::keys::Keys;
use self::nemesis::Nemesis;
use self::report::{Aftermath, Report};
use self::revoker::{Revoked, Revoker};
use self::verifier::Lane;
use crate::arguments::{ServerArgs, duration};
use crate::cluster::database::Kind;
use crate::cluster::{Cluster, Plan};

/// The number of control keys, which are never revoked.
const CONTROL_KEYS: usize = 16;
/// How much longer than the lease a call may take before it is retried elsewhere.
const CALL_MARGIN: Duration = Duration::from_secs(2);

/// The configuration of a race.
#[derive(Debug, Clone, Args)]
pub(crate) struct RaceArgs {
    /// Database
    #[arg(long)]
    pub(crate) database: Kind,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Lease of the replicas, 5s to 60s: how long a change waits for a silent replica
    #[arg(long, default_value = "5s", value_parser = duration, value_name = "DURATION")]
    pub(crate) lease: Duration,
    /// Number of replicas, at least 2
    #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(2..=16))]
    pub(crate) replicas: u8,
    /// Number of verifiers, each connected to every replica; every second one uses VerifyStream
    #[arg(long, default_value_t = 8, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) verifiers: u8,
    /// Minimum number of revocations; the race also goes on until each kind of fault has occurred
    #[arg(long, default_value_t = 2_000, value_name = "COUNT")]
    pub(crate) revocations: u64,
    /// Minimum number of racing Verifies: from the start of their key's revocation to one lease and a second after its
    /// return
    #[arg(long, default_value_t = 1_000_000, value_name = "COUNT")]
    pub(crate) verifies: u64,
    /// Longest time that a replica is stopped
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub(crate) freeze_max: Duration,
    /// Seed of the nemesis's choices [default: a random one, which is printed]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// File for the report as JSON [default: none]
    #[arg(long, value_name = "PATH")]
    pub(crate) json: Option<PathBuf>,
}

impl RaceArgs {
    /// The minimum number of Verifies that start after their key's revocation returned. Only these can be stale, so a
    /// race without them proves nothing.
    fn verifies_after_return(&self) -> u64 {
        self.verifies.div_ceil(10).max(1)
    }
}

/// The state that all participants share.
#[derive(Debug)]
pub(crate) struct World {
    history: History,
    keys: Keys,
    revoked: Revoked,
    callers: RevokedCallers,
}

impl World {
    /// The progress so far, for output.
    fn progress(&self) -> String {
        let counts = &self.history.counts;
        format!(
            "{} revocations, {} racing verifies, {} stale acceptances, {} false denials",
            self.revoked.returned.load(Ordering::Relaxed),
            counts.racing.load(Ordering::Relaxed),
            counts.stale_acceptances.load(Ordering::Relaxed),
            counts.false_denials.load(Ordering::Relaxed)
        )
    }

    fn is_enough(&self, args: &RaceArgs) -> bool {
        self.revoked.returned.load(Ordering::Relaxed) >= args.revocations
            && self.history.counts.racing.load(Ordering::Relaxed) >= args.verifies
            && self.history.counts.after_return.load(Ordering::Relaxed) >= args.verifies_after_return()
    }
}

/// Runs a race and reports it; false if a promise is broken.
pub(crate) async fn race(args: RaceArgs) -> Result<bool> {
    let seed = args.seed.unwrap_or_else(SeededRng::random_seed);
    say!("race on {}, --seed {seed}", args.database.name());
    let mut rng = SeededRng::new(seed);
    let plan = Plan {
        database: args.database,
        replicas: args.replicas.into(),
        lease: args.lease,
        server: args.server.server.clone(),
        is_linked: true,
    };
    let mut cluster = Cluster::start(plan, &mut rng).await?;
    let clock = Clock::start();
    let margin = args.lease + Duration::from_secs(1);
    let world = Arc::new(World {
        history: History::new(clock, margin),
        keys: Keys::default(),
        revoked: Revoked::default(),
        callers: RevokedCallers::default(),
    });
    run(&args, &world, &mut cluster, &mut rng).await?;
    let lasted = clock.now();
    let aftermath = Aftermath::inspect(&world, &cluster).await?;
    let report = Report::new(&args, seed, &world, lasted, aftermath);
    report.publish(args.json.as_deref())?;
    Ok(report.is_good())
}

/// Runs all participants until the minimum numbers are reached.
async fn run(args: &RaceArgs, world: &Arc<World>, cluster: &mut Cluster, rng: &mut SeededRng) -> Result<()> {
    let admin = cluster.clients(&cluster.token)?;
    let first = admin.first().context("no replicas")?;
    first.create_account().await.context("CreateAccount failed")?;
    let verifier_token = first.create_verifier().await.context("CreateKey failed")?;
    let call_limit = args.lease + CALL_MARGIN;
    let mut key_supply = KeySupply { world: Arc::clone(world), clients: admin.clone(), rng: rng.fork(), call_limit };
    key_supply.create_control(CONTROL_KEYS).await?;

    let mut lanes = JoinSet::new();
    for verifier in 0..args.verifiers {
        for (client, replica) in cluster.clients(&verifier_token)?.into_iter().zip(&cluster.replicas) {
            let lane = Lane { world: Arc::clone(world), client, replica: replica.name.clone(), rng: rng.fork() };
            if verifier % 2 == 0 {
                lanes.spawn(lane.call_verify())
            } else {
                lanes.spawn(lane.call_verify_stream())
            };
        }
    }
    let callers = CallerRace {
        world: Arc::clone(world),
        clients: admin.clone(),
        addresses: cluster.replicas.iter().map(|replica| replica.address.clone()).collect(),
        rng: rng.fork(),
        call_limit,
    };
    let enough = Notify::new();
    let revoker = Revoker { world: Arc::clone(world), clients: admin, rng: rng.fork(), call_limit };
    let nemesis = Nemesis { world: Arc::clone(world), cluster, rng: rng.fork(), freeze_max: args.freeze_max };
    let faults = async {
        nemesis.run(|| world.is_enough(args)).await?;
        enough.notify_one();
        anyhow::Ok(())
    };
    let work = async { tokio::try_join!(faults, revoker.run(&enough)).map(drop) };
    tokio::select! {
        done = work => done?,
        done = key_supply.run() => done?,
        done = Box::pin(callers.run()) => done?,
        Some(done) = lanes.join_next() => done.context("a verifier panicked")?,
    }
    lanes.shutdown().await;
    Ok(())
}
