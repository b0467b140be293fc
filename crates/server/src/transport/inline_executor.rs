//! Runs the calls of one connection on the connection's own task.
//!
//! hyper gives every call to an executor. Spawned, each call would be a task of the runtime: it is allocated, queued
//! and perhaps stolen by another core, and its response needs its own wake-up and write. A Verify, however, completes
//! at its first poll. So calls that arrive in one socket read are collected, each is polled once after the read, and
//! their responses go out in one write. Only a call that has to wait becomes a task.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::rt::Executor;

use super::http2_stream::StreamControl;

type PendingCall = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The calls that have arrived on a connection. Clones share them; the lock is never contended, since only the
/// connection's task takes it.
#[derive(Clone)]
pub(super) struct Calls {
    arrived: Arc<Mutex<Vec<PendingCall>>>,
    stream: StreamControl,
}

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
    pub(super) fn new(stream: StreamControl) -> Self {
        Self { arrived: Arc::default(), stream }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<PendingCall>> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `connection` together with its calls.
    pub(super) async fn run<F: Future>(&self, connection: F) -> F::Output {
        let mut connection = std::pin::pin!(connection);
        let mut arrived = Vec::new();
        std::future::poll_fn(|context| {
            self.stream.begin_poll();
            loop {
                if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                    // A call has this executor, so that calls that are never begun would keep each other.
                    drop(std::mem::take(&mut *self.lock()));
                    return Poll::Ready(ended);
                }
                std::mem::swap(&mut arrived, &mut *self.lock());
                if arrived.is_empty() {
                    return Poll::Pending;
                }
                arrived.drain(..).for_each(begin);
                // Poll the connection again, to send the responses.
            }
        })
        .await
    }
}

/// Polls a call once. An incomplete call becomes a task, which polls it again: only the waker of the last poll is
/// woken.
fn begin(mut call: PendingCall) {
    let mut context = Context::from_waker(Waker::noop());
    // As in a task, a panic ends this call alone.
    match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut context))) {
        Ok(Poll::Ready(())) => {}
        Ok(Poll::Pending) => drop(tokio::spawn(call)),
        // The panic hook has logged it.
        Err(_panic) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::oneshot;

    /// A connection that has one call, and ends when `ended` receives a value.
    async fn connection(calls: Calls, call: impl Future<Output = ()> + Send + 'static, ended: oneshot::Receiver<()>) {
        calls.execute(call);
        ended.await.unwrap();
    }

    #[tokio::test]
    async fn a_call_that_does_not_wait_runs_inline() {
        let (calls, (end, ended)) = (Calls::new(StreamControl::default()), oneshot::channel());
        let call = async move {
            assert_eq!(tokio::task::try_id(), None, "it is not spawned");
            end.send(()).unwrap();
        };
        calls.run(connection(calls.clone(), call, ended)).await;
    }

    #[tokio::test]
    async fn a_call_that_waits_is_woken() {
        let (calls, (end, ended), (start, started)) =
            (Calls::new(StreamControl::default()), oneshot::channel(), oneshot::channel());
        let call = async move {
            started.await.unwrap();
            end.send(()).unwrap();
        };
        let other = async move {
            tokio::task::yield_now().await;
            start.send(()).unwrap();
        };
        tokio::join!(calls.run(connection(calls.clone(), call, ended)), other);
    }

    #[tokio::test]
    async fn a_call_that_panics_ends_alone() {
        static RUN: AtomicUsize = AtomicUsize::new(0);
        let (calls, (end, ended)) = (Calls::new(StreamControl::default()), oneshot::channel());
        calls.execute(async { panic!("of the test") });
        let call = async move {
            RUN.fetch_add(1, Ordering::Relaxed);
            end.send(()).unwrap();
        };
        calls.run(connection(calls.clone(), call, ended)).await;
        assert_eq!(RUN.load(Ordering::Relaxed), 1);
    }
}
