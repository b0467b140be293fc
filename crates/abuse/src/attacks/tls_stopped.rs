//! TLS handshakes that stop after some bytes of a `ClientHello`.

use crate::attack::Attack;
use crate::attacks::slow_connections::{Behaviour, Swarm};
use crate::peer::ATTACKER;

const CONNECTIONS: usize = 2_000;
/// A record of 512 bytes with a `ClientHello` of which most is missing.
const HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3, 7, 7, 7, 7, 7, 7, 7, 7, 7];

pub(super) const ATTACK: Attack = Attack::new(
    "tls-stopped",
    "2,000 TLS handshakes that stop within the ClientHello; the good client has TLS",
    |stage| {
        let (to, behaviour) = (stage.grpc, Behaviour::Once(HELLO.to_vec()));
        Box::pin(Swarm { stage, to, connections: CONNECTIONS, from: |_| ATTACKER, behaviour }.run())
    },
)
.tls();
