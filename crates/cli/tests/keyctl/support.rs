//! `keyctl` with a separate server.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::server::Server;

mod link;
mod terminal;

pub(crate) use link::Link;
pub(crate) use terminal::Terminal;

/// The result of a program.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that standard error contains `text`.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} is not in:\n{}", self.stderr);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}:\n{}", self.stdout))
    }
}

/// `keyctl` without its environment variables.
pub(crate) fn keyctl(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyctl"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("KEYCTL_") || text.starts_with("CLICOLOR") || ["NO_COLOR", "CI"].contains(&text.as_ref()) {
            command.env_remove(&name);
        }
    }
    command.env("HOME", home).env_remove("XDG_CONFIG_HOME").current_dir(home).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ended {
    Ended::of(command.output().unwrap_or_else(|error| panic!("{command:?}: {error}")))
}

/// A server and a client with its root token.
pub(crate) struct Keyctl {
    pub(crate) server: Server,
}

impl Keyctl {
    pub(crate) fn start() -> Self {
        Self { server: Server::start() }
    }

    /// A file in the folder that commands run in.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.server.folder().join(name)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// A command that the test can run or change.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = keyctl(self.server.folder());
        command.env("KEYCTL_ENDPOINT", self.endpoint()).env("KEYCTL_TOKEN_FILE", &self.server.root_token_file);
        command.args(words);
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        run(&mut self.command(words))
    }

    /// The output of a command, which must succeed.
    #[track_caller]
    pub(crate) fn done(&self, words: &[&str]) -> String {
        self.run(words).with(0).stdout
    }

    /// The value of the line of the output that begins with `name`.
    #[track_caller]
    pub(crate) fn value(&self, name: &str, words: &[&str]) -> String {
        let output = self.done(words);
        let found = output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("{name} is not in:\n{output}")).trim().to_owned()
    }

    /// Creates a key in account `acme`, which is created if it does not exist, and returns the token.
    pub(crate) fn key(&self, id: &str) -> String {
        if self.run(&["accounts", "show", "acme"]).code != Some(0) {
            self.done(&["accounts", "create", "acme", "--token-prefix", "acme_"]);
        }
        self.done(&["keys", "create", "acme", "--key-id", id, "--output", "token"]).trim().to_owned()
    }

    /// The verdict for a token.
    pub(crate) fn verdict(&self, token: &str) -> String {
        let file = self.file("asked.txt");
        std::fs::write(&file, token).unwrap();
        let ended = self.run(&["verify", "asked.txt", "--output", "json"]);
        let verdict = ended.json()["verdict"].as_str().unwrap().to_owned();
        assert_eq!(ended.code, Some(i32::from(verdict != "VERDICT_VALID")), "{verdict}");
        verdict
    }
}
