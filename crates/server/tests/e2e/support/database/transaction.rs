//! Transactions that a test keeps open.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;

/// An open transaction in a client of a database. It is undone when this is dropped.
pub(crate) struct OpenTransaction {
    client: Child,
    answers: Mutex<BufReader<ChildStdout>>,
}

impl OpenTransaction {
    /// Starts a client, and begins a transaction in it.
    pub(super) fn begin(client: &mut Command, settings: &[&str]) -> Self {
        let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(client.stdout.take().unwrap());
        let transaction = Self { client, answers: Mutex::new(answers) };
        for statement in settings.iter().chain(&["BEGIN"]) {
            transaction.execute(statement);
        }
        transaction
    }

    /// Executes a statement, and returns when it is done.
    pub(crate) fn execute(&self, statement: &str) {
        let mut stdin = self.client.stdin.as_ref().unwrap();
        stdin.write_all(format!("{statement};\nSELECT 'done';\n").as_bytes()).unwrap();
        let mut answer = String::new();
        self.answers.lock().unwrap().read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), "done", "{statement}");
    }

    pub(crate) fn commit(self) {
        self.execute("COMMIT");
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}
