//! Changes at a fixed rate, as background load while Verify is measured.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use key_authority_proto::v1;
use key_authority_proto::v1::key_authority_client::KeyAuthorityClient;
use key_authority_testkit::clock::Clock;
use key_authority_testkit::rng::SeededRng;
use tokio::time::{MissedTickBehavior, interval};
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;

use crate::key_set::KeySet;

/// Changes per second.
pub(super) const CHANGES: u32 = 100;

/// Makes changes until it is dropped, and records the time to the return of each in microseconds.
pub(super) async fn change(address: SocketAddr, key_set: KeySet, taken: &mut Histogram<u64>) -> Result<()> {
    let endpoint = Endpoint::try_from(format!("http://{address}")).context("invalid address")?.tcp_nodelay(true);
    let client = KeyAuthorityClient::new(endpoint.connect().await.context("cannot connect")?);
    let bearer: MetadataValue<Ascii> =
        format!("Bearer {}", key_set.root()?.reveal()).parse().context("invalid token")?;
    let (mut rng, clock) = (SeededRng::stream(key_set.seed, 1), Clock::start());
    let mut due = interval(Duration::from_secs(1) / CHANGES);
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut changes = FuturesUnordered::new();
    loop {
        tokio::select! {
            _ = due.tick() => {
                let mut client = client.clone();
                let mut request = Request::new(described(rng.below(key_set.count), clock));
                request.metadata_mut().insert("authorization", bearer.clone());
                let sent = clock.elapsed();
                changes.push(async move {
                    client.update_key(request).await.map(|_| clock.elapsed().saturating_sub(sent))
                });
            }
            Some(outcome) = changes.next() => {
                let micros = outcome.context("UpdateKey failed")?.as_micros();
                taken.saturating_record(u64::try_from(micros)?);
            }
        }
    }
}

/// A new description: a change that every replica must apply, but that affects no verdict.
fn described(number: u64, clock: Clock) -> v1::UpdateKeyRequest {
    let key = v1::Key {
        id: KeySet::id_of(number),
        description: format!("changed at {:?}", clock.elapsed()),
        ..Default::default()
    };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["description".into()] });
    v1::UpdateKeyRequest { key: Some(key), update_mask, ..Default::default() }
}
