//! Bounds the failed sign-ins from one address.
//!
//! A valid token always passes: several people may share an address, and wrong tokens of one must not keep the others
//! out. A token has 238 random bits, so the number of guesses is not what protects it. The bound limits the log lines
//! and pages that guesses cost, and who guesses learns nothing more from a refusal than from "not valid".

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use key_authority_replica::clock::Boottime;

/// The number of failures that an address may have at once.
const FAILURES_MAX: u64 = 10;
/// The time after which one of them is forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(6);
/// The maximum number of addresses that are remembered.
const ADDRESSES_MAX: usize = 10_000;

/// The failed sign-ins, by address. Each entry is the time at which all failures of the address are forgiven.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<BTreeMap<IpAddr, u64>>);

impl Throttle {
    /// Records a failure, unless the address has too many already.
    ///
    /// # Errors
    /// The time after which the next failure is recorded again.
    pub(super) fn fail(&self, address: IpAddr, now: Boottime) -> Result<(), Duration> {
        let mut forgiven = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = bucket(address);
        let until = forgiven.get(&address).copied().unwrap_or(0).max(now.0);
        let allowed = nanos(FORGIVEN_AFTER) * (FAILURES_MAX - 1);
        let wait = Duration::from_nanos((until - now.0).saturating_sub(allowed));
        if !wait.is_zero() {
            return Err(wait);
        }
        if forgiven.len() >= ADDRESSES_MAX {
            forgiven.retain(|_, until| *until > now.0);
        }
        if forgiven.len() >= ADDRESSES_MAX
            && let Some(first) = forgiven.iter().min_by_key(|(_, until)| **until).map(|(address, _)| *address)
        {
            forgiven.remove(&first);
        }
        forgiven.insert(address, until + nanos(FORGIVEN_AFTER));
        Ok(())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns what counts as one address: an IPv6 host has a whole /64 network.
fn bucket(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_are_free_and_one_is_forgiven_every_six_seconds() {
        let throttle = Throttle::default();
        let (address, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let at = |seconds: u64| Boottime(seconds * 1_000_000_000);
        for _ in 0..10 {
            assert_eq!(throttle.fail(address, at(100)), Ok(()));
        }
        for _ in 0..3 {
            assert_eq!(throttle.fail(address, at(100)), Err(FORGIVEN_AFTER), "a refused try does not prolong the wait");
        }
        assert_eq!(throttle.fail(other, at(100)), Ok(()));
        assert_eq!(throttle.fail(address, at(106)), Ok(()));
        assert_eq!(throttle.fail(address, at(106)), Err(FORGIVEN_AFTER));
    }

    #[test]
    fn the_hosts_of_an_ipv6_network_count_together_and_memory_is_bounded() {
        let throttle = Throttle::default();
        for host in 0..10_u16 {
            throttle.fail(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, host).into(), Boottime(0)).unwrap();
        }
        assert!(throttle.fail("2001:db8:0:1::ffff".parse().unwrap(), Boottime(0)).is_err());
        // Each address beyond the maximum searches all of them.
        for number in 0..u32::try_from(ADDRESSES_MAX).unwrap() + 100 {
            throttle.fail(IpAddr::V4(number.into()), Boottime(u64::from(number))).unwrap();
        }
        assert!(throttle.0.lock().unwrap().len() <= ADDRESSES_MAX);
    }
}
