//! The calls of one connection, run by the connection's own task.
//!
//! hyper gives every call to an executor. Spawned, each would be a task of the runtime: made, queued, perhaps stolen by
//! another core, and its answer a wake-up and a write of its own. But a Verify is over the first time it is looked at. So
//! the connection gathers the calls that one reading of its socket has brought, looks at each once when it has read all
//! there is, and sends their answers with one write. Only a call that has to wait becomes a task.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::rt::Executor;

type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Gathers calls. Clones gather for the same connection; nobody else ever asks for the lock.
#[derive(Clone, Default)]
pub(super) struct Calls(Arc<Mutex<Vec<Call>>>);

impl<F> Executor<F> for Calls
where
    F: Future + Send + 'static,
{
    fn execute(&self, call: F) {
        self.lock().push(Box::pin(async {
            call.await;
        }));
    }
}

impl Calls {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Call>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `connection` with its calls.
    pub(super) async fn run<F: Future>(&self, connection: F) -> F::Output {
        let mut connection = std::pin::pin!(connection);
        let mut gathered = Vec::new();
        std::future::poll_fn(|context| {
            loop {
                if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                    return Poll::Ready(ended);
                }
                std::mem::swap(&mut gathered, &mut *self.lock());
                if gathered.is_empty() {
                    return Poll::Pending;
                }
                gathered.drain(..).for_each(begin);
                // Once more, to send what they answered.
            }
        })
        .await
    }
}

/// Looks at a call once. One that is not over then becomes a task, which looks at it again: what it waits for is told
/// the waker of the last who looked.
fn begin(mut call: Call) {
    let mut context = Context::from_waker(Waker::noop());
    // As in a task of its own, a panic ends this call alone.
    match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut context))) {
        Ok(Poll::Ready(())) => {}
        Ok(Poll::Pending) => drop(tokio::spawn(call)),
        Err(_panic) => tracing::error!("a call panicked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::oneshot;

    /// A connection that has one call, and ends when `ended` is told.
    async fn connection(calls: Calls, call: impl Future<Output = ()> + Send + 'static, ended: oneshot::Receiver<()>) {
        calls.execute(call);
        ended.await.unwrap();
    }

    #[tokio::test]
    async fn a_call_that_need_not_wait_is_run_in_place() {
        let (calls, (end, ended)) = (Calls::default(), oneshot::channel());
        let call = async move {
            assert_eq!(tokio::task::try_id(), None, "no task of its own");
            end.send(()).unwrap();
        };
        calls.run(connection(calls.clone(), call, ended)).await;
    }

    #[tokio::test]
    async fn a_call_that_waits_goes_on_when_it_may() {
        let (calls, (end, ended), (go, gone)) = (Calls::default(), oneshot::channel(), oneshot::channel());
        let call = async move {
            gone.await.unwrap();
            end.send(()).unwrap();
        };
        let other = async move {
            tokio::task::yield_now().await;
            go.send(()).unwrap();
        };
        tokio::join!(calls.run(connection(calls.clone(), call, ended)), other);
    }

    #[tokio::test]
    async fn a_call_that_panics_ends_alone() {
        static RUN: AtomicUsize = AtomicUsize::new(0);
        let (calls, (end, ended)) = (Calls::default(), oneshot::channel());
        calls.execute(async { panic!("of the test") });
        let call = async move {
            RUN.fetch_add(1, Ordering::Relaxed);
            end.send(()).unwrap();
        };
        calls.run(connection(calls.clone(), call, ended)).await;
        assert_eq!(RUN.load(Ordering::Relaxed), 1);
    }
}
