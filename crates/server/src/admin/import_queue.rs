//! The imports of each caller: one message at a time, in the order of arrival, and a limit on the messages that wait.
//!
//! A caller that imports over many streams gets no more than a caller with one: its messages take turns, and between
//! two transactions of an import the changes of other callers are served. A message that waits is in memory, so the
//! messages of a caller have a limit in bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use key_authority_domain::id::Actor;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as Turn, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::rpc::errors::RpcError;

/// Maximum memory of the messages of one caller that are imported or wait, in bytes. One of the largest
/// messages fits, or two of those that keyctl sends.
pub(crate) const CALLER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Maximum number of messages of one caller that are imported or wait.
pub(crate) const CALLER_MESSAGES_MAX: usize = 32;

/// The turn of a message to be parsed, or to be planned for a dry run, among those of its caller.
pub(super) type Computing = OwnedMutexGuard<()>;

/// The imports of all callers.
pub(super) struct ImportQueue {
    callers: Arc<Mutex<HashMap<Actor, CallerImports>>>,
    /// Ten thousand keys are much to compute: one message at a time leaves the other processors to other calls.
    parsing: Arc<Semaphore>,
}

impl Default for ImportQueue {
    fn default() -> Self {
        Self { callers: Arc::default(), parsing: Arc::new(Semaphore::new(1)) }
    }
}

/// The messages of one caller; at least one.
#[derive(Default)]
struct CallerImports {
    messages: usize,
    bytes: usize,
    turn: Arc<AsyncMutex<()>>,
    computing: Arc<AsyncMutex<()>>,
}

impl ImportQueue {
    /// Admits a message of this size. It counts until the returned value is dropped.
    ///
    /// # Errors
    /// `IMPORT_RUNNING` if the messages of the caller are too many or too large together.
    pub(super) fn admit(&self, actor: &Actor, bytes: usize) -> Result<AdmittedImport, RpcError> {
        let mut callers = lock(&self.callers);
        if let Some(caller) = callers.get(actor)
            && (caller.messages >= CALLER_MESSAGES_MAX || caller.bytes.saturating_add(bytes) > CALLER_BYTES_MAX)
        {
            return Err(RpcError::ImportRunning);
        }
        let caller = callers.entry(actor.clone()).or_default();
        caller.messages += 1;
        caller.bytes = caller.bytes.saturating_add(bytes);
        let (turn, computing) = (Arc::clone(&caller.turn), Arc::clone(&caller.computing));
        Ok(AdmittedImport { callers: Arc::clone(&self.callers), actor: actor.clone(), bytes, turn, computing })
    }

    /// Waits until the message may be parsed.
    pub(super) async fn parsing(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.parsing).acquire_owned().await.ok()
    }
}

/// A message that is imported or waits.
pub(super) struct AdmittedImport {
    callers: Arc<Mutex<HashMap<Actor, CallerImports>>>,
    actor: Actor,
    bytes: usize,
    turn: Arc<AsyncMutex<()>>,
    computing: Arc<AsyncMutex<()>>,
}

impl AdmittedImport {
    /// Waits for the caller's earlier messages.
    pub(super) async fn turn(&self) -> Turn<'_, ()> {
        self.turn.lock().await
    }

    /// Waits until no other message of the caller is parsed or planned for a dry run, so that the messages of others
    /// need not wait for all of its messages.
    pub(super) async fn computing(&self) -> Computing {
        Arc::clone(&self.computing).lock_owned().await
    }
}

impl Drop for AdmittedImport {
    fn drop(&mut self) {
        let mut callers = lock(&self.callers);
        let Some(caller) = callers.get_mut(&self.actor) else { return };
        caller.messages -= 1;
        caller.bytes = caller.bytes.saturating_sub(self.bytes);
        if caller.messages == 0 {
            callers.remove(&self.actor);
        }
    }
}

fn lock(callers: &Mutex<HashMap<Actor, CallerImports>>) -> MutexGuard<'_, HashMap<Actor, CallerImports>> {
    callers.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn actor(id: &str) -> Actor {
        Actor::new(id).unwrap()
    }

    #[test]
    fn the_messages_of_a_caller_have_limits_and_those_of_others_do_not_count() {
        let queue = ImportQueue::default();
        let mut large = vec![queue.admit(&actor("a"), CALLER_BYTES_MAX / 2).unwrap()];
        large.push(queue.admit(&actor("a"), CALLER_BYTES_MAX / 2).unwrap());
        assert!(matches!(queue.admit(&actor("a"), 1), Err(RpcError::ImportRunning)));
        let small: Vec<_> = (0..CALLER_MESSAGES_MAX).map(|_| queue.admit(&actor("b"), 1).unwrap()).collect();
        assert!(matches!(queue.admit(&actor("b"), 1), Err(RpcError::ImportRunning)));
        assert_eq!((CALLER_MESSAGES_MAX, CALLER_BYTES_MAX >> 20), (32, 32));
        assert!(RpcError::ImportRunning.message().starts_with("32 import messages of this caller, or 32 MiB of them"));
        large.pop();
        assert!(queue.admit(&actor("a"), 1).is_ok());
        drop((large, small));
        assert!(lock(&queue.callers).is_empty(), "nothing is kept for callers without imports");
        assert!(queue.admit(&actor("a"), usize::MAX).is_ok(), "a message alone is limited by the transport");
    }

    #[tokio::test]
    async fn messages_of_a_caller_take_turns_in_their_order() {
        let queue = ImportQueue::default();
        let [first, second, third] = [(); 3].map(|()| queue.admit(&actor("a"), 1).unwrap());
        let turn = first.turn().await;
        let mut waiting = [second.turn().boxed(), third.turn().boxed()];
        assert!(waiting.iter_mut().all(|turn| turn.now_or_never().is_none()));
        let other = queue.admit(&actor("b"), 1).unwrap();
        assert!(other.turn().now_or_never().is_some(), "another caller does not wait");
        drop(turn);
        let [second, mut third] = waiting;
        let turn = second.now_or_never().expect("its turn");
        assert!((&mut third).now_or_never().is_none());
        drop(turn);
        assert!(third.now_or_never().is_some());
    }
}
