//! A change, as the server that is asked for it makes it: begin, write, commit, find out what became of a lost commit, wait.

use key_authority_domain::id::Revision;
use key_authority_replica::protocol::wait::PropagationState;

use crate::network::{Connection, Lost};
use crate::process::Server;
use crate::statement::Change;
use crate::variant::Variant;

/// How often the database is asked what became of a commit whose answer was lost.
const OUTCOME_ATTEMPTS: u32 = 3;

/// What a client can ask a server for, Verify apart.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wish {
    Make(Change),
    /// That a revision be everywhere.
    Await(Revision),
}

/// A change that has returned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Returned {
    pub(crate) revision: Revision,
    pub(crate) state: PropagationState,
}

impl Server {
    /// Does what the client wishes. From the instant at which this returns, the promise binds.
    pub(crate) async fn serve(&self, wish: Wish) -> Result<Returned, Lost> {
        let returned = match wish {
            Wish::Make(change) => self.make(change).await?,
            Wish::Await(revision) => self.wait(revision).await,
        };
        self.world.returned(&self.process, wish, returned);
        Ok(returned)
    }

    async fn make(&self, change: Change) -> Result<Returned, Lost> {
        let mut connection = Connection::open(&self.world, &self.process.host);
        let begun = connection.begin(change).await?;
        self.step().await;
        if let Some(revision) = begun.seen {
            self.world.statistics.borrow_mut().repeated += 1;
            drop(connection);
            if self.world.variant == Some(Variant::RepeatedAtOnce) {
                return Ok(Returned { revision, state: PropagationState::Confirmed });
            }
            return Ok(self.wait(revision).await);
        }
        if let Some(revision) = begun.revoked.filter(|_| self.world.variant == Some(Variant::RepeatedAtOnce)) {
            return Ok(Returned { revision, state: PropagationState::Confirmed });
        }
        let revision = begun.revision;
        if connection.commit(revision, change).await.is_err() {
            self.settle(&mut connection, revision, change).await?;
        }
        drop(connection);
        self.world.check.committed(revision, change);
        if self.world.variant == Some(Variant::EventsOnly) {
            return Ok(Returned { revision, state: PropagationState::Confirmed });
        }
        Ok(self.wait(revision).await)
    }

    async fn wait(&self, revision: Revision) -> Returned {
        Returned { revision, state: self.everywhere(revision, self.boottime()).await }
    }

    /// Finds out whether the change that would have made `revision` stands: whoever has the lock knows that the lost
    /// transaction has ended.
    async fn settle(&self, connection: &mut Connection, revision: Revision, change: Change) -> Result<(), Lost> {
        let statistics = &self.world.statistics;
        statistics.borrow_mut().commits_lost += 1;
        for _ in 0..OUTCOME_ATTEMPTS {
            self.step().await;
            // The request is one that nobody makes: what is wanted is the lock.
            let Ok(_) = connection.begin(Change { request: 0, key: None }).await else { continue };
            let Ok(found) = connection.event_at(revision).await else { continue };
            if connection.rollback().await.is_err() {
                continue;
            }
            if found == Some(change.request) {
                statistics.borrow_mut().commits_settled += 1;
                return Ok(());
            }
            return Err(Lost);
        }
        Err(Lost)
    }
}
