//! A change on the server: begin, write, commit, resolve an unknown commit, wait for propagation.

use key_authority_domain::id::Revision;
use key_authority_replica::protocol::wait::PropagationState;

use crate::network::{Connection, ConnectionLost};
use crate::process::Server;
use crate::statement::Change;
use crate::variant::Variant;

/// How often the server queries the outcome of a commit whose answer was lost.
const OUTCOME_ATTEMPTS: u32 = 3;

/// A request of a client, Verify apart.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Request {
    Make(Change),
    /// Waits until every replica has a revision.
    Await(Revision),
}

/// The acknowledgement of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ack {
    pub(crate) revision: Revision,
    pub(crate) state: PropagationState,
}

impl Server {
    /// Serves a request. The promise holds from the instant at which this returns.
    pub(crate) async fn serve(&self, request: Request) -> Result<Ack, ConnectionLost> {
        let ack = match request {
            Request::Make(change) => self.make(change).await?,
            Request::Await(revision) => self.wait(revision).await,
        };
        self.world.acknowledged(&self.process, request, ack);
        Ok(ack)
    }

    async fn make(&self, change: Change) -> Result<Ack, ConnectionLost> {
        let mut connection = Connection::open(&self.world, &self.process.host);
        let begun = connection.begin(change).await?;
        self.step().await;
        if let Some(revision) = begun.seen {
            self.world.statistics.borrow_mut().repeated += 1;
            drop(connection);
            if self.world.variant == Some(Variant::RepeatedAtOnce) {
                return Ok(Ack { revision, state: PropagationState::Confirmed });
            }
            return Ok(self.wait(revision).await);
        }
        if let Some(revision) = begun.revoked.filter(|_| self.world.variant == Some(Variant::RepeatedAtOnce)) {
            return Ok(Ack { revision, state: PropagationState::Confirmed });
        }
        let revision = begun.revision;
        if connection.commit(revision, change).await.is_err() {
            self.resolve_unknown_commit(&mut connection, revision, change).await?;
        }
        drop(connection);
        self.world.check.committed(revision, change);
        if self.world.variant == Some(Variant::EventsOnly) {
            return Ok(Ack { revision, state: PropagationState::Confirmed });
        }
        Ok(self.wait(revision).await)
    }

    async fn wait(&self, revision: Revision) -> Ack {
        Ack { revision, state: self.wait_until_propagated(revision, self.boottime()).await }
    }

    /// Finds out whether the change with `revision` is committed. The session that gets the lock knows that the lost
    /// transaction has ended.
    async fn resolve_unknown_commit(
        &self,
        connection: &mut Connection,
        revision: Revision,
        change: Change,
    ) -> Result<(), ConnectionLost> {
        let statistics = &self.world.statistics;
        statistics.borrow_mut().commits_lost += 1;
        for _ in 0..OUTCOME_ATTEMPTS {
            self.step().await;
            // A request ID that no client uses: only the lock matters.
            let Ok(_) = connection.begin(Change { request: 0, key: None }).await else { continue };
            let Ok(found) = connection.event_at(revision).await else { continue };
            if connection.rollback().await.is_err() {
                continue;
            }
            if found == Some(change.request) {
                statistics.borrow_mut().commits_settled += 1;
                return Ok(());
            }
            return Err(ConnectionLost);
        }
        Err(ConnectionLost)
    }
}
