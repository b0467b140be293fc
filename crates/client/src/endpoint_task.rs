//! The background task of one endpoint.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tonic::transport::Endpoint;

use crate::backoff::Backoff;
use crate::pool::Pool;
use crate::replica_error::ReplicaError;
use crate::session::Session;
use crate::token_source::TokenSource;

/// The time limit from the first packet to an open stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Keeps a session with one endpoint open for as long as the verifier lives.
pub(crate) struct EndpointTask {
    pub(crate) index: usize,
    pub(crate) endpoint: Endpoint,
    pub(crate) token_source: TokenSource,
    pub(crate) pool: Arc<Pool>,
}

impl EndpointTask {
    /// Opens sessions one after another. It never returns; the verifier aborts it.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::new();
        loop {
            match self.open_session().await {
                Ok(session) => {
                    let end = session.run(&self.pool).await;
                    if end.has_answered {
                        backoff = Backoff::new();
                    }
                    if let Some(status) = end.status {
                        self.report(status.into());
                    }
                }
                Err(error) => {
                    if let Some(message) = error.caller_rejection() {
                        self.pool.reject_caller(message);
                    }
                    self.report(error);
                }
            }
            backoff.pause().await;
        }
    }

    async fn open_session(&self) -> Result<Session, ReplicaError> {
        let authorization = self.token_source.authorization().await.map_err(ReplicaError::Token)?;
        let opening = Session::open(self.index, &self.endpoint, authorization);
        timeout(OPEN_TIMEOUT, opening).await.unwrap_or(Err(ReplicaError::OpenTimeout(OPEN_TIMEOUT)))
    }

    fn report(&self, error: ReplicaError) {
        #[cfg(feature = "tracing")]
        tracing::debug!(
            endpoint = %self.endpoint.uri(),
            error = key_authority_text_io::error_chain::whole(&error),
            "verify stream failed; reconnecting after a pause"
        );
        self.pool.record_error(self.index, error);
    }
}
