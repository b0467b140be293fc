//! Connections to the operations port that take its places: the probes must be answered nevertheless.

use std::sync::Arc;

use crate::attack::Attack;
use crate::attacks::slow_connections::{Behaviour, Swarm};
use crate::peer::ATTACKER;
use crate::stage::Stage;

pub(super) const HALF_REQUESTS: Attack = Attack::new(
    "operations-half-requests",
    "1,200 connections to the operations port that send a request line and no more",
    |stage| Box::pin(swarm(stage, 1_200, Behaviour::Once(b"GET /livez HTTP/1.1\r\n".to_vec())).run()),
);

pub(super) const SILENT: Attack =
    Attack::new("operations-silent", "70 connections to the operations port that send nothing", |stage| {
        Box::pin(swarm(stage, 70, Behaviour::Silent).run())
    });

fn swarm(stage: Arc<Stage>, connections: usize, behaviour: Behaviour) -> Swarm {
    let to = stage.http;
    Swarm { stage, to, connections, from: |_| ATTACKER, behaviour }
}
