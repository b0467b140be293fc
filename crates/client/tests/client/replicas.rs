//! Two replicas on one database, one of which stops or hangs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use key_authority_client::{Question, Verdict, Verifier, VerifierBuilder};
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::authority::{Authority, Operator, program};
use crate::http::Http;
use crate::support::database::{Database, DatabaseServer, Provisioned};

/// Writes a file that only its owner can read, as the server requires for secrets, and returns its path.
fn secret_file(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Two replicas and the token of their root key.
struct Pair {
    replicas: [Authority; 2],
    root: String,
    /// The last field, because the database can be dropped only after the servers have stopped.
    _database: (tempfile::TempDir, Provisioned),
}

impl Pair {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("key-authority-").tempdir().unwrap();
        let database = Provisioned::new(Database::Postgres, DatabaseServer::Shared, folder.path(), None);
        let generated = |what| program().arg(what).output().unwrap().stdout;
        let root = String::from_utf8(generated("generate-token")).unwrap().trim().to_owned();
        let files = [
            ("--database-url-file", secret_file(folder.path(), "url", database.url(None).unwrap())),
            ("--secret-file", secret_file(folder.path(), "secret", generated("generate-secret"))),
            ("--bootstrap-token-file", secret_file(folder.path(), "token", &root)),
        ];
        let flags: Vec<String> = files.into_iter().flat_map(|(flag, file)| [flag.to_owned(), file]).collect();
        let replicas = [Authority::start_with(flags.clone()), Authority::start_with(flags)];
        Self { replicas, root, _database: (folder, database) }
    }

    /// A builder with both endpoints.
    fn builder(&self, token: String) -> VerifierBuilder {
        let urls = self.replicas.iter().map(|replica| format!("http://{}", replica.grpc));
        urls.fold(Verifier::builder(), VerifierBuilder::endpoint).token(token)
    }

    /// How many questions each replica has answered with `VALID` since its start.
    async fn answered(&self) -> [u64; 2] {
        let mut counts = [0, 0];
        for (count, replica) in counts.iter_mut().zip(&self.replicas) {
            let metrics = Http::connect(&replica.http).await.send("GET", "/metrics", &[]).await.body;
            let mut lines =
                metrics.lines().filter_map(|line| line.strip_prefix("keyauthority_verify_total{verdict=\"VALID\"} "));
            *count = lines.next().map_or(0, |value| value.parse().unwrap());
        }
        counts
    }
}

/// Asks a question. Fails unless the verdict is `Allowed`.
async fn ask(verifier: &Verifier, question: &Question) {
    let verdict = verifier.verify(question).await;
    assert!(matches!(verdict, Ok(Verdict::Allowed(_))), "{verdict:?}");
}

/// Tasks that ask without a pause until they are stopped.
struct Askers {
    tasks: JoinSet<()>,
    answered: watch::Sender<usize>,
    is_over: Arc<AtomicBool>,
}

impl Askers {
    fn start(count: usize, verifier: &Verifier, question: &Question) -> Self {
        let mut askers = Self { tasks: JoinSet::new(), answered: watch::Sender::new(0), is_over: Arc::default() };
        for _ in 0..count {
            let (verifier, question) = (verifier.clone(), question.clone());
            let (answered, is_over) = (askers.answered.clone(), Arc::clone(&askers.is_over));
            askers.tasks.spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    ask(&verifier, &question).await;
                    answered.send_modify(|answered| *answered += 1);
                }
            });
        }
        askers
    }

    /// Waits for `count` more verdicts. Fails when a task fails.
    async fn wait_for_verdicts(&mut self, count: usize) {
        let mut answered = self.answered.subscribe();
        let target = *answered.borrow() + count;
        tokio::select! {
            enough = answered.wait_for(|&answered| answered >= target) => drop(enough.unwrap()),
            ended = self.tasks.join_next() => ended.unwrap().unwrap(),
        }
    }

    async fn stop(mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

mod postgres {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn questions_are_balanced_and_none_fails_when_a_replica_stops() {
        let mut pair = Pair::start();
        let operator = Operator::new(&pair.replicas[0].grpc, &pair.root);
        operator.create_account("acme").await;
        let question = Question::new(operator.create_key("ci", &[]).await);
        let service = operator.create_service().await.token;
        let verifier = pair.builder(service).deadline(Duration::from_secs(20)).connect().await.unwrap();

        while pair.answered().await.contains(&0) {
            ask(&verifier, &question).await;
        }
        let before = pair.answered().await;
        for _ in 0..200 {
            ask(&verifier, &question).await;
        }
        let after = pair.answered().await;
        let counts = [after[0] - before[0], after[1] - before[1]];
        // A replica that is not ready at its turn is passed over.
        assert!(counts.iter().all(|count| (80..=120).contains(count)), "round-robin: {counts:?}");

        let mut askers = Askers::start(8, &verifier, &question);
        for (number, signal) in [(0, Signal::KILL), (1, Signal::TERM), (1, Signal::KILL), (0, Signal::TERM)] {
            askers.wait_for_verdicts(500).await;
            pair.replicas[number].stop(signal);
            askers.wait_for_verdicts(500).await;
            pair.replicas[number].restart();
            while pair.answered().await[number] == 0 {
                askers.wait_for_verdicts(10).await;
            }
        }
        askers.stop().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_replica_that_hangs_delays_no_question_beyond_the_deadline() {
        let pair = Pair::start();
        let operator = Operator::new(&pair.replicas[0].grpc, &pair.root);
        operator.create_account("acme").await;
        let question = Question::new(operator.create_key("ci", &[]).await);
        let service = operator.create_service().await.token;
        // Shorter than the keepalive needs to detect a silent connection.
        let verifier = pair.builder(service).deadline(Duration::from_secs(4)).connect().await.unwrap();
        while pair.answered().await.contains(&0) {
            ask(&verifier, &question).await;
        }
        pair.replicas[1].signal(Signal::STOP);
        for _ in 0..1000 {
            ask(&verifier, &question).await;
        }
        pair.replicas[1].signal(Signal::CONT);
    }
}
