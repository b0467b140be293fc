//! The health of one replica.

#[cfg(feature = "health")]
use tonic::{Code, Status, Streaming, transport::Channel};
#[cfg(feature = "health")]
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_client::HealthClient,
};

/// The name under which a replica reports whether it can answer Verify now.
#[cfg(feature = "health")]
const SERVICE: &str = "keyauthority.v1.KeyAuthority";

/// Where the health of a replica comes from.
pub(super) enum Health {
    /// The replica reports changes of its health on a stream.
    #[cfg(feature = "health")]
    Watched(Box<Streaming<HealthCheckResponse>>),
    /// The replica reports nothing, and counts as healthy until it fails. [`Health::changed`] says so once.
    Assumed,
    /// There are no more changes.
    Settled,
}

impl Health {
    #[cfg(feature = "health")]
    pub(super) async fn watch(channel: Channel) -> Result<Self, Status> {
        let request = HealthCheckRequest { service: SERVICE.to_owned() };
        match HealthClient::new(channel).watch(request).await {
            Ok(watch) => Ok(Self::Watched(Box::new(watch.into_inner()))),
            Err(status) if is_unsupported(&status) => Ok(Self::Assumed),
            Err(status) => Err(status),
        }
    }

    /// Waits for the next change: true for healthy, false for unhealthy, `None` when the watch has ended.
    pub(super) async fn changed(&mut self) -> Option<bool> {
        match self {
            #[cfg(feature = "health")]
            Self::Watched(watch) => match watch.message().await {
                Ok(Some(state)) => Some(state.status() == ServingStatus::Serving),
                Err(status) if is_unsupported(&status) => {
                    *self = Self::Settled;
                    Some(true)
                }
                Ok(None) | Err(_) => None,
            },
            Self::Assumed => {
                *self = Self::Settled;
                Some(true)
            }
            Self::Settled => std::future::pending().await,
        }
    }
}

/// Whether the server has no health service (a proxy, for example), or has no room for another watch.
#[cfg(feature = "health")]
fn is_unsupported(status: &Status) -> bool {
    matches!(status.code(), Code::Unimplemented | Code::ResourceExhausted)
}
