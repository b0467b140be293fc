//! Places for connections, and the end of those that are too old.

use std::time::Duration;

use key_authority_server::testing::{ConnectionCut, ConnectionRejected, Limits, PlaceLimits};
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{FOREVER, LIMITS, PLACES, Server, closed, in_time, known, noting, of};

#[tokio::test]
async fn one_connection_too_many_is_refused_and_room_is_given_back() {
    let server = Server::start(Limits { places: PlaceLimits { total: 1, ..PLACES }, ..LIMITS }, FOREVER, None);
    let mut client = server.client().await;
    client.check(known("")).await.unwrap();
    let mut second = server.connect().await;
    assert!(closed(&mut second).await.is_empty());
    assert_eq!(server.metrics.connections.rejections(ConnectionRejected::AtLimit), 1);
    client.check(of("")).await.unwrap();
    drop(client);
    in_time("the room of a connection that ended is given to the next", async {
        loop {
            let next = server.endpoint().connect().await;
            let Ok(channel) = next else { continue };
            if HealthClient::new(channel).check(of("")).await.is_ok() {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_oldest_stranger_makes_room_for_a_new_one_and_known_callers_stay() {
    let places = PlaceLimits { strangers_per_address: 1, ..PLACES };
    let server = Server::start(Limits { places, ..LIMITS }, FOREVER, None);
    let mut caller = server.client().await;
    caller.check(known("")).await.unwrap();
    let mut silent = server.connect().await;
    let mut watcher = server.client().await;
    assert!(closed(&mut silent).await.is_empty());
    assert_eq!(server.metrics.connections.rejections(ConnectionRejected::Evicted), 1);
    let mut watch = watcher.watch(of("")).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    let _newer = server.connect().await;
    let ended = in_time("the older stranger is asked to leave", watch.message()).await;
    assert!(ended.unwrap().is_none(), "its watch ends in order");
    caller.check(of("")).await.unwrap();
}

#[tokio::test]
async fn a_call_that_outlasts_the_grace_after_the_age_is_cut() {
    let limits = Limits {
        max_connection_age: Duration::from_millis(50),
        max_connection_age_grace: Duration::from_millis(50),
        ..LIMITS
    };
    let (noting, server) = noting(limits, FOREVER, None);
    let mut client = server.client().await;
    let slow = tokio::spawn(async move { client.check(of("slow")).await });
    noting.waiting.notified().await;
    in_time("the call is cut", slow).await.unwrap().unwrap_err();
    let cut = server.metrics.connections.cuts(ConnectionCut::TooOld);
    assert_eq!(cut, 1);
}

#[tokio::test]
async fn a_watch_ends_in_order_at_the_age_of_its_connection() {
    let server = Server::start(Limits { max_connection_age: Duration::from_millis(50), ..LIMITS }, FOREVER, None);
    let mut watch = server.client().await.watch(of("")).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    assert!(in_time("the watch ends", watch.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn watches_beyond_the_limit_of_a_connection_get_the_status_and_end() {
    let server = Server::start(LIMITS, FOREVER, None);
    let mut client = server.client().await;
    let mut watches = Vec::new();
    for _ in 0..8 {
        watches.push(client.watch(of("")).await.unwrap().into_inner());
    }
    let mut next = client.watch(of("")).await.unwrap().into_inner();
    assert_eq!(next.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(next.message().await.unwrap().is_none());
    server.health.set_alive(true);
    for watch in &mut watches {
        assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    }
}

#[tokio::test]
async fn a_stranger_has_few_calls_in_progress() {
    let (noting, server) = noting(Limits { max_streams_per_connection: 1_000, ..LIMITS }, FOREVER, None);
    let client = server.client().await;
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..101 {
        let mut client = client.clone();
        slow.spawn(async move { client.check(of("slow")).await });
    }
    let refused = in_time("one too many is refused", slow.join_next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    client.clone().check(known("")).await.unwrap();
    noting.release.notify_waiters();
}
