//! The race: Verify against revocation, while a nemesis breaks one thing after another.

#![expect(clippy::doc_markdown, reason = "the comments of the arguments are the text of --help")]

mod callers;
mod history;
mod keys;
mod nemesis;
mod phases;
mod report;
mod revoker;
mod stock;
mod verifier;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use self::callers::{CallerRace, RevokedCallers};
use self::history::History;
use self::keys::Keys;
use self::nemesis::Nemesis;
use self::report::{Aftermath, Report};
use self::revoker::{Revoked, Revoker};
use self::stock::Stock;
use self::verifier::Lane;
use crate::arguments::{ServerArgs, duration};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::cluster::database::Kind;
use crate::cluster::{Cluster, Plan};
use crate::progress::say;
use crate::trouble::{Attempt as _, Trouble};

/// Keys that are never revoked.
const CONTROL_KEYS: usize = 16;
/// How much longer than the lease a call may take before it is made elsewhere.
const CALL_MARGIN: Duration = Duration::from_secs(2);

/// What a race is to be.
#[derive(Debug, Clone, Args)]
pub(crate) struct RaceArgs {
    /// Which database
    #[arg(long)]
    pub(crate) database: Kind,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Lease of the replicas, 5s to 60s: how long a change waits for one that is silent
    #[arg(long, default_value = "5s", value_parser = duration, value_name = "DURATION")]
    pub(crate) lease: Duration,
    /// Replicas, at least 2
    #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(2..=16))]
    pub(crate) replicas: u8,
    /// Callers of Verify, each at every replica; every second one uses VerifyStream
    #[arg(long, default_value_t = 8, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) verifiers: u8,
    /// Revocations to be made at least; it also goes on until each kind of fault has come once
    #[arg(long, default_value_t = 2_000, value_name = "COUNT")]
    pub(crate) revocations: u64,
    /// Racing Verifies to be answered at least: invoked between the invocation of their key's revocation and one lease and a
    /// second after its return
    #[arg(long, default_value_t = 1_000_000, value_name = "COUNT")]
    pub(crate) verifies: u64,
    /// The longest that a replica is stopped
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub(crate) freeze_max: Duration,
    /// Where the choices of the nemesis come from [default: another one each time; it is printed]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// File to write the report to as JSON [default: none]
    #[arg(long, value_name = "PATH")]
    pub(crate) json: Option<PathBuf>,
}

impl RaceArgs {
    /// How many Verifies must have been invoked after the return of their key's revocation: they alone can be stale, and a
    /// race without them shows nothing.
    fn verifies_after_return(&self) -> u64 {
        self.verifies.div_ceil(10).max(1)
    }
}

/// What all who take part share.
#[derive(Debug)]
pub(crate) struct World {
    history: History,
    keys: Keys,
    revoked: Revoked,
    callers: RevokedCallers,
}

impl World {
    /// How far it is, for people.
    fn standing(&self) -> String {
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

/// Runs a race and reports it.
pub(crate) async fn race(args: RaceArgs) -> Result<bool, Trouble> {
    let seed = args.seed.unwrap_or_else(Chance::any_seed);
    say!("race on {}, --seed {seed}", args.database.name());
    let mut chance = Chance::new(seed);
    let plan = Plan {
        database: args.database,
        replicas: args.replicas.into(),
        lease: args.lease,
        server: args.server.server.clone(),
        is_linked: true,
    };
    let mut cluster = Cluster::start(plan, &mut chance).await?;
    let clock = Clock::start();
    let margin = args.lease + Duration::from_secs(1);
    let world = Arc::new(World {
        history: History::new(clock, margin),
        keys: Keys::default(),
        revoked: Revoked::default(),
        callers: RevokedCallers::default(),
    });
    run(&args, &world, &mut cluster, &mut chance).await?;
    let lasted = clock.now();
    let aftermath = Aftermath::inspect(&world, &cluster).await?;
    let report = Report::new(&args, seed, &world, lasted, aftermath);
    report.publish(args.json.as_deref())?;
    Ok(report.is_good())
}

/// Lets all take part until it is enough.
async fn run(args: &RaceArgs, world: &Arc<World>, cluster: &mut Cluster, chance: &mut Chance) -> Result<(), Trouble> {
    let admin = cluster.clients(&cluster.token)?;
    let first = admin.first().ok_or("no replicas")?;
    first.create_account().await.attempt("CreateAccount")?;
    let verifier_token = first.create_verifier().await.attempt("CreateKey")?;
    let call_limit = args.lease + CALL_MARGIN;
    let mut stock = Stock { world: Arc::clone(world), clients: admin.clone(), chance: chance.fork(), call_limit };
    stock.make_control(CONTROL_KEYS).await?;

    let mut lanes = JoinSet::new();
    for verifier in 0..args.verifiers {
        for (client, replica) in cluster.clients(&verifier_token)?.into_iter().zip(&cluster.replicas) {
            let lane = Lane { world: Arc::clone(world), client, replica: replica.name.clone(), chance: chance.fork() };
            if verifier % 2 == 0 {
                lanes.spawn(lane.ask_singly())
            } else {
                lanes.spawn(lane.ask_on_a_stream())
            };
        }
    }
    let callers = CallerRace {
        world: Arc::clone(world),
        clients: admin.clone(),
        addresses: cluster.replicas.iter().map(|replica| replica.address.clone()).collect(),
        chance: chance.fork(),
        call_limit,
    };
    let enough = Notify::new();
    let revoker = Revoker { world: Arc::clone(world), clients: admin, chance: chance.fork(), call_limit };
    let nemesis = Nemesis { world: Arc::clone(world), cluster, chance: chance.fork(), freeze_max: args.freeze_max };
    let faults = async {
        nemesis.run(|| world.is_enough(args)).await?;
        enough.notify_one();
        Ok::<(), Trouble>(())
    };
    let work = async { tokio::try_join!(faults, revoker.run(&enough)).map(drop) };
    tokio::select! {
        done = work => done?,
        done = stock.run() => done?,
        done = Box::pin(callers.run()) => done?,
        Some(done) = lanes.join_next() => done.attempt("a verifier")?,
    }
    lanes.shutdown().await;
    Ok(())
}
