//! The file of the embedded database, as operators copy, restore, move, link and damage it. A server starts on the state
//! that they meant, or it does not start and says what to do: never on another state, and never as a new authority.

mod backup;
mod beginning;
mod closing;
mod damage;
mod lost;
mod names;
mod restore;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::process::{Ended, run};
use crate::support::{Authority, eventually};

/// The file of the database.
fn database_of(authority: &Authority) -> PathBuf {
    authority.folder().join("key-authority.db")
}

/// The path with an ending appended.
fn beside(path: &Path, ending: &str) -> PathBuf {
    format!("{}{ending}", path.display()).into()
}

/// Awaits a complete checkpoint of the running server: its lock file then has one value, which is even.
async fn checkpointed(authority: &Authority) -> String {
    let file = beside(&database_of(authority), ".serving");
    eventually("a checkpoint is complete", async || {
        let text = std::fs::read_to_string(&file).ok()?;
        let value = text.trim_end().strip_prefix("key-authority 1 ")?;
        u32::from_str_radix(value, 16).is_ok_and(|value| value.is_multiple_of(2)).then(|| value.to_owned())
    })
    .await
}

/// What a server says that does not start.
async fn refusal(authority: &Authority) -> Ended {
    run(authority.serve_command()).await.badly()
}

/// Runs Python on a database and another file. Its SQLite is not the one of the server.
fn python(script: &str, database: &Path, other: &Path) {
    let script = format!(
        "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], isolation_level=None)\nto = sys.argv[2]\n{script}"
    );
    let status = Command::new("python3").args(["-c", &script]).arg(database).arg(other).status().unwrap();
    assert!(status.success(), "{script}");
}

/// The files of a folder that an authority consists of, and their content.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_kept = |path: &PathBuf| path.is_file() && !path.to_string_lossy().ends_with(".log");
    paths.filter(is_kept).map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}
