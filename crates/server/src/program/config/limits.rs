//! The limits of the listeners.

use std::time::Duration;

use super::args::Settings;
use super::reader::Reader;
use crate::transport::limits::Limits;
use crate::transport::places::PlaceLimits;

/// The time that a connection past its age has, beyond the time of a unary call: responses that are being sent
/// complete.
const AGE_GRACE_EXTRA: Duration = Duration::from_secs(5);
/// The least memory for peers: an eighth of it holds a message of an import, of 16 MiB.
pub(super) const HELD_MIB_MIN: usize = 192;
/// The number of addresses that together take the places of strangers.
const STRANGER_ADDRESSES: usize = 4;
/// The number of callers that together take all places.
const CALLERS: usize = 2;

pub(super) fn limits(read: &mut Reader, settings: &Settings, request_timeout: Duration) -> Limits {
    let (second, minute, hour) = (Duration::from_secs(1), Duration::from_mins(1), Duration::from_hours(1));
    Limits {
        places: places(read, settings),
        preface_timeout: read.duration("preface-timeout", &settings.preface_timeout, second / 10..=minute),
        max_connection_age: read.duration("max-connection-age", &settings.max_connection_age, second..=hour * 24),
        // Every unary call ends within the request timeout.
        max_connection_age_grace: request_timeout + AGE_GRACE_EXTRA,
        max_streams_per_connection: read.count(
            "max-streams-per-connection",
            &settings.max_streams_per_connection,
            1..=100_000,
        ),
    }
}

fn places(read: &mut Reader, settings: &Settings) -> PlaceLimits {
    let mut count = |flag, text: &str| read.count(flag, text, 1..=1_000_000_usize);
    let strangers = count("max-unauthenticated-connections", &settings.max_unauthenticated_connections);
    let total = count("max-connections", &settings.max_connections);
    PlaceLimits {
        total,
        per_caller: total.div_ceil(CALLERS),
        per_address: count("max-connections-per-address", &settings.max_connections_per_address),
        strangers,
        strangers_per_address: strangers.div_ceil(STRANGER_ADDRESSES),
    }
}
