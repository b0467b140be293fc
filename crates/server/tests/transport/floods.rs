//! Frames that carry no call, as many as the peer can send.

use key_authority_server::testing::ConnectionCut;
use tokio::io::AsyncWriteExt as _;

use super::{FOREVER, LIMITS, Server, closed, of};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
const PING_ACK: &[u8] = &[0, 0, 8, 6, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
const WINDOW_UPDATE: &[u8] = &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const PRIORITY: &[u8] = &[0, 0, 5, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 16];
const UNKNOWN: &[u8] = &[0, 0, 0, 0xaa, 0, 0, 0, 0, 0];

#[tokio::test]
async fn a_flood_of_frames_ends_its_connection_alone() {
    let server = Server::start(LIMITS, FOREVER, None);
    let mut other = server.client().await;
    for (frame, number) in [SETTINGS, PING, PING_ACK, WINDOW_UPDATE, PRIORITY, UNKNOWN].into_iter().zip(1..) {
        let mut peer = server.connect().await;
        peer.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
        let (mut read, mut write) = peer.split();
        let flood = async {
            // Until the server is gone.
            while write.write_all(&frame.repeat(1_000)).await.is_ok() {}
        };
        let unread = async { tokio::io::copy(&mut read, &mut tokio::io::sink()).await.is_ok() };
        tokio::join!(flood, unread);
        assert!(closed(&mut peer).await.is_empty());
        assert_eq!(server.metrics.connections.cuts(ConnectionCut::Flood), number, "{frame:?}");
        other.check(of("")).await.unwrap();
    }
}

#[tokio::test]
async fn frames_that_go_with_calls_are_no_flood() {
    let server = Server::start(LIMITS, FOREVER, None);
    let endpoint = server.endpoint().http2_adaptive_window(true);
    let mut client = tonic_health::pb::health_client::HealthClient::new(endpoint.connect().await.unwrap());
    for _ in 0..5_000 {
        // Each opens and resets a stream.
        drop(client.watch(of("")).await.unwrap());
    }
    assert_eq!(server.metrics.connections.cuts(ConnectionCut::Flood), 0);
}
