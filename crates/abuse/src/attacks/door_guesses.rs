//! Wrong tokens at the sign-in of the console, at `/introspect` and at `/forward-auth`, while an operator signs in.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use key_authority_testkit::clock::Clock;
use tokio::time::{interval, sleep};

use crate::attack::Attack;
use crate::client::GOOD;
use crate::peer::{ATTACKER, Peer, one_of_many};
use crate::sign_in::SignIn;
use crate::stage::Stage;

/// The connections to each path, and the requests of each at a time.
const CONNECTIONS: usize = 4;
const AT_ONCE: usize = 32;
/// The addresses that try to sign in, one try after the other each.
const GUESSERS: usize = 32;
/// The time between two sign-ins of the operator.
const SIGN_IN_INTERVAL: Duration = Duration::from_millis(250);
/// The longest time that a good sign-in may take.
const SIGN_IN_LIMIT: Duration = Duration::from_secs(1);
/// The pause after a connection that could not be opened.
const RECONNECT_DELAY: Duration = Duration::from_millis(50);

/// A token that no key has.
const WRONG: &str = "ka_wrong_wrong_wrong_wrong_wrong_wrong_wrong";

pub(super) const ATTACK: Attack = Attack::new(
    "door-guesses",
    "wrong tokens at the sign-in (32 addresses), at /introspect and at /forward-auth (4 × 32 requests at once each)",
    |stage| Box::pin(async move { run(&stage).await }),
);

async fn run(stage: &Stage) -> Result<()> {
    let bearer = format!("Bearer {WRONG}");
    let introspect = [("authorization", bearer.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let forward = [("x-key-authority-caller", bearer.as_str()), ("authorization", bearer.as_str())];
    let asks =
        (0..CONNECTIONS).flat_map(|_| [ask(stage, "/introspect", &introspect), ask(stage, "/forward-auth", &forward)]);
    let guesses = (0..GUESSERS).map(|number| guess(stage, one_of_many(number)));
    let floods =
        futures_util::future::join(futures_util::future::join_all(asks), futures_util::future::join_all(guesses));
    futures_util::future::join(floods, sign_in(stage)).await;
    Ok(())
}

/// Asks over and over.
async fn ask(stage: &Stage, path: &str, headers: &[(&str, &str)]) {
    let body = Bytes::from(format!("token={WRONG}"));
    loop {
        if let Ok(mut peer) = Peer::open_door(stage, ATTACKER, 65_535, headers).await {
            while round(&mut peer, path, &body).await.is_ok() {}
        }
        sleep(RECONNECT_DELAY).await;
    }
}

async fn round(peer: &mut Peer, path: &str, body: &Bytes) -> Result<()> {
    let mut answers = Vec::with_capacity(AT_ONCE);
    for _ in 0..AT_ONCE {
        let (mut sender, answer) = peer.call(path).await?;
        // A stream that is answered already takes no data.
        let _ = sender.send_data(body.clone(), true);
        answers.push(answer.read());
    }
    futures_util::future::join_all(answers).await;
    Ok(())
}

/// Tries to sign in over and over.
async fn guess(stage: &Stage, from: IpAddr) {
    loop {
        let answer = match SignIn::open(stage, from).await {
            Ok(page) => page.submit(stage, from, WRONG).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(reply) => stage.answers.count(format!("sign-in {}", reply.status)),
            Err(_error) => {
                stage.answers.count("no sign-in");
                sleep(RECONNECT_DELAY).await;
            }
        }
    }
}

/// The operator, whose sign-in must succeed.
async fn sign_in(stage: &Stage) {
    let (clock, mut ticks) = (Clock::start(), interval(SIGN_IN_INTERVAL));
    loop {
        ticks.tick().await;
        let began = clock.now();
        let reply = match SignIn::open(stage, GOOD).await {
            Ok(page) => page.submit(stage, GOOD, &stage.root).await,
            Err(error) => Err(error),
        };
        match reply {
            Ok(reply) if reply.status == 303 => {}
            Ok(reply) => stage.broken(format!("the operator's sign-in got {}", reply.status)),
            Err(error) => stage.broken(format!("the operator's sign-in: {error:#}")),
        }
        if clock.since(began) > SIGN_IN_LIMIT {
            stage.broken(format!("the operator's sign-in took over {SIGN_IN_LIMIT:?}"));
        }
    }
}
