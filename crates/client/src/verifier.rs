//! The verifier: retries, deadlines and the tasks behind them.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::backoff::Backoff;
use crate::endpoint_task::EndpointTask;
use crate::error::Error;
use crate::pool::Pool;
use crate::question::Question;
use crate::replica_error::ReplicaError;
use crate::token_source::TokenSource;
use crate::verdict::{Denial, Reason, Verdict};

/// How long one replica may take before the question goes to another.
const ATTEMPT_TIMEOUT_MAX: Duration = Duration::from_secs(1);
/// How many streams may end while a question is open. The question itself may be what ends them, and each end disturbs
/// other questions as well.
const LOST_STREAMS_MAX: u32 = 5;

/// Verifies tokens against Key Authority. Clones are cheap and share the connections, which close with the last clone.
///
/// - Each endpoint has one connection with one stream, which carries many questions at once. A question goes to the
///   healthy replica with the fewest questions in flight. An unhealthy replica gets none.
/// - A question is repeated when its stream ends, when the replica responds `UNAVAILABLE`, and, if there is another
///   replica, when a response takes longer than one second. The deadline limits all attempts together. After the fifth
///   lost stream the question fails. Connections are reopened automatically.
/// - A text that is too long for a token is denied as [`Reason::Malformed`] without a request. A question that is too
///   large fails with [`Error::InvalidQuestion`] without a request.
/// - Verdicts are not cached. A question that is asked after a change has returned is decided by the new state.
#[derive(Debug, Clone)]
pub struct Verifier {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pool: Arc<Pool>,
    deadline: Duration,
    attempt_timeout: Duration,
    /// Aborts the tasks, and so closes the connections, when it is dropped.
    _tasks: JoinSet<()>,
}

impl Verifier {
    pub(crate) fn start(endpoints: Vec<Endpoint>, token_source: &TokenSource, deadline: Duration) -> Self {
        let pool = Arc::new(Pool::new(endpoints.iter().map(|endpoint| endpoint.uri().to_string()).collect()));
        // With one endpoint there is no other to ask, and a repeated question would only add load.
        let attempt_timeout = if endpoints.len() > 1 { (deadline / 3).min(ATTEMPT_TIMEOUT_MAX) } else { deadline };
        let mut tasks = JoinSet::new();
        for (index, endpoint) in endpoints.into_iter().enumerate() {
            let task = EndpointTask { index, endpoint, token_source: token_source.clone(), pool: Arc::clone(&pool) };
            tasks.spawn(task.run());
        }
        Self { shared: Arc::new(Shared { pool, deadline, attempt_timeout, _tasks: tasks }) }
    }

    /// Returns true while at least one replica is connected and healthy.
    ///
    /// Use it for the readiness of your own service. [`Verifier::verify`] waits by itself and needs no check before it.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.shared.pool.is_any_ready()
    }

    /// Waits until at least one replica is connected and healthy, at most for the verifier's deadline.
    ///
    /// # Errors
    /// Returns [`Error::Unavailable`] when the deadline passes, and [`Error::CallerRejected`] when the authority
    /// rejects the token of this service. In both cases the verifier keeps trying to connect.
    pub async fn wait_until_ready(&self) -> Result<(), Error> {
        self.within_deadline(async { self.shared.pool.pick(None).await.map(drop) }).await
    }

    /// Asks one question and waits for the verdict, at most for the verifier's deadline.
    ///
    /// It is cancel safe: when the future is dropped before the question is sent, the question is not sent.
    ///
    /// # Errors
    /// Returns an [`Error`] when there is no verdict. An error is never a denial.
    pub async fn verify(&self, question: &Question) -> Result<Verdict, Error> {
        if question.is_malformed() {
            return Ok(Verdict::Denied(Denial::new(Reason::Malformed)));
        }
        question.validate()?;
        self.within_deadline(verify(&self.shared.pool, self.shared.attempt_timeout, question)).await
    }

    async fn within_deadline<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let Shared { pool, deadline, .. } = &*self.shared;
        match timeout(*deadline, work).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(Error::Unavailable { deadline: *deadline, last_error: pool.last_error() }),
        }
    }
}

/// Repeats a question until it has an outcome that no other replica would change.
async fn verify(pool: &Pool, attempt_timeout: Duration, question: &Question) -> Result<Verdict, Error> {
    let mut backoff = Backoff::new();
    let (mut avoided, mut lost_streams) = (None, 0);
    loop {
        let stream = pool.pick(avoided).await?;
        match timeout(attempt_timeout, stream.call(question.clone())).await {
            Ok(Some(Ok(response))) => return Verdict::try_from(response),
            Ok(Some(Err(error))) if error.code == Code::Unavailable as i32 => {
                pool.record_error(stream.endpoint, ReplicaError::Unavailable(error.message));
                backoff.pause().await;
            }
            Ok(Some(Err(error))) => return Err(Error::from_stream(error)),
            // The stream has ended, and is not in the pool any more.
            Ok(None) => {
                lost_streams += 1;
                if lost_streams == LOST_STREAMS_MAX {
                    return Err(Error::ConnectionLost { times: lost_streams, last_error: pool.last_error() });
                }
                // One lost stream is routine, such as at a restart. Only repeated loss calls for a pause.
                if lost_streams > 1 {
                    backoff.pause().await;
                }
            }
            Err(_elapsed) => {
                pool.record_error(stream.endpoint, ReplicaError::ResponseTimeout(attempt_timeout));
            }
        }
        avoided = Some(stream.endpoint);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::pool::StreamHandle;

    #[tokio::test]
    async fn a_question_fails_after_too_many_lost_streams() {
        let pool = Pool::new(Vec::new());
        let (sender, mut calls) = mpsc::unbounded_channel();
        pool.mark_ready(&StreamHandle::new(0, sender));
        let mut count = 0;
        let drop_each_call = async {
            while calls.recv().await.is_some() {
                count += 1;
                assert!(count <= LOST_STREAMS_MAX, "retried without end");
            }
        };
        let question = Question::new("t");
        let outcome = tokio::select! {
            outcome = verify(&pool, ATTEMPT_TIMEOUT_MAX, &question) => outcome,
            () = drop_each_call => panic!("the pool dropped its stream"),
        };
        assert!(matches!(outcome, Err(Error::ConnectionLost { times: LOST_STREAMS_MAX, .. })), "{outcome:?}");
        assert_eq!(count, LOST_STREAMS_MAX);
    }
}
