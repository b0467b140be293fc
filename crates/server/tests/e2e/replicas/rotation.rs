//! The authority secret rotates while replicas run: no token is ever decided on by a replica that cannot verify it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use key_authority_proto::v1::*;
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_types::StatusExt as _;

use super::three;
use crate::support::authority::VERIFY;
use crate::support::client::question;
use crate::support::{Authority, Client, Database, Setup, eventually, http, on_database_servers, refused, subcommand};

const MISSING: &str = "SECRET_VERSION_MISSING";

/// The tokens that are valid, and one that nobody issued.
#[derive(Clone)]
struct Tokens {
    valid: Arc<Mutex<Vec<String>>>,
    unknown: String,
}

/// What a replica answered.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answers {
    right: u64,
    /// The replica said that it lacks a version of the secret.
    undecided: u64,
    wrong: Vec<String>,
}

/// The time between two questions: enough for replicas to start beside three of these loads.
const PACE: Duration = Duration::from_millis(5);

/// Questions to one replica.
struct Load {
    is_over: Arc<AtomicBool>,
    answers: JoinHandle<Answers>,
}

impl Load {
    fn on(replica: &Authority, tokens: &Tokens) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let answers = tokio::spawn(ask_until(Arc::clone(&is_over), replica.client(), tokens.clone()));
        Self { is_over, answers }
    }

    async fn stop(self) -> Answers {
        self.is_over.store(true, Ordering::Relaxed);
        self.answers.await.unwrap()
    }
}

async fn ask_until(is_over: Arc<AtomicBool>, client: Client, tokens: Tokens) -> Answers {
    let mut answers = Answers::default();
    let mut pace = tokio::time::interval(PACE);
    for round in 0.. {
        pace.tick().await;
        let token = {
            let valid = tokens.valid.lock().unwrap();
            valid[round % valid.len()].clone()
        };
        for (token, right) in [(&token, Verdict::Valid), (&tokens.unknown, Verdict::Unknown)] {
            match client.verify(question(token)).await {
                Ok(answer) if answer.verdict() == right => answers.right += 1,
                Err(status) if reason_of(&status) == MISSING => answers.undecided += 1,
                // A machine that is busy with other tests may let a lease end.
                Err(status) if reason_of(&status) == "LEASE_EXPIRED" => {}
                other => answers.wrong.push(format!("{other:?}")),
            }
        }
        if is_over.load(Ordering::Relaxed) {
            break;
        }
    }
    answers
}

fn reason_of(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// Stops a replica, gives it a secret file, and starts it.
async fn restart_with(replica: &mut Authority, secrets: &str) {
    assert!(replica.stop().await.success());
    std::fs::write(replica.secret_file(), secrets).unwrap();
    replica.restart().await;
}

/// Restarts each replica with a secret file, one after another, while all others are asked; each new one issues tokens.
async fn roll_out(replicas: &mut [Authority; 3], tokens: &Tokens, secrets: &str) -> Vec<Answers> {
    let mut loads: Vec<Option<Load>> = replicas.iter().map(|replica| Some(Load::on(replica, tokens))).collect();
    let mut answers = Vec::new();
    for (replica, load) in replicas.iter_mut().zip(&mut loads) {
        answers.push(load.take().unwrap().stop().await);
        restart_with(replica, secrets).await;
        *load = Some(Load::on(replica, tokens));
        for _ in 0..5 {
            let key = replica.client().key_in("acme").await;
            tokens.valid.lock().unwrap().push(key.token);
        }
    }
    for load in loads {
        answers.push(load.unwrap().stop().await);
    }
    answers
}

async fn prepare(replicas: &[Authority; 3]) -> (Tokens, String, String) {
    let first = std::fs::read_to_string(replicas[0].secret_file()).unwrap();
    let second = subcommand(["generate-secret"]).await.well().stdout;
    let unknown = subcommand(["generate-token"]).await.well().stdout.trim().to_owned();
    let key = replicas[0].client().key_in("acme").await;
    let tokens = Tokens { valid: Arc::new(Mutex::new(vec![key.token])), unknown };
    (tokens, format!("1:{}", first.trim().trim_start_matches("1:")), second.trim().to_owned())
}

async fn a_rotation_in_two_steps_answers_every_question(database: Database) {
    let mut replicas = three(database).await;
    let (tokens, first, second) = prepare(&replicas).await;
    for secrets in [format!("{first}\nnext 2:{second}\n"), format!("{first}\n2:{second}\n")] {
        for answers in roll_out(&mut replicas, &tokens, &secrets).await {
            assert!(answers.right > 0);
            assert_eq!(answers, Answers { right: answers.right, ..Answers::default() });
        }
    }
    let versions = replicas[0].database().sql("SELECT DISTINCT secret_version FROM api_key_secret ORDER BY 1");
    assert_eq!(versions.split_whitespace().collect::<Vec<_>>(), ["1", "2"]);
}

async fn a_rotation_in_one_step_never_answers_wrong(database: Database) {
    let mut replicas = three(database).await;
    let (tokens, first, second) = prepare(&replicas).await;
    let answers = roll_out(&mut replicas, &tokens, &format!("{first}\n2:{second}\n")).await;
    for answers in &answers {
        assert_eq!(answers.wrong, Vec::<String>::new());
    }
    assert!(answers.iter().any(|answers| answers.undecided > 0), "a replica without the version was asked");
    for replica in &replicas {
        assert_eq!(Load::on(replica, &tokens).stop().await.undecided, 0, "all have the version now");
    }
}

/// The answer to each kind of question that may be about a token of the missing version.
async fn assert_cannot_verify(replica: &Authority, token: &str, caller: &str) {
    let missing = |status: Status| drop(refused::<()>(Err(status), Code::Unavailable, MISSING));
    let client = replica.client();
    missing(client.verify(question(token)).await.unwrap_err());
    missing(client.batch_verify(BatchVerifyRequest { requests: vec![question(token)] }).await.unwrap_err());
    let question = VerifyStreamRequest { id: 7, request: Some(question(token)) };
    let mut answers = client.verify_stream(tokio_stream::once(question)).await.unwrap();
    let answer = answers.message().await.unwrap().unwrap();
    let Some(verify_stream_response::Outcome::Error(error)) = answer.outcome else { panic!("{answer:?}") };
    assert_eq!((error.code, error.reason.as_str()), (Code::Unavailable as i32, MISSING));
    missing(replica.client_with(caller).list_accounts(ListAccountsRequest::default()).await.unwrap_err());
}

async fn a_replica_that_lacks_a_version_says_so(database: Database) {
    let mut first = Setup::on(database).start().await;
    let mut second = first.another(|setup| setup).await;
    let client = first.client();
    client.new_account("acme", KeyPolicy { recoverable: true, ..KeyPolicy::default() }).await;
    let old = client.key_in("acme").await;
    let secret = std::fs::read_to_string(first.secret_file()).unwrap();
    let secrets = format!("1:{}\n2:{}", secret.trim().trim_start_matches("1:"), "08".repeat(32));
    restart_with(&mut first, &secrets).await;
    // It verifies every token until one of the new version exists.
    let unknown = subcommand(["generate-token"]).await.well().stdout;
    assert_eq!(second.client().verdict(unknown.trim()).await, Verdict::Unknown);
    let new = first.client().key_in("acme").await;
    let (caller, _) = first.new_caller(&["accounts.read"], None).await;
    assert_cannot_verify(&second, &new.token, &caller.token).await;
    let client = second.client();
    assert_eq!(client.verdict(&old.token).await, Verdict::Valid, "it has the version of this token");
    assert_eq!(client.verdict("no token").await, Verdict::Malformed);
    let reveal = client.reveal_token(RevealTokenRequest { key_id: new.id() }).await;
    refused(reveal, Code::Unavailable, MISSING);
    let secret = Some(imported_key::Secret::Token("sk-live/0123456789".into()));
    let keys = vec![ImportedKey { secret, ..Default::default() }];
    let import = ImportKeysRequest { account: "acme".into(), keys, request_id: "r-1".into(), ..Default::default() };
    refused(client.import(import.clone()).await, Code::Unavailable, MISSING);
    assert_eq!(first.client().import(import).await.unwrap().imported, 1);
    assert_cannot_verify(&second, "sk-live/0123456789", &caller.token).await;

    second.await_health(VERIFY, ServingStatus::NotServing).await;
    let reason = "verify: not ready: the secret file lacks version 2 of the authority secret\n";
    let not_ready = async || http::get(second.http(), "/readyz").await.1.starts_with(reason).then_some(());
    eventually("it is not ready", not_ready).await;
    assert!(second.metrics().await.contains("keyauthority_missing_secret_version 2"));
    let output = second.output();
    assert_eq!(output.matches("the secret file lacks a version of the authority secret").count(), 1, "{output}");
    restart_with(&mut second, &secrets).await;
    assert_eq!(second.client().verdict(&new.token).await, Verdict::Valid);
    assert_eq!(second.client().verdict("sk-live/0123456789").await, Verdict::Valid);
    assert!(second.metrics().await.contains("keyauthority_missing_secret_version 0"));
}

on_database_servers! {
    a_rotation_in_two_steps_answers_every_question,
    a_rotation_in_one_step_never_answers_wrong,
    a_replica_that_lacks_a_version_says_so,
}
