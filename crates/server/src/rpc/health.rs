//! The health of this replica, over `grpc.health.v1` and for the HTTP probes.
//!
//! There are three names: `""` (the process is alive), `keyauthority.v1.KeyAuthority` (Verify can answer; for proxies,
//! also under the name of their service) and `storage` (admin RPCs can work). All start as `NOT_SERVING`. The messages
//! are those of tonic-health, but the service is our own: tonic-health's says `SERVING` for `""` from construction, can
//! only be set from async code, and answers a `Watch` of an unknown name with an error, where the protocol requires
//! `SERVICE_UNKNOWN`.
//!
//! gRPC clients open `Watch` by themselves and never end it. [`Health::close`] ends all watches, so that none of them
//! delays the shutdown.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{Stream, unfold};
use http::Extensions;
use key_authority_domain::secret::SecretVersion;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthRpc, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::rpc::errors::RpcError;
use crate::transport::connection::ConnectionContext;
use crate::transport::places::Counted;

/// The health name of Verify.
pub const VERIFY_SERVICE: &str = "keyauthority.v1.KeyAuthority";
/// The health name of Verify for a proxy, which uses the name of the service that it calls.
#[cfg(feature = "ext-authz")]
pub(crate) const EXT_AUTHZ_SERVICE: &str = "envoy.service.auth.v3.Authorization";
/// The health name of the database behind the admin RPCs.
pub(crate) const STORAGE_SERVICE: &str = "storage";

/// The largest request, in bytes: it contains the name of a service.
const REQUEST_BYTES_MAX: usize = 1024;

/// A name that has a health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Process,
    Verify,
    Storage,
    Unknown,
}

impl Service {
    fn named(name: &str) -> Self {
        match name {
            "" => Self::Process,
            VERIFY_SERVICE => Self::Verify,
            #[cfg(feature = "ext-authz")]
            EXT_AUTHZ_SERVICE => Self::Verify,
            STORAGE_SERVICE => Self::Storage,
            _ => Self::Unknown,
        }
    }
}

/// Whether Verify can answer, or why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VerifyState {
    /// The replica has never had a lease.
    #[default]
    Starting,
    /// The database contains no authority yet.
    NoAuthority,
    /// The replica has its lease.
    Ready,
    /// The lease has ended.
    NoLease,
    /// Tokens may have a version of the authority secret that the replica lacks.
    SecretVersionMissing(SecretVersion),
}

/// The health of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "the flags are independent of each other")]
pub struct HealthState {
    /// Whether the process has started and is not shutting down.
    pub is_alive: bool,
    /// Whether Verify can answer.
    pub verify: VerifyState,
    /// Whether admin RPCs can work: the database answers.
    pub is_storage_ready: bool,
    /// Whether the process is shutting down: nothing serves any more.
    pub is_ending: bool,
    /// Whether all watches have ended.
    is_closed: bool,
}

impl HealthState {
    /// Whether Verify can answer.
    #[must_use]
    pub fn is_verify_ready(&self) -> bool {
        self.verify == VerifyState::Ready
    }

    fn of(self, service: Service) -> Option<ServingStatus> {
        let serving = match service {
            Service::Process => self.is_alive,
            Service::Verify => self.is_verify_ready(),
            Service::Storage => self.is_storage_ready,
            Service::Unknown => return None,
        };
        Some(if serving { ServingStatus::Serving } else { ServingStatus::NotServing })
    }
}

/// A handle that sets the health of the server. Clones share one state.
#[derive(Debug, Clone)]
pub struct Health(Arc<watch::Sender<HealthState>>);

/// `grpc.health.v1.Health`, ready for a router.
pub(crate) type HealthService = HealthServer<HealthRpcService>;

impl Health {
    /// Makes a health with nothing serving, and its service.
    #[must_use]
    pub fn new() -> (Self, HealthService) {
        let health = Self(Arc::new(watch::Sender::default()));
        let service = HealthServer::new(HealthRpcService { health: health.clone() });
        let service = service.max_decoding_message_size(REQUEST_BYTES_MAX);
        (health, service)
    }

    fn set(&self, change: impl FnOnce(&mut HealthState)) {
        self.0.send_if_modified(|state| {
            let before = *state;
            change(state);
            if state.is_ending {
                *state = HealthState { is_ending: true, is_closed: state.is_closed, ..HealthState::default() };
            }
            *state != before
        });
    }

    /// Sets whether the process is up.
    pub fn set_alive(&self, is_alive: bool) {
        self.set(|state| state.is_alive = is_alive);
    }

    /// Sets whether Verify can answer.
    pub fn set_verify(&self, verify: VerifyState) {
        self.set(|state| state.verify = verify);
    }

    /// Sets whether admin RPCs can work.
    pub fn set_storage(&self, is_ready: bool) {
        self.set(|state| state.is_storage_ready = is_ready);
    }

    /// Sets everything to `NOT_SERVING` for good, regardless of later calls. Watches stay open, so that clients receive
    /// the change.
    pub fn stop_serving(&self) {
        self.set(|state| state.is_ending = true);
    }

    /// Sends `NOT_SERVING` to every watch and ends it, for good.
    pub fn close(&self) {
        self.set(|state| (state.is_ending, state.is_closed) = (true, true));
    }

    /// Returns the current health.
    #[must_use]
    pub fn state(&self) -> HealthState {
        *self.0.borrow()
    }
}

/// The implementation behind [`HealthService`].
#[derive(Debug)]
pub struct HealthRpcService {
    health: Health,
}

/// The places that a watch takes from its connection, and the end of the connection.
struct WatchPlace {
    /// `None` if the connection has too many watches.
    counted: Option<Counted>,
    closing: CancellationToken,
}

impl WatchPlace {
    /// Takes a place on the connection of a request.
    fn take(extensions: &Extensions) -> Self {
        match extensions.get::<ConnectionContext>() {
            Some(connection) => Self { counted: connection.place.begin_watch(), closing: connection.closing.clone() },
            None => Self { counted: Some(Counted::default()), closing: CancellationToken::new() },
        }
    }
}

type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl HealthRpc for HealthRpcService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let status = self.health.state().of(Service::named(&request.get_ref().service));
        status.map(|status| Response::new(response(status))).ok_or_else(|| RpcError::HealthUnknown.into())
    }

    type WatchStream = WatchStream;

    /// Sends the status at once and after each change. A watch beyond the limit of its connection gets the status and
    /// ends: an error would make its client consider a healthy replica unavailable.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<WatchStream>, Status> {
        let place = WatchPlace::take(request.extensions());
        let service = Service::named(&request.get_ref().service);
        let receiver = self.health.0.subscribe();
        Ok(Response::new(Box::pin(unfold((receiver, place, None), move |(mut receiver, place, sent)| async move {
            loop {
                let state = *receiver.borrow_and_update();
                let status = state.of(service).unwrap_or(ServingStatus::ServiceUnknown);
                if sent != Some(status) {
                    return Some((Ok(response(status)), (receiver, place, Some(status))));
                }
                if state.is_closed || place.counted.is_none() {
                    return None;
                }
                place.closing.run_until_cancelled(receiver.changed()).await?.ok()?;
            }
        }))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;

    fn service() -> HealthRpcService {
        HealthRpcService { health: Health::new().0 }
    }

    async fn check(rpc: &HealthRpcService, service: &str) -> Result<ServingStatus, tonic::Code> {
        let request = Request::new(HealthCheckRequest { service: service.to_owned() });
        rpc.check(request).await.map(|response| response.get_ref().status()).map_err(|status| status.code())
    }

    async fn watch(rpc: &HealthRpcService, service: &str) -> WatchStream {
        rpc.watch(Request::new(HealthCheckRequest { service: service.to_owned() })).await.unwrap().into_inner()
    }

    async fn next(stream: &mut WatchStream) -> Option<ServingStatus> {
        stream.next().await.map(|response| response.unwrap().status())
    }

    #[tokio::test]
    async fn nothing_serves_until_it_is_set() {
        let rpc = service();
        for service in ["", VERIFY_SERVICE, STORAGE_SERVICE] {
            assert_eq!(check(&rpc, service).await, Ok(ServingStatus::NotServing), "{service}");
        }
        assert_eq!(check(&rpc, "other").await, Err(tonic::Code::NotFound));
        rpc.health.set_alive(true);
        assert_eq!(check(&rpc, "").await, Ok(ServingStatus::Serving));
        assert_eq!(check(&rpc, VERIFY_SERVICE).await, Ok(ServingStatus::NotServing));
    }

    #[tokio::test]
    async fn a_watch_gets_changes_of_its_service_only_and_ends_at_the_close() {
        let rpc = service();
        let mut verify = watch(&rpc, VERIFY_SERVICE).await;
        assert_eq!(next(&mut verify).await, Some(ServingStatus::NotServing));
        rpc.health.set_storage(true);
        rpc.health.set_verify(VerifyState::Ready);
        assert_eq!(next(&mut verify).await, Some(ServingStatus::Serving));
        rpc.health.close();
        rpc.health.set_verify(VerifyState::Ready);
        assert_eq!(next(&mut verify).await, Some(ServingStatus::NotServing));
        assert_eq!(next(&mut verify).await, None);
        assert_eq!(check(&rpc, VERIFY_SERVICE).await, Ok(ServingStatus::NotServing));
    }

    #[tokio::test]
    async fn stopping_is_final_and_watches_receive_it() {
        let rpc = service();
        rpc.health.set_alive(true);
        let mut alive = watch(&rpc, "").await;
        assert_eq!(next(&mut alive).await, Some(ServingStatus::Serving));
        rpc.health.stop_serving();
        rpc.health.set_alive(true);
        assert_eq!(next(&mut alive).await, Some(ServingStatus::NotServing));
        assert!(!rpc.health.state().is_alive);
    }

    #[tokio::test]
    async fn a_watch_of_an_unknown_name_stays_open() {
        let rpc = service();
        let mut other = watch(&rpc, "other").await;
        assert_eq!(next(&mut other).await, Some(ServingStatus::ServiceUnknown));
        rpc.health.close();
        assert_eq!(next(&mut other).await, None);
    }
}
