//! `serve`: the only module where components are constructed and wired.
//!
//! Startup, in this order:
//!
//! t0: an `SQLite` file is checked and claimed, so that no other server uses it.
//! t1: the authority secret is read, and the connections that the database accepts are divided.
//! t2: the schema is migrated or checked, then the settings of the database.
//! t3: the lease is agreed and the first root key is made.
//! t4: the sockets are bound, so that a port in use ends the startup before anything is served.
//! t5: the replicator starts and the listeners accept calls.
//! t6: the first lease is there; the server announces that it is ready.
//!
//! [`wind_down`] has the order of the shutdown.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use key_authority_domain::audit::LOG_FORMAT_VERSION;
use key_authority_domain::verdict::Verdict;
use key_authority_replica::ReplicaState;
use key_authority_replica::replicator::{ReplicaConfig, Replicator, Settings};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::announce::{Addresses, announce, console_url, known_as};
use super::background::{first_lease, keep_health, keep_usage};
use super::config::Config;
use super::resources::Resources;
use super::routes;
use super::serve_error::ServeError;
use super::server::Server;
use super::shutdown::{Shutdown, WindDown, raise_open_files_limit, wind_down};
use super::side_port::SidePort;
use crate::admin::Stores;
use crate::entropy;
use crate::observability::error_chain::whole;
use crate::observability::metrics::{Metrics, SharedMetrics};
use crate::observability::telemetry::{DroppedLines, Telemetry};
use crate::rpc::health::Health;
use crate::transport::budget::ProcessBudget;
use crate::transport::listener::{Drained, Listener};
use crate::transport::tls;
use crate::version::VERSION;
use crate::wire::methods::MethodTable;
use crate::wire::request_types::RequestTypes;

/// Serves until `shutdown` is requested, or until the replicator ends: without it there is never a lease again.
///
/// # Errors
/// [`ServeError`]: before anything is served, or during the shutdown.
pub(crate) async fn serve(config: Config, telemetry: &Telemetry, shutdown: Shutdown) -> Result<(), ServeError> {
    warn_at_start(&config);
    let methods = MethodTable::from_descriptor_sets(routes::DESCRIPTOR_SETS.iter().copied())?;
    let request_types = RequestTypes::from_descriptor_sets(routes::DESCRIPTOR_SETS.iter().copied());
    let request_types = request_types.map_err(ServeError::RequestTypes)?;
    let metrics = SharedMetrics::new(Metrics::new(VERSION, &methods, &Verdict::ALL.map(Verdict::as_str)));
    let budget = ProcessBudget::new(config.held_bytes_max, config.anonymous_verify);
    // Waiting for a lock, or for the end of a lease, can take a minute.
    let opened = Box::pin(async {
        Ok::<_, ServeError>((Resources::open(&config).await?, Listeners::open(&config, &budget, &metrics).await?))
    });
    let Some(opened) = shutdown.child().run_until_cancelled(opened).await else { return Ok(()) };
    let (resources, listeners) = opened?;
    let addresses = listeners.addresses();

    let replicator = Replicator::start(settings(&config, &resources, addresses.grpc))?;
    let replica = Arc::clone(replicator.state());
    watch_metrics(&metrics, &replica, &resources, listeners.tls.clone(), budget, telemetry.dropped_lines());
    let (stop_calls, ended) = (CancellationToken::new(), CancellationToken::new());
    let (health, health_service) = Health::new();
    let (reads, changes) = (resources.store.clone(), resources.changes.clone());
    let stores = Stores { reads, reads_max: resources.reads_max, changes };
    let console_url = console_url(&config, &addresses);
    let parts = (&resources.keyring, stores, &replica, request_types);
    let server = Server::new(&config, parts, console_url, &metrics, telemetry.tracer(), health_service);
    let mut serving = JoinSet::new();
    serve_calls(&mut serving, &config, &server, listeners.calls, &stop_calls, &shutdown)?;
    let (tasks, stop_usage) = (TaskTracker::new(), CancellationToken::new());
    tasks.spawn(listeners.side_port.serve(health.clone(), metrics, ended.clone()));
    tasks.spawn(keep_health(health.clone(), Arc::clone(&replica), ended.clone()));
    let mut kept_file = tasks.spawn(resources.keep_file(ended.clone()));
    let usage = tasks.spawn(keep_usage(resources.usage.clone(), Arc::clone(&replica), stop_usage.clone()));
    if let Some(reloader) = listeners.reloader {
        tasks.spawn(reloader.run(shutdown.reload(), ended.clone()));
    }
    health.set_alive(true);
    let mut failed = None;
    tokio::select! {
        () = announce_ready(&config, &addresses, &resources, &replica) => {}
        () = shutdown.requested() => {}
        _ = replicator.ended() => shutdown.request(),
        Ok(Some(error)) = &mut kept_file => return Err(error.into()),
        Some(Err(error)) = serving.join_next() => {
            failed = Some(error);
            shutdown.request();
        }
    }

    let plan = WindDown::new(&config, &shutdown, health, stop_calls, serving);
    let flush = async {
        // A flush in progress puts what it could not write back, for this one.
        stop_usage.cancel();
        let _ = usage.await;
        if let Err(error) = replica.usage().flush(&resources.usage).await {
            tracing::warn!(error = %whole(&error), "cannot flush the last uses of keys");
        }
        ended.cancel();
        tasks.close();
        tasks.wait().await;
        resources.close().await;
    };
    let mut stopped = Ok(());
    let leave = async { stopped = replicator.stop().await };
    Box::pin(wind_down(plan, leave, flush)).await;
    stopped?;
    failed.map_or(Ok(()), |error| Err(ServeError::Listener(error)))
}

/// Logs warnings for the operator before anything is served.
fn warn_at_start(config: &Config) {
    if cfg!(feature = "ignore-lease") {
        tracing::error!("this build answers without a lease, for the fault harness only; NEVER use it in production");
    }
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    if let Some(files) = raise_open_files_limit().filter(|files| *files < config.limits.places.total as u64) {
        tracing::warn!(files, "limit of open files is lower than --max-connections");
    }
}

/// Announces that the server is ready once it has a lease, and never returns.
async fn announce_ready(config: &Config, addresses: &Addresses, resources: &Resources, replica: &ReplicaState) {
    first_lease(replica).await;
    let storage = resources.store.kind();
    if let Err(error) = announce(config, addresses, storage) {
        // Standard output has no reader; the server continues.
        tracing::warn!(error = %error, "cannot write to standard output");
    }
    tracing::info!(grpc = %addresses.grpc, http = %addresses.http, storage = %storage, "ready");
    std::future::pending::<()>().await;
}

/// Serves calls on each listener, until `stop` is cancelled and they are drained.
fn serve_calls(
    serving: &mut JoinSet<Drained>,
    config: &Config,
    server: &Server,
    listeners: CallListeners,
    stop: &CancellationToken,
    shutdown: &Shutdown,
) -> Result<(), ServeError> {
    let drain = config.drain_timeout;
    let hurried = |listener: Listener| listener.with_hurry(shutdown.hurried());
    serving.spawn(hurried(listeners.grpc).serve(server.connections(server.services.all()?), stop.clone(), drain));
    if let Some(listener) = listeners.verify {
        serving.spawn(hurried(listener).serve(server.connections(server.services.verify_only()?), stop.clone(), drain));
    }
    if let Some(listener) = listeners.api {
        serving.spawn(hurried(listener).serve(server.door(config)?, stop.clone(), drain));
    }
    Ok(())
}

/// The listeners that serve calls.
struct CallListeners {
    grpc: Listener,
    verify: Option<Listener>,
    api: Option<Listener>,
}

/// The sockets. They are bound before anything is served, so that a port in use ends the startup.
struct Listeners {
    calls: CallListeners,
    side_port: SidePort,
    tls: Option<tls::Acceptor>,
    reloader: Option<tls::Reloader>,
}

impl Listeners {
    async fn open(config: &Config, budget: &ProcessBudget, metrics: &SharedMetrics) -> Result<Self, ServeError> {
        let (tls, reloader) = match config.tls.clone() {
            Some(files) => tls::load(files).await.map(|(acceptor, reloader)| (Some(acceptor), Some(reloader)))?,
            None => (None, None),
        };
        let bind = |flag, address| {
            let bound = Listener::bind(address, tls.clone(), config.limits, budget.clone(), metrics.clone());
            bound.map_err(|source| ServeError::Bind { flag, address, source })
        };
        let verify = match config.verify_listen {
            Some(address) => Some(bind("verify-listen", address)?),
            None => None,
        };
        let api = match config.api_listen {
            Some(address) => Some(bind("api-listen", address)?.with_http1()),
            None => None,
        };
        let (flag, address) = ("http-listen", config.http_listen);
        let side_port = SidePort::bind(address).map_err(|source| ServeError::Bind { flag, address, source })?;
        let calls = CallListeners { grpc: bind("listen", config.listen)?, verify, api };
        Ok(Self { calls, side_port, tls, reloader })
    }

    fn addresses(&self) -> Addresses {
        Addresses {
            grpc: self.calls.grpc.address(),
            verify: self.calls.verify.as_ref().map(Listener::address),
            api: self.calls.api.as_ref().map(Listener::address),
            http: self.side_port.address(),
        }
    }
}

fn settings(config: &Config, resources: &Resources, address: SocketAddr) -> Settings {
    let notify_url = config.database.notify_url.as_ref().filter(|_| resources.listens);
    Settings {
        database_url: config.database.url.expose().to_owned(),
        notify_url: notify_url.map(|url| url.expose().to_owned()),
        keyring: Arc::clone(&resources.keyring),
        replica: ReplicaConfig {
            timings: resources.timings,
            is_alone: resources.file.is_some(),
            build: format!("{VERSION}+log{LOG_FORMAT_VERSION}"),
            address: known_as(address),
            entropy: |bytes| entropy::fill(bytes).map_err(io::Error::other),
        },
    }
}

fn watch_metrics(
    metrics: &SharedMetrics,
    replica: &Arc<ReplicaState>,
    resources: &Resources,
    tls: Option<tls::Acceptor>,
    budget: ProcessBudget,
    dropped_lines: DroppedLines,
) {
    let replica = Arc::clone(replica);
    let (store, changes, usage) = (resources.store.clone(), resources.changes.clone(), resources.usage.clone());
    metrics.on_scrape(move |metrics| {
        metrics.replica.refresh(&replica);
        metrics.set_statements("requests", store.statements());
        metrics.set_statements("changes", changes.statements());
        metrics.set_statements("usage", usage.statements());
        metrics.set_waiting_changes(changes.waiting_changes());
        metrics.connections.set_held_bytes(budget.held());
        metrics.connections.set_certificate_expiry(tls.as_ref().and_then(tls::Acceptor::expiry));
        metrics.set_dropped_lines(dropped_lines.counts());
    });
}
