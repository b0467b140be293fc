//! One replica, or whatever answers in its name: sessions with it, one after another, for as long as the verifier lives.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::backoff::Backoff;
use crate::credential::Credential;
use crate::error::chain;
use crate::links::Links;
use crate::session::{Session, Trouble};

/// How long it may take from nothing to an open stream.
const OPEN_TIME: Duration = Duration::from_secs(5);

/// Where to connect to, and as whom.
pub(crate) struct Place {
    pub(crate) number: usize,
    pub(crate) endpoint: Endpoint,
    pub(crate) credential: Credential,
    pub(crate) links: Arc<Links>,
}

impl Place {
    /// Keeps a session open. It never ends by itself.
    pub(crate) async fn keep(self) {
        let mut backoff = Backoff::new();
        loop {
            if let Some(session) = self.open().await {
                let ended = session.run(&self.links).await;
                if ended.has_answered {
                    backoff = Backoff::new();
                }
                if let Some(status) = ended.status {
                    self.note(&chain(&Trouble::from(status)));
                }
            }
            backoff.pause().await;
        }
    }

    async fn open(&self) -> Option<Session> {
        let authorization = match self.credential.authorization().await {
            Ok(authorization) => authorization,
            Err(error) => {
                self.note(&chain(&error));
                return None;
            }
        };
        match timeout(OPEN_TIME, Session::open(self.number, &self.endpoint, authorization)).await {
            Ok(Ok(session)) => return Some(session),
            Ok(Err(trouble)) => {
                if let Trouble::Status(status) = &trouble
                    && matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied)
                {
                    self.links.refuse(status.message());
                }
                self.note(&chain(&trouble));
            }
            Err(_elapsed) => self.note("no stream in time"),
        }
        None
    }

    fn note(&self, trouble: &str) {
        let endpoint = self.endpoint.uri();
        tracing::debug!(%endpoint, trouble, "no stream of questions");
        self.links.note(format!("{endpoint}: {trouble}"));
    }
}
