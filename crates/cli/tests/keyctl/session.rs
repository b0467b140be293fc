//! The first session of the README.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::run::{faults, marked};
use crate::server::{Server, workspace};

#[test]
fn the_first_session_of_the_readme_works() {
    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    let build = format!("cargo build --release --package {}\n", env!("CARGO_PKG_NAME"));
    assert!(readme.contains(&build), "{build}");
    let server = Server::start();
    // A folder with the layout of the workspace, in which the commands may create files.
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
