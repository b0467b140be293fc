//! The end of a run: there are no more faults, and everything must recover.

use std::rc::Rc;

use key_authority_replica::protocol::wait::PropagationState;

use crate::check::Kind;
use crate::client::{self, KEYS};
use crate::mutation::Request;
use crate::scheduler::SECOND;
use crate::statement::{Change, KeySet, only};
use crate::world::{FAULT_PHASE, World};

/// The longest time until dead replicas are fenced, after the last lost statement of the fault phase timed out: the
/// lease by the slowest clock, reads of the registry, and network delays.
const SETTLE: u64 = 15 * SECOND;

/// Waits until the cluster has recovered, and checks the final state.
pub(crate) async fn run(world: Rc<World>) {
    world.sleep_until(FAULT_PHASE + world.profile.statement_timeout + SETTLE).await;
    for host in &world.hosts {
        let accepts = host.process().map_or(0, |process| process.accepts_now(&world));
        if accepts & only(KEYS) == 0 {
            world.check.fail(Kind::NotRecovered, || format!("{host} does not answer"));
        }
    }
    let change = Change { request: world.new_request(), key: Some(KEYS) };
    let ack = client::call(&world, Request::Make(change), 20 * SECOND).await;
    if !ack.is_ok_and(|ack| ack.state == PropagationState::Confirmed) {
        world.check.fail(Kind::NotRecovered, || format!("the last revocation was not confirmed: {ack:?}"));
    }
    world.check.log(world.database.borrow().requests());
    let revoked = world.database.borrow().revoked_by(world.database.borrow().end());
    for host in &world.hosts {
        let known: KeySet = host.process().map_or(0, |process| process.index.get());
        if known != revoked {
            world
                .check
                .fail(Kind::LostChange, || format!("{host} holds the revoked keys {known:x}, expected {revoked:x}"));
        }
    }
    world.is_over.set(true);
}
