//! Ports that nobody listens on.

use std::net::TcpListener;

use crate::chance::Chance;
use crate::trouble::Trouble;

/// A free port below the range that the kernel hands out to clients, so that nobody takes it before its server does, or
/// while its server is down.
pub(crate) fn free(chance: &mut Chance) -> Result<u16, Trouble> {
    for _ in 0..200 {
        let Ok(port) = u16::try_from(20_000 + chance.below(12_000)) else { continue };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no free port found".into())
}
