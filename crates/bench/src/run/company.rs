//! Changes at a fixed rate, beside which Verify is measured.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use key_authority_proto::v1;
use key_authority_proto::v1::key_authority_client::KeyAuthorityClient;
use tokio::time::{MissedTickBehavior, interval};
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::stock::Stock;
use crate::trouble::{Attempt as _, Trouble};

/// Changes a second.
pub(super) const CHANGES: u32 = 100;

/// Makes changes for as long as it is polled, and notes in milliseconds how long each took until it was over.
pub(super) async fn change(address: SocketAddr, stock: Stock, taken: &mut Histogram<u64>) -> Result<(), Trouble> {
    let endpoint = Endpoint::try_from(format!("http://{address}")).attempt("an address")?.tcp_nodelay(true);
    let client = KeyAuthorityClient::new(endpoint.connect().await.attempt("a connection")?);
    let bearer: MetadataValue<Ascii> = format!("Bearer {}", stock.root()?.reveal()).parse().attempt("a token")?;
    let (mut chance, clock) = (Chance::of(stock.seed, 1), Clock::start());
    let mut due = interval(Duration::from_secs(1) / CHANGES);
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut changes = FuturesUnordered::new();
    loop {
        tokio::select! {
            _ = due.tick() => {
                let mut client = client.clone();
                let mut request = Request::new(described(chance.below(stock.count), clock));
                request.metadata_mut().insert("authorization", bearer.clone());
                let asked = clock.elapsed();
                changes.push(async move { client.update_key(request).await.map(|_| clock.elapsed().saturating_sub(asked)) });
            }
            Some(outcome) = changes.next() => {
                let micros = outcome.attempt("UpdateKey")?.as_micros();
                taken.saturating_record(u64::try_from(micros)?);
            }
        }
    }
}

/// Another description: a change that every replica must apply, and no verdict depends on.
fn described(number: u64, clock: Clock) -> v1::UpdateKeyRequest {
    let key = v1::Key {
        id: Stock::id_of(number),
        description: format!("changed at {:?}", clock.elapsed()),
        ..Default::default()
    };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["description".into()] });
    v1::UpdateKeyRequest { key: Some(key), update_mask, ..Default::default() }
}
