//! The transport over real sockets: who is let in, who is put out, and how it all ends. The certificates of
//! `transport_certs/` are for `localhost`, signed by themselves, and good for a hundred years; nothing trusts them but
//! these tests.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed, which is all that it should do")]

#[path = "transport/floods.rs"]
mod floods;
#[path = "transport/places.rs"]
mod places;

use key_authority_server::testing::{
    CallPolicy, CallTracer, ConnectionContext, ConnectionRejected, ConnectionService, Deadlines, Drained, Format,
    Health, Limits, Listener, MethodTable, Metrics, PlaceLimits, ProcessBudget, RawMethods, SharedMetrics,
    VERIFY_SERVICE, VerifyState, WithPeer,
    tls::{self, Reload, TlsFiles},
};
use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderMap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health as HealthRpc, HealthServer};
use tonic_health::pb::{FILE_DESCRIPTOR_SET, HealthCheckRequest, HealthCheckResponse};

/// The header that makes a caller a known one.
const KNOWN: &str = "known";
/// Longer than any wait that goes well.
const FOREVER: Duration = Duration::from_mins(10);
const PLACES: PlaceLimits =
    PlaceLimits { total: 100, per_address: 100, per_caller: 100, strangers: 100, strangers_per_address: 100 };
const LIMITS: Limits = Limits {
    places: PLACES,
    preface_timeout: FOREVER,
    max_connection_age: FOREVER,
    max_connection_age_grace: FOREVER,
    max_streams_per_connection: 100,
};

async fn in_time<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.unwrap_or_else(|_| panic!("took too long: {what}"))
}

struct Server {
    address: SocketAddr,
    health: Health,
    metrics: SharedMetrics,
    stop: CancellationToken,
    served: JoinHandle<Drained>,
}

impl Server {
    fn start(limits: Limits, drain: Duration, tls: Option<tls::Acceptor>) -> Self {
        let (health, service) = Health::new();
        Self::start_with(Routes::new(service), health, limits, FOREVER, drain, tls)
    }

    fn start_with(
        routes: Routes,
        health: Health,
        limits: Limits,
        longest: Duration,
        drain: Duration,
        tls: Option<tls::Acceptor>,
    ) -> Self {
        let methods = MethodTable::from_descriptor_sets([FILE_DESCRIPTOR_SET]).unwrap();
        let metrics = Arc::new(Metrics::new("0", &methods, &[]));
        let listener = Listener::bind(
            (Ipv4Addr::LOCALHOST, 0).into(),
            tls,
            limits,
            ProcessBudget::new(1 << 28, false),
            metrics.clone(),
        );
        let listener = listener.unwrap();
        // As `serve` wires it, with a header instead of a token and no raw method.
        let policy = CallPolicy::new(metrics.calls(), Deadlines::new(longest), CallTracer::default());
        let (raw, tonic) = (Arc::new(RawMethods::new(Vec::new())), routes.prepare());
        let (address, stop) = (listener.address(), CancellationToken::new());
        let served = tokio::spawn(listener.serve(
            move |connection: ConnectionContext| {
                let tonic = WithPeer::new(tonic.clone(), connection.peer.clone());
                let place = Arc::clone(&connection.place);
                let authenticate = move |headers: &HeaderMap| {
                    if headers.contains_key(KNOWN) {
                        place.promote(None, || false);
                    }
                };
                ConnectionService::new(Arc::clone(&raw), policy.clone(), authenticate, tonic, connection)
            },
            stop.clone(),
            drain,
        ));
        Self { address, health, metrics, stop, served }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap()
    }

    async fn client(&self) -> HealthClient<Channel> {
        HealthClient::new(self.endpoint().connect().await.unwrap())
    }

    async fn stop(self) -> Drained {
        self.stop.cancel();
        in_time("the listener ends", self.served).await.unwrap()
    }
}

/// A request of a known caller.
fn known(service: &str) -> Request<HealthCheckRequest> {
    let mut request = Request::new(of(service));
    request.metadata_mut().insert(KNOWN, "yes".parse().unwrap());
    request
}

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

/// Waits until the server closes `stream`, and returns what it had said.
async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // A reset is as good an end as any.
    let _ = in_time("the server closes the connection", stream.read_to_end(&mut said)).await;
    said
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let limits = Limits { preface_timeout: Duration::from_millis(20), ..LIMITS };
    let server = Server::start(limits, FOREVER, None);
    let mut silent = server.connect().await;
    assert!(closed(&mut silent).await.is_empty());
    let mut slow = server.connect().await;
    slow.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    assert!(closed(&mut slow).await.is_empty());
    assert_eq!(server.metrics.connections.rejections(ConnectionRejected::TimedOut), 2);
    // One that speaks lives on beyond that time.
    let mut client = server.client().await;
    let status = client.check(of("")).await.unwrap().into_inner().status();
    assert_eq!(status, ServingStatus::NotServing);
    assert_eq!(server.stop().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_connection_that_speaks_another_protocol_is_closed_at_once() {
    let server = Server::start(LIMITS, FOREVER, None);
    let mut browser = server.connect().await;
    browser.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(closed(&mut browser).await.is_empty());
    assert_eq!(server.metrics.connections.rejections(ConnectionRejected::NotHttp2), 1);
}

#[tokio::test]
async fn an_open_watch_ends_with_the_health_and_holds_nothing_up() {
    let server = Server::start(LIMITS, FOREVER, None);
    server.health.set_verify(VerifyState::Ready);
    let mut watch = server.client().await.watch(of(VERIFY_SERVICE)).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    server.health.close();
    assert_eq!(server.stop().await, Drained { cut: 0 });
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(watch.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut_when_the_drain_time_is_over() {
    let noting = Noting::default();
    let routes = Routes::new(HealthServer::new(noting.clone()));
    let drain = Duration::from_millis(50);
    let server = Server::start_with(routes, Health::new().0, LIMITS, FOREVER, drain, None);
    let mut client = server.client().await;
    let slow = tokio::spawn(async move { client.check(of("slow")).await });
    noting.waiting.notified().await;
    assert_eq!(server.stop().await, Drained { cut: 1 });
    in_time("the client hears of it", slow).await.unwrap().unwrap_err();
}

#[tokio::test]
async fn connections_without_a_call_end_at_once_at_shutdown() {
    let server = Server::start(LIMITS, FOREVER, None);
    let mut silent = server.connect().await;
    // Answered, so both connections have been accepted: they are, in order.
    let mut idle = server.client().await;
    idle.check(of("")).await.unwrap();
    let address = server.address;
    assert_eq!(server.stop().await, Drained { cut: 0 });
    assert!(closed(&mut silent).await.is_empty());
    assert!(TcpStream::connect(address).await.is_err());
}

/// A health service that notes who asks, and answers for `slow` only when it is released.
#[derive(Clone, Default)]
struct Noting {
    peers: Arc<Mutex<HashSet<SocketAddr>>>,
    certificates: Arc<Mutex<usize>>,
    waiting: Arc<Notify>,
    release: Arc<Notify>,
}

#[tonic::async_trait]
impl HealthRpc for Noting {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        self.peers.lock().unwrap().insert(request.remote_addr().unwrap());
        *self.certificates.lock().unwrap() = request.peer_certs().map_or(0, |certificates| certificates.len());
        if request.get_ref().service == "slow" {
            self.waiting.notify_one();
            self.release.notified().await;
        }
        Ok(Response::new(HealthCheckResponse::default()))
    }

    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }
}

fn noting(limits: Limits, longest: Duration, tls: Option<tls::Acceptor>) -> (Noting, Server) {
    let noting = Noting::default();
    let routes = Routes::new(HealthServer::new(noting.clone()));
    (noting, Server::start_with(routes, Health::new().0, limits, longest, FOREVER, tls))
}

#[tokio::test]
async fn an_aged_connection_ends_its_calls_while_new_ones_go_to_another() {
    let limits = Limits { max_connection_age: Duration::from_millis(50), ..LIMITS };
    let (noting, server) = noting(limits, FOREVER, None);
    let mut client = server.client().await;
    let mut other = client.clone();
    let slow = tokio::spawn(async move { other.check(of("slow")).await });
    noting.waiting.notified().await;
    in_time("a new connection takes over", async {
        while noting.peers.lock().unwrap().len() < 2 {
            // The channel does not repeat a call that it had queued on the connection when the GOAWAY came.
            let _ = client.check(of("")).await;
        }
    })
    .await;
    noting.release.notify_one();
    in_time("the slow call ends", slow).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_in_flight_ends_well_at_shutdown() {
    let (noting, server) = noting(LIMITS, FOREVER, None);
    let mut client = server.client().await;
    let slow = tokio::spawn(async move { client.check(of("slow")).await });
    noting.waiting.notified().await;
    server.stop.cancel();
    noting.release.notify_one();
    in_time("the slow call ends", slow).await.unwrap().unwrap();
    assert_eq!(server.stop().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_call_past_its_deadline_is_refused_and_counted() {
    let (noting, server) = noting(LIMITS, Duration::from_secs(1), None);
    let mut client = server.client().await;
    let status = in_time("the deadline", client.check(of("slow"))).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    client.check(of("")).await.unwrap();
    assert_eq!(noting.peers.lock().unwrap().len(), 1, "the connection lives on");
    drop(client);
    assert_eq!(
        server.metrics.encode(Format::Prometheus).unwrap().lines().filter(|line| is_handled_check(line)).count(),
        2
    );
    server.stop().await;
}

fn is_handled_check(line: &str) -> bool {
    let labels = "grpc_server_handled_total{grpc_service=\"grpc.health.v1.Health\",grpc_method=\"Check\"";
    ["DeadlineExceeded", "OK"].iter().any(|code| line == format!("{labels},grpc_code=\"{code}\"}} 1"))
}

const FIRST_PEM: &[u8] = include_bytes!("transport_certs/first.pem");
const FIRST_KEY: &[u8] = include_bytes!("transport_certs/first.key");
const SECOND_PEM: &[u8] = include_bytes!("transport_certs/second.pem");
const SECOND_KEY: &[u8] = include_bytes!("transport_certs/second.key");

fn files(folder: &Path, client_ca: Option<&[u8]>) -> TlsFiles {
    let put = |name: &str, content: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    TlsFiles {
        cert: put("cert.pem", FIRST_PEM),
        key: put("key.pem", FIRST_KEY),
        client_ca: client_ca.map(|content| put("ca.pem", content)),
    }
}

/// Calls the server, trusting only `trusted`.
async fn call_tls(server: &Server, trusted: &[u8], identity: Option<Identity>) -> bool {
    let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(trusted)).domain_name("localhost");
    if let Some(identity) = identity {
        config = config.identity(identity);
    }
    let endpoint = Endpoint::from_shared(format!("https://{}", server.address)).unwrap().tls_config(config).unwrap();
    let Ok(channel) = in_time("the handshake ends", endpoint.connect()).await else { return false };
    in_time("the call ends", HealthClient::new(channel).check(of(""))).await.is_ok()
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_and_a_bad_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), None);
    let (acceptor, mut reloader) = tls::load(files.clone()).await.unwrap();
    let (_, server) = noting(LIMITS, FOREVER, Some(acceptor));
    assert!(call_tls(&server, FIRST_PEM, None).await);
    assert!(!call_tls(&server, SECOND_PEM, None).await);
    assert!(matches!(reloader.check().await, Reload::Unchanged));

    // Half of a renewal: the certificate is there, its key is not yet.
    std::fs::write(&files.cert, SECOND_PEM).unwrap();
    let Reload::Kept(error) = reloader.check().await else { panic!("a certificate without its key was taken") };
    assert!(error.to_string().contains("cert.pem"), "{error}");
    assert!(matches!(reloader.check().await, Reload::Unchanged), "a bad file is reported once");
    assert!(call_tls(&server, FIRST_PEM, None).await);
    std::fs::write(&files.key, SECOND_KEY).unwrap();
    assert!(matches!(reloader.check().await, Reload::Replaced));
    assert!(call_tls(&server, SECOND_PEM, None).await);
    assert!(!call_tls(&server, FIRST_PEM, None).await);

    std::fs::remove_file(&files.key).unwrap();
    assert!(matches!(reloader.check().await, Reload::Kept(_)));
    assert!(call_tls(&server, SECOND_PEM, None).await);
}

#[tokio::test]
async fn with_a_client_ca_only_clients_with_its_certificate_come_in() {
    let folder = tempfile::tempdir().unwrap();
    let (acceptor, _) = tls::load(files(folder.path(), Some(SECOND_PEM))).await.unwrap();
    let (noting, server) = noting(LIMITS, FOREVER, Some(acceptor));
    assert!(!call_tls(&server, FIRST_PEM, None).await);
    let stranger = Identity::from_pem(FIRST_PEM, FIRST_KEY);
    assert!(!call_tls(&server, FIRST_PEM, Some(stranger)).await);
    assert!(noting.peers.lock().unwrap().is_empty());
    let friend = Identity::from_pem(SECOND_PEM, SECOND_KEY);
    assert!(call_tls(&server, FIRST_PEM, Some(friend)).await);
    assert_eq!(*noting.certificates.lock().unwrap(), 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_file_at_start_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let good = files(folder.path(), Some(SECOND_PEM));
    for (path, said) in [
        (&good.cert, "cert.pem: contains no certificate in PEM"),
        (&good.key, "key.pem: contains no private key in PEM"),
        (good.client_ca.as_ref().unwrap(), "ca.pem: contains no certificate in PEM"),
    ] {
        let before = std::fs::read(path).unwrap();
        std::fs::write(path, "nothing").unwrap();
        let error = tls::load(good.clone()).await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        std::fs::write(path, before).unwrap();
    }
    let missing = TlsFiles { key: "/does/not/exist.pem".into(), ..good };
    assert!(tls::load(missing).await.unwrap_err().to_string().contains("/does/not/exist.pem"));
}
