//! The verifier, the layer and the examples, against real servers that stop and restart.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that panics has failed, which is all that it should do"
)]

mod authority;
mod concurrency;
mod examples;
mod http;
mod lossy_server;
mod replicas;
mod require_key;
mod tls;
mod verdicts;

/// What these tests share with the scenarios of the server.
#[path = "../../../server/tests/e2e/support"]
mod support {
    pub(crate) mod certificates;
    #[expect(dead_code, unused_imports, reason = "these tests only create databases")]
    pub(crate) mod database;
}

/// The path of a program of this workspace, which is built with the tests.
fn built(name: &str) -> std::path::PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().and_then(std::path::Path::parent).unwrap().join(name);
    assert!(path.exists(), "{} is missing: cargo build --workspace --bins --examples", path.display());
    path
}

/// An error and its causes, joined.
fn chain(error: &dyn std::error::Error) -> String {
    let errors = std::iter::successors(Some(error), |&error| error.source());
    errors.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
