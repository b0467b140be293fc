//! The verifier, the layer and the examples against real servers that come and go.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that panics has failed, which is all that it should do"
)]

mod authority;
mod crowd;
mod examples;
mod guard;
mod http;
mod replicas;
mod stand_in;
mod tls;
mod verdicts;

#[path = "../../../server/tests/e2e/support/certificates.rs"]
mod certificates;

#[path = "../../../server/tests/e2e/support/database.rs"]
#[expect(dead_code, reason = "of the databases' support, only that a fresh one can be had is used here")]
mod database;

/// A program of this workspace, which was built beside the tests.
fn built(name: &str) -> std::path::PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().and_then(std::path::Path::parent).unwrap().join(name);
    assert!(path.exists(), "{} is missing: cargo build --workspace --bins --examples", path.display());
    path
}
