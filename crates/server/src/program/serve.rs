//! `serve`: the one place where everything is constructed and wired.
//!
//! Up: secret → database → alone on it → schema → settings → root key → sockets → replicator → first lease → ready. Down:
//! not serving → drain → leave the registry → write usage down.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use key_authority_domain::audit::LOG_FORMAT_VERSION;
use key_authority_domain::secret::Keyring;
use key_authority_domain::verdict::Verdict;
use key_authority_replica::ReplicaState;
use key_authority_replica::clock::boottime;
use key_authority_replica::replicator::{EndError, Replicator, Settings, StartError};
use key_authority_replica::terms::{LeaseTimings, TermsError};
use key_authority_replica::usage::{FLUSH_INTERVAL, next_flush_delay};
use key_authority_storage::Store;
use key_authority_storage::alone::{ExclusiveLock, ExclusiveLockError};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceBuilder;

use crate::VERSION;
use crate::admin::Admin;
use crate::admin::service::Service;
use crate::auth::permit::Callers;
use crate::entropy;
use crate::observability::metrics::{Metrics, SharedMetrics};
use crate::observability::side_port::SidePort;
use crate::observability::telemetry::TraceLayer;
use crate::program::announce::{Addresses, announce, known_as};
use crate::program::bootstrap::{self, BootstrapError};
use crate::program::config::{Config, twin};
use crate::program::file_permissions::warn_of_open_files;
use crate::program::routes::{self, ReflectionError};
use crate::program::shutdown::{Shutdown, WindDown, raise_open_files_limit, wind_down};
use crate::program::startup::{self, OpenError};
use crate::rpc::deadline::{DeadlineLayer, Deadlines};
use crate::rpc::decode_errors::MalformedLayer;
use crate::rpc::health::Health;
use crate::transport::listener::Listener;
use crate::transport::peer::{Peer, WithPeer};
use crate::transport::tls::{self, TlsError};
use crate::verify::Verifier;
use crate::verify::door::{Door, Questions};
use crate::wire::methods::MethodTable;

/// How often health is brought up to date. A lease that ends is noticed by the calls themselves at once.
const HEALTH_INTERVAL: Duration = Duration::from_millis(50);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Secret or database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database is served already, and takes one server only.
    #[error(transparent)]
    ExclusiveLock(#[from] ExclusiveLockError),
    /// The lease.
    #[error(transparent)]
    LeaseTimings(#[from] TermsError),
    /// The root key.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// A certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address could not be bound.
    #[error("--{flag} {address} cannot be bound{}", advice(flag, .source))]
    Bind {
        /// The flag.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The replicator's thread.
    #[error(transparent)]
    Replicator(#[from] StartError),
    /// It ended while we served.
    #[error(transparent)]
    ReplicatorEnded(#[from] EndError),
    /// A descriptor set of ours does not decode.
    #[error("reflection cannot be set up")]
    Reflection(#[from] ReflectionError),
    /// A descriptor set of ours does not decode.
    #[error("the list of methods cannot be read")]
    Methods(#[from] prost::DecodeError),
}

/// What to do about an address that cannot be bound.
fn advice(flag: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let twin = twin(flag);
            format!(" (another program listens there: end it, or set --{flag} or {twin} to another port)")
        }
        io::ErrorKind::AddrNotAvailable => " (this machine has no such address; 0.0.0.0 is all that it has)".into(),
        _ => String::new(),
    }
}

/// Serves until it is told to stop, or until the replicator ends, without which there is nothing to serve.
///
/// # Errors
/// [`ServeError`]: before anything is served, or at the end.
pub async fn serve(config: Config, is_tracing: bool, shutdown: Shutdown) -> Result<(), ServeError> {
    if cfg!(feature = "ignore-lease") {
        tracing::error!(
            "this build answers without a lease, to prove that the fault harness finds it out: NEVER serve with it"
        );
    }
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    if let Some(files) = raise_open_files_limit().filter(|files| *files < config.limits.max_connections as u64) {
        tracing::warn!(files, "the system allows fewer open files than --max-connections connections");
    }
    let methods = Arc::new(MethodTable::from_descriptor_sets(routes::DESCRIPTOR_SETS.iter().copied())?);
    let verdicts = Verdict::ALL.map(Verdict::as_str);
    let metrics = SharedMetrics::new(Metrics::new(VERSION, &methods, &verdicts));
    // Waiting for a lock, or for a lease to end, can take a minute.
    let opened =
        Box::pin(async { Ok::<_, ServeError>((Facts::open(&config).await?, Doors::open(&config, &metrics).await?)) });
    let Some(opened) = shutdown.child().run_until_cancelled(opened).await else { return Ok(()) };
    let (facts, doors) = opened?;
    warn_of_open_files(&config);
    let addresses = doors.addresses();

    let replicator = Replicator::start(settings(&config, &facts, addresses.grpc))?;
    let view = Arc::clone(replicator.view());
    watch_metrics(&metrics, &view, &facts);
    let (stop_calls, ended) = (CancellationToken::new(), CancellationToken::new());
    let callers = Arc::new(Callers::new(Arc::clone(&view), Arc::clone(&facts.keyring), config.anonymous_verify));
    let verifier = Arc::new(Verifier::new(Arc::clone(&view), Arc::clone(&facts.keyring), metrics.clone()));
    let deadlines = Deadlines::new(config.request_timeout);
    let questions =
        Questions::new(Arc::clone(&callers), Arc::clone(&verifier), deadlines, &metrics.calls(), stop_calls.clone());
    // A span belongs to the general way.
    let questions = (!is_tracing).then(|| Arc::new(questions));
    let service = Service::new(
        callers,
        verifier,
        Admin::new(facts.store.clone(), Arc::clone(&view), metrics.clone()),
        metrics.clone(),
        stop_calls.clone(),
    );
    let (health, health_service) = Health::new();
    let layers = ServiceBuilder::new()
        .layer(metrics.calls())
        .layer(TraceLayer::new(is_tracing, Arc::clone(&methods)))
        .layer(DeadlineLayer::new(methods, deadlines))
        .layer(MalformedLayer);

    let mut listeners = JoinSet::new();
    let all = layers.clone().service(routes::all(&service, health_service.clone(), &stop_calls)?.prepare());
    listeners.spawn(doors.grpc.serve(door(questions.clone(), all), stop_calls.clone(), config.drain_timeout));
    if let Some(listener) = doors.verify {
        let some = layers.service(routes::verify_only(&service, health_service, &stop_calls)?.prepare());
        listeners.spawn(listener.serve(door(questions, some), stop_calls.clone(), config.drain_timeout));
    }
    let tasks = TaskTracker::new();
    tasks.spawn(doors.side_port.serve(health.clone(), metrics, ended.clone()));
    tasks.spawn(keep_health(health.clone(), Arc::clone(&view), ended.clone()));
    tasks.spawn(keep_usage(facts.usage.clone(), Arc::clone(&view), ended.clone()));
    if let Some(reloader) = doors.reloader {
        tasks.spawn(reloader.run(ended.clone()));
    }
    health.set_alive(true);
    let is_ready = async {
        first_lease(&view).await;
        if let Err(error) = announce(&config, &addresses, facts.store.kind()) {
            // Nobody reads it there; calls are answered all the same.
            tracing::warn!(error = %error, "standard output cannot be written to");
        }
        tracing::info!(grpc = %addresses.grpc, http = %addresses.http, storage = %facts.store.kind(), "ready");
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = is_ready => {}
        () = shutdown.requested() => {}
        _ = replicator.ended() => shutdown.request(),
    }

    let plan = WindDown { health, delay: config.shutdown_delay, stop_calls, listeners, drain: config.drain_timeout };
    let flush = async {
        if let Err(error) = view.usage().flush(&facts.usage).await {
            tracing::warn!(error = %error, "the last uses of keys were not written down");
        }
        ended.cancel();
        tasks.close();
        tasks.wait().await;
        facts.store.close().await;
        facts.usage.close().await;
    };
    let mut stopped = Ok(());
    let leave = async { stopped = replicator.stop().await };
    Box::pin(wind_down(plan, leave, flush)).await;
    Ok(stopped?)
}

/// The service of each connection.
fn door<G: Clone + Send>(
    questions: Option<Arc<Questions>>,
    general: G,
) -> impl Fn(Peer) -> Door<WithPeer<G>> + Clone + Send {
    move |peer| Door::new(questions.clone(), peer.address(), WithPeer::new(general.clone(), peer))
}

/// What the server works on.
struct Facts {
    keyring: Arc<Keyring>,
    store: Store,
    /// A connection of its own, so that writing usage down never stands in an operator's way.
    usage: Store,
    terms: LeaseTimings,
    /// Held while the server runs.
    alone: Option<ExclusiveLock>,
}

impl Facts {
    async fn open(config: &Config) -> Result<Self, ServeError> {
        let keyring = startup::keyring(config)?;
        let store = startup::connect(config, &keyring, config.database.connections).await?;
        // Before anything is written: a server that runs on the file knows the schema as it is.
        let alone = store.acquire_exclusive().await?;
        startup::prepare(config, &store, alone.as_ref()).await?;
        startup::check_settings(&store).await?;
        if let Some(alone) = &alone {
            // A server before this one may have been killed: no change shall wait for it.
            store.clear_registry(alone).await.map_err(BootstrapError::from)?;
        }
        let usage = startup::connect(config, &keyring, 1).await?;
        let terms = LeaseTimings::agree(&store, config.lease).await?;
        make_first_key(config, &store).await?;
        Ok(Self { keyring, store, usage, terms, alone })
    }
}

/// The sockets, bound before anything is answered, so that a port that is taken ends the start.
struct Doors {
    grpc: Listener,
    verify: Option<Listener>,
    side_port: SidePort,
    reloader: Option<tls::Reloader>,
}

impl Doors {
    async fn open(config: &Config, metrics: &SharedMetrics) -> Result<Self, ServeError> {
        let (tls, reloader) = match config.tls.clone() {
            Some(files) => tls::load(files).await.map(|(acceptor, reloader)| (Some(acceptor), Some(reloader)))?,
            None => (None, None),
        };
        let bind = async |flag, address| {
            let bound = Listener::bind(address, tls.clone(), config.limits, metrics.clone()).await;
            bound.map_err(|source| ServeError::Bind { flag, address, source })
        };
        let verify = match config.verify_listen {
            Some(address) => Some(bind("verify-listen", address).await?),
            None => None,
        };
        let (flag, address) = ("http-listen", config.http_listen);
        let side_port = SidePort::bind(address).await.map_err(|source| ServeError::Bind { flag, address, source })?;
        Ok(Self { grpc: bind("listen", config.listen).await?, verify, side_port, reloader })
    }

    fn addresses(&self) -> Addresses {
        Addresses {
            grpc: self.grpc.address(),
            verify: self.verify.as_ref().map(Listener::address),
            http: self.side_port.address(),
        }
    }
}

fn settings(config: &Config, facts: &Facts, address: SocketAddr) -> Settings {
    Settings {
        database_url: config.database.url.expose().to_owned(),
        notify_url: config.database.notify_url.as_ref().map(|url| url.expose().to_owned()),
        keyring: Arc::clone(&facts.keyring),
        terms: facts.terms,
        is_alone: facts.alone.is_some(),
        build: format!("{VERSION}+log{LOG_FORMAT_VERSION}"),
        address: known_as(address),
        entropy: |bytes| entropy::fill(bytes).map_err(io::Error::other),
    }
}

/// The root key, from the file that the operator names, or from one made for the embedded default.
async fn make_first_key(config: &Config, store: &Store) -> Result<(), ServeError> {
    let file = match &config.bootstrap_token_file {
        Some(file) => file.clone(),
        None if config.database.embedded => {
            let file = config.root_token_file();
            bootstrap::prepare_file(store, &file).await?;
            file
        }
        None => {
            let system = key_authority_domain::id::AccountId::system();
            if store.account(&system).await.map_err(BootstrapError::from)?.is_none() {
                tracing::warn!(
                    "there is no root key yet: run `key-authority bootstrap`, or start with --bootstrap-token-file"
                );
            }
            return Ok(());
        }
    };
    if bootstrap::from_file(store, &file).await? {
        tracing::info!(file = %file.display(), "made the root key from the token in this file");
    } else if config.bootstrap_token_file.is_some() {
        tracing::info!(file = %file.display(), "there was a root key before: the token in this file is not read");
    }
    Ok(())
}

async fn first_lease(view: &ReplicaState) {
    while !view.has_lease() {
        sleep(HEALTH_INTERVAL).await;
    }
}

async fn keep_health(health: Health, view: Arc<ReplicaState>, ended: CancellationToken) {
    loop {
        health.set_verify(view.has_lease());
        health.set_storage(view.storage_answers());
        if ended.run_until_cancelled(sleep(HEALTH_INTERVAL)).await.is_none() {
            return;
        }
    }
}

async fn keep_usage(store: Store, view: Arc<ReplicaState>, ended: CancellationToken) {
    let mut pause = FLUSH_INTERVAL;
    while ended.run_until_cancelled(sleep(pause)).await.is_some() {
        let began = boottime();
        if let Err(error) = view.usage().flush(&store).await {
            tracing::debug!(error = %error, "uses of keys were not written down; they are kept");
        }
        pause = next_flush_delay(boottime().since(began));
    }
}

fn watch_metrics(metrics: &SharedMetrics, view: &Arc<ReplicaState>, facts: &Facts) {
    let (view, store, usage) = (Arc::clone(view), facts.store.clone(), facts.usage.clone());
    metrics.on_scrape(move |metrics| {
        metrics.replica.refresh(&view);
        metrics.set_statements("requests", store.statements());
        metrics.set_statements("usage", usage.statements());
        metrics.set_waiting_changes(store.waiting_changes());
    });
}
