//! A server of its own on the embedded default, and the tools of the workspace, for tests that are other programs' calls.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

/// The folder that README.md, `docs/` and `proto/` are in.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The folder of the tools that `scripts/install-tools` installs.
pub(crate) fn tools() -> PathBuf {
    let tools = workspace().join(".venv/bin");
    for tool in ["grpcurl", "python"] {
        assert!(tools.join(tool).is_file(), "{tool} is not in {}: run scripts/install-tools", tools.display());
    }
    tools
}

/// The server's program: of this package or, in the tests of another, what was built beside that one's.
fn program() -> PathBuf {
    let built = option_env!("CARGO_BIN_EXE_key-authority").map(PathBuf::from);
    let beside = || option_env!("CARGO_BIN_EXE_keyctl").map(|keyctl| Path::new(keyctl).with_file_name("key-authority"));
    let program = built.or_else(beside).expect("the tests of a package that has a program");
    assert!(program.is_file(), "{} is missing: cargo build --package key-authority-server", program.display());
    program
}

/// A server, which ends with this value.
pub(crate) struct Server {
    child: Child,
    /// Kept open: the server may write there.
    _stdout: BufReader<ChildStdout>,
    folder: TempDir,
    /// Where it serves gRPC.
    pub(crate) address: String,
    /// Where its root token lies.
    pub(crate) root_token_file: PathBuf,
}

impl Server {
    /// Starts it, and waits until it has printed that it can be used.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| Vec::new())
    }

    /// The same with more flags, which may name files in the server's folder.
    pub(crate) fn start_with(flags: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let folder = tempfile::Builder::new().prefix("key-authority-").tempdir().unwrap();
        let log = folder.path().join("stderr.log");
        let mut command = Command::new(program());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("KEY_AUTHORITY_") || text.starts_with("OTEL_") || text == "RUST_LOG" {
                command.env_remove(&name);
            }
        }
        let mut child = command
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args(["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"])
            .args(flags(folder.path()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (mut address, mut root_token_file, mut banner) = (None, None, String::new());
        // The line to try is the last one.
        let mut line = String::new();
        while !line.trim_start().starts_with("try ") {
            line.clear();
            if stdout.read_line(&mut line).unwrap() == 0 {
                let status = child.wait().unwrap();
                panic!("the server ended ({status}):\n{}", std::fs::read_to_string(&log).unwrap());
            }
            banner.push_str(&line);
            if let Some(value) = line.trim().strip_prefix("gRPC ") {
                address = Some(value.trim().to_owned());
            } else if let Some(value) = line.trim().strip_prefix("root token ") {
                root_token_file = Some(PathBuf::from(value.trim()));
            }
        }
        std::fs::write(folder.path().join("stdout.log"), banner).unwrap();
        let (address, root_token_file) = (address.unwrap(), root_token_file.unwrap());
        Self { child, _stdout: stdout, folder, address, root_token_file }
    }

    /// A folder for the test, removed with the server. It has the server's standard output in `stdout.log`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("stderr.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the end of the server's log:\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}
