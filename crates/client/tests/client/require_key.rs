//! An axum service behind `RequireKey`, while the authority is restarted under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::Extension;
use axum::http::HeaderMap;
use axum::routing::{Router, get};
use key_authority_client::{KeyIdentity, RequireKey, Verifier};
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::authority::Authority;
use crate::http::{Answer, Http};

/// Answers with the key's name, and with how many secrets are left in the request.
async fn whose(Extension(key): Extension<KeyIdentity>, headers: HeaderMap) -> String {
    let secrets = headers.contains_key("authorization") || headers.contains_key("x-api-key");
    assert!(!secrets, "the token is taken out");
    format!("{} of {}", key.key_id, key.account)
}

/// Serves it, and returns where.
async fn serve(verifier: Verifier) -> String {
    let guard = RequireKey::new(verifier).scopes(["read"]);
    let service = Router::new().route("/", get(whose)).route_layer(guard);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async { axum::serve(listener, service).await });
    address
}

/// What the holder of key `id` is to get.
fn allowed(id: &str) -> Answer {
    Answer { code: 200, challenge: None, body: format!("{id} of acme") }
}

/// What the holder of a revoked key is to get.
fn revoked() -> Answer {
    let challenge = r#"Bearer error="invalid_token", error_description="the key is revoked""#;
    Answer { code: 401, challenge: Some(challenge.to_owned()), body: String::new() }
}

/// Clients that never stop asking, each for a valid and a revoked key in turn.
struct Load {
    clients: JoinSet<(usize, Vec<String>)>,
    answered: watch::Sender<usize>,
    is_over: Arc<AtomicBool>,
}

impl Load {
    fn start(count: usize, address: &str, valid: &str, ended: &str) -> Self {
        let mut load = Self { clients: JoinSet::new(), answered: watch::Sender::new(0), is_over: Arc::default() };
        for _ in 0..count {
            let cases = [(valid.to_owned(), allowed("valid")), (ended.to_owned(), revoked())];
            let (address, answered, is_over) = (address.to_owned(), load.answered.clone(), Arc::clone(&load.is_over));
            load.clients.spawn(async move {
                let (mut http, mut asked, mut wrong) = (Http::connect(&address).await, 0, Vec::new());
                while !is_over.load(Ordering::Relaxed) {
                    for (token, wanted) in &cases {
                        asked += 1;
                        let answer = http.send_with_token("GET", "/", token).await;
                        if answer != *wanted {
                            wrong.push(format!("{answer:?} in place of {wanted:?}"));
                        }
                        answered.send_modify(|answered| *answered += 1);
                    }
                }
                (asked, wrong)
            });
        }
        load
    }

    /// Waits until `count` more were answered.
    async fn answers(&self, count: usize) {
        let mut answered = self.answered.subscribe();
        let wanted = *answered.borrow() + count;
        answered.wait_for(|&answered| answered >= wanted).await.unwrap();
    }

    /// Ends it; returns how many questions were asked, how many answered, and the wrong answers.
    async fn end(self) -> (usize, usize, Vec<String>) {
        self.is_over.store(true, Ordering::Relaxed);
        let (asked, wrong): (Vec<usize>, Vec<_>) = self.clients.join_all().await.into_iter().unzip();
        (asked.into_iter().sum(), *self.answered.borrow(), wrong.concat())
    }
}

mod sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn restarts_under_load_give_no_wrong_answer_and_lose_no_question() {
        let mut authority = Authority::start().await;
        let operator = authority.operator();
        let (valid, ended) =
            (operator.create_key("valid", &["read"]).await, operator.create_key("ended", &["read"]).await);
        operator.revoke("ended").await;
        // Longer than any restart.
        let verifier = authority.builder().deadline(Duration::from_mins(1)).connect().await.unwrap();
        let address = serve(verifier).await;

        let load = Load::start(16, &address, &valid, &ended);
        let mut http = Http::connect(&address).await;
        for (round, signal) in [Signal::TERM, Signal::KILL].into_iter().cycle().take(8).enumerate() {
            load.answers(200).await;
            // A change that returned holds for the next request, whatever happens around it.
            let operator = authority.operator();
            let id = format!("round-{round}");
            let token = operator.create_key(&id, &["read"]).await;
            assert_eq!(http.send_with_token("GET", "/", &token).await, allowed(&id));
            operator.revoke(&id).await;
            assert_eq!(http.send_with_token("GET", "/", &token).await, revoked());

            authority.end(signal);
            authority.start_again();
            assert_eq!(http.send_with_token("GET", "/", &token).await, revoked(), "after {signal:?}");
        }
        load.answers(200).await;
        let (asked, answered, wrong) = load.end().await;
        assert_eq!(wrong, [""; 0]);
        assert_eq!(asked, answered);
        eprintln!("8 restarts, {asked} requests, all answered, none wrong");
    }

    #[tokio::test]
    async fn an_outage_is_told_as_one() {
        let mut authority = Authority::start().await;
        let token = authority.operator().create_key("valid", &["read"]).await;
        let verifier = authority.builder().deadline(Duration::from_millis(300)).connect().await.unwrap();
        let mut http = Http::connect(&serve(verifier).await).await;
        assert_eq!(http.send("GET", "/", &[("x-api-key", &token)]).await, allowed("valid"));
        authority.end(Signal::KILL);
        let outage = Answer { code: 503, challenge: None, body: String::new() };
        assert_eq!(http.send_with_token("GET", "/", &token).await, outage);
        let none = Answer { code: 401, challenge: Some("Bearer".to_owned()), body: String::new() };
        assert_eq!(http.send("GET", "/", &[]).await, none, "of who presents no key, nothing need be asked");
        authority.start_again();
        assert_eq!(http.send_with_token("GET", "/", &token).await.code, 200);
    }
}
