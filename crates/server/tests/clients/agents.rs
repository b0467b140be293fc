//! Programs that talk to MCP servers, and a server that hears what they say to it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;
use tempfile::TempDir;

use super::server::tools;
use super::{Ended, run};

/// The home of somebody who has Claude Code and Codex, and nothing else that they could find there.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::Builder::new().prefix("key-authority-").tempdir().unwrap())
    }

    /// What the lines print that are pasted at the prompt of a POSIX shell.
    pub(crate) fn sh(&self, lines: &str) -> String {
        let Ended { is_success, stdout, stderr } = run(self.command("sh").args(["-e", "-c", lines]));
        assert!(is_success, "{lines}\n{stdout}{stderr}");
        stdout
    }

    /// The parameters of a link, as Node's reading of URLs has them.
    pub(crate) fn parameters(&self, link: &str) -> Value {
        let script = "console.log(JSON.stringify(Object.fromEntries(new URL(process.argv[1]).searchParams)))";
        let ended = run(self.command("node").args(["-e", script, link]));
        assert!(ended.is_success, "{link}\n{}", ended.stderr);
        serde_json::from_str(&ended.stdout).unwrap()
    }

    /// A program in an environment that says nothing but where programs are, and that they shall ask no other server.
    fn command(&self, program: &str) -> Command {
        let agents = tools().join("../node/node_modules/.bin");
        for agent in ["claude", "codex"] {
            assert!(agents.join(agent).is_file(), "{agent} is not in {}: run scripts/install-tools", agents.display());
        }
        let path = format!("{}:{}", agents.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(program);
        command.env_clear().env("PATH", path).env("HOME", self.0.path()).current_dir(self.0.path());
        command.env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
        command
    }
}

/// Where an MCP server would be. It lets nobody in, but hears what is asked.
pub(crate) struct McpServer {
    /// Its URL, with what URLs may have.
    pub(crate) url: String,
    heard: Receiver<String>,
}

impl McpServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/mcp?team=a%20b&also=$(exit;1)*%27", listener.local_addr().unwrap());
        let (sender, heard) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // Heard before it is answered, so that whoever got an answer has been heard.
                if sender.send(head(&stream)).is_err() {
                    return;
                }
                // The other side may have gone away with its answer.
                let _ =
                    stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        Self { url, heard }
    }

    /// The first request since the last one that was asked for, without its body.
    pub(crate) fn heard(&self) -> String {
        self.heard.try_recv().expect("somebody asked")
    }
}

/// A request's first line and headers.
fn head(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map(Result::unwrap).take_while(|line| !line.is_empty());
    lines.map(|line| line + "\n").collect()
}
