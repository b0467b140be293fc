//! The first session of the README, as a newcomer types it.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::run::{faults, marked};
use crate::server::{Server, workspace};

#[test]
fn the_first_session_of_the_readme_goes_as_written() {
    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    let build = format!("cargo build --release --package key-authority-server --package {}\n", env!("CARGO_PKG_NAME"));
    assert!(readme.contains(&build), "{build}");
    let server = Server::start();
    // A folder that looks like the workspace to the commands, and that they may litter.
    let folder = server.folder().join("workspace");
    std::fs::create_dir(&folder).unwrap();
    symlink(server.folder().join("data"), folder.join("data")).unwrap();
    std::fs::create_dir(folder.join("target")).unwrap();
    symlink(Path::new(env!("CARGO_BIN_EXE_keyctl")).parent().unwrap(), folder.join("target/release")).unwrap();
    let endpoint = format!("http://{}", server.address);
    let home = folder.display().to_string();
    let variables = [("KEYCTL_ENDPOINT", endpoint.as_str()), ("HOME", &home)];
    let faults = faults(&marked(&readme, "session"), &folder, &variables);
    assert!(faults.is_empty(), "README.md: {} faults\n\n{}", faults.len(), faults.join("\n\n"));
}
