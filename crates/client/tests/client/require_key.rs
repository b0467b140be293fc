//! An axum service behind `RequireKey`, while the authority restarts under load.

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
use crate::http::{Http, HttpResponse};

/// Responds with the ID and the account of the key. Fails when the request still has the token.
async fn show_key(Extension(key): Extension<KeyIdentity>, headers: HeaderMap) -> String {
    let secrets = headers.contains_key("authorization") || headers.contains_key("x-api-key");
    assert!(!secrets, "the token is still in the request");
    format!("{} of {}", key.key_id, key.account)
}

/// Starts the service, and returns its address.
async fn serve(verifier: Verifier) -> String {
    let guard = RequireKey::new(verifier).scopes(["read"]);
    let service = Router::new().route("/", get(show_key)).route_layer(guard);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async { axum::serve(listener, service).await });
    address
}

/// The expected response for key `id`.
fn allowed(id: &str) -> HttpResponse {
    HttpResponse { code: 200, challenge: None, body: format!("{id} of acme") }
}

/// The expected response for a revoked key.
fn revoked() -> HttpResponse {
    let challenge = r#"Bearer error="invalid_token", error_description="the key is revoked""#;
    HttpResponse { code: 401, challenge: Some(challenge.to_owned()), body: String::new() }
}

/// Clients that send requests without a pause, with a valid and a revoked key in turn.
struct Load {
    clients: JoinSet<(usize, Vec<String>)>,
    answered: watch::Sender<usize>,
    is_over: Arc<AtomicBool>,
}

impl Load {
    fn start(count: usize, address: &str, valid: &str, revoked_token: &str) -> Self {
        let mut load = Self { clients: JoinSet::new(), answered: watch::Sender::new(0), is_over: Arc::default() };
        for _ in 0..count {
            let cases = [(valid.to_owned(), allowed("valid")), (revoked_token.to_owned(), revoked())];
            let (address, answered, is_over) = (address.to_owned(), load.answered.clone(), Arc::clone(&load.is_over));
            load.clients.spawn(async move {
                let (mut http, mut sent, mut wrong) = (Http::connect(&address).await, 0, Vec::new());
                while !is_over.load(Ordering::Relaxed) {
                    for (token, expected) in &cases {
                        sent += 1;
                        let response = http.send_with_token("GET", "/", token).await;
                        if response != *expected {
                            wrong.push(format!("{response:?}, expected {expected:?}"));
                        }
                        answered.send_modify(|answered| *answered += 1);
                    }
                }
                (sent, wrong)
            });
        }
        load
    }

    /// Waits for `count` more responses.
    async fn wait_for_responses(&self, count: usize) {
        let mut answered = self.answered.subscribe();
        let target = *answered.borrow() + count;
        answered.wait_for(|&answered| answered >= target).await.unwrap();
    }

    /// Stops the clients. Returns the number of requests, the number of responses, and the wrong responses.
    async fn stop(self) -> (usize, usize, Vec<String>) {
        self.is_over.store(true, Ordering::Relaxed);
        let (sent, wrong): (Vec<usize>, Vec<_>) = self.clients.join_all().await.into_iter().unzip();
        (sent.into_iter().sum(), *self.answered.borrow(), wrong.concat())
    }
}

mod sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn restarts_under_load_cause_no_wrong_response_and_no_lost_request() {
        let mut authority = Authority::start().await;
        let operator = authority.operator();
        let valid = operator.create_key("valid", &["read"]).await;
        let revoked_token = operator.create_key("revoked", &["read"]).await;
        operator.revoke("revoked").await;
        // Longer than any restart takes.
        let verifier = authority.builder().deadline(Duration::from_mins(1)).connect().await.unwrap();
        let address = serve(verifier).await;

        let load = Load::start(16, &address, &valid, &revoked_token);
        let mut http = Http::connect(&address).await;
        for (round, signal) in [Signal::TERM, Signal::KILL].into_iter().cycle().take(8).enumerate() {
            load.wait_for_responses(200).await;
            // The next request sees a change that has returned, under load and after a restart.
            let operator = authority.operator();
            let id = format!("round-{round}");
            let token = operator.create_key(&id, &["read"]).await;
            assert_eq!(http.send_with_token("GET", "/", &token).await, allowed(&id));
            operator.revoke(&id).await;
            assert_eq!(http.send_with_token("GET", "/", &token).await, revoked());

            authority.stop(signal);
            authority.restart();
            assert_eq!(http.send_with_token("GET", "/", &token).await, revoked(), "after {signal:?}");
        }
        load.wait_for_responses(200).await;
        let (sent, answered, wrong) = load.stop().await;
        assert_eq!(wrong, [""; 0]);
        assert_eq!(sent, answered);
        eprintln!("8 restarts, {sent} requests, all answered, none wrong");
    }

    #[tokio::test]
    async fn an_outage_is_answered_with_503() {
        let mut authority = Authority::start().await;
        let token = authority.operator().create_key("valid", &["read"]).await;
        let verifier = authority.builder().deadline(Duration::from_millis(300)).connect().await.unwrap();
        let mut http = Http::connect(&serve(verifier).await).await;
        assert_eq!(http.send("GET", "/", &[("x-api-key", &token)]).await, allowed("valid"));
        authority.stop(Signal::KILL);
        let outage = HttpResponse { code: 503, challenge: None, body: String::new() };
        assert_eq!(http.send_with_token("GET", "/", &token).await, outage);
        let none = HttpResponse { code: 401, challenge: Some("Bearer".to_owned()), body: String::new() };
        assert_eq!(http.send("GET", "/", &[]).await, none, "a request without a key needs no verdict");
        authority.restart();
        assert_eq!(http.send_with_token("GET", "/", &token).await.code, 200);
    }
}
