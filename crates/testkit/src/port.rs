//! Free TCP ports on loopback.

use std::net::TcpListener;

use anyhow::{Context as _, Result};
use rand::RngExt as _;

use crate::rng::SeededRng;

/// A free port below the ephemeral range. The kernel gives such a port to no client, so it stays free until its server
/// starts, and while that server restarts.
///
/// # Errors
/// When 200 random ports are all in use.
pub fn free_port(rng: &mut SeededRng) -> Result<u16> {
    let mut ports = (0..200).map(|_| rng.random_range(20_000..32_000));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).context("no free TCP port found")
}
