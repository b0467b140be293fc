//! The end of a run: the faults are lifted, and everything must come back.

use std::rc::Rc;

use key_authority_replica::protocol::wait::PropagationState;

use crate::check::Kind;
use crate::client::{self, KEYS};
use crate::mutation::Wish;
use crate::scheduler::SECOND;
use crate::statement::{Change, KeySet, only};
use crate::world::{ROUGH, World};

/// How long it takes at most until the dead are fenced, once a statement that was lost in the rough time is given up: the
/// lease by the slowest clock, readings of the registry, and the ways there and back.
const SETTLE: u64 = 15 * SECOND;

/// Waits until all is quiet, and then looks whether all is well.
pub(crate) async fn run(world: Rc<World>) {
    world.sleep_until(ROUGH + world.profile.statement_timeout + SETTLE).await;
    for host in &world.hosts {
        let accepts = host.process().map_or(0, |process| process.accepts_now(&world));
        if accepts & only(KEYS) == 0 {
            world.check.fail(Kind::NotRecovered, || format!("{host} does not answer"));
        }
    }
    let change = Change { request: world.new_request(), key: Some(KEYS) };
    let returned = client::call(&world, Wish::Make(change), 20 * SECOND).await;
    if !returned.is_ok_and(|returned| returned.state == PropagationState::Confirmed) {
        world.check.fail(Kind::NotRecovered, || format!("the last revocation was not confirmed: {returned:?}"));
    }
    world.check.log(world.database.borrow().requests());
    let revoked = world.database.borrow().revoked_by(world.database.borrow().end());
    for host in &world.hosts {
        let known: KeySet = host.process().map_or(0, |process| process.index.get());
        if known != revoked {
            world
                .check
                .fail(Kind::LostChange, || format!("{host} knows {known:x} to be revoked, which is {revoked:x}"));
        }
    }
    world.is_over.set(true);
}
