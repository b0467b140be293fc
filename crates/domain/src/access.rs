//! What a key opens: scopes, projects and networks, and the rules by which a question matches them.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};

use crate::text::{TextRule, ValidationError};

/// Declares an opaque string of the caller's world that has passed its rule.
macro_rules! opaque {
    ($(#[$doc:meta])* $name:ident, $rule:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes `value`, if it follows the rule.
            ///
            /// # Errors
            /// The rule in words, when the value breaks it.
            pub fn new(value: &str) -> Result<Self, ValidationError> {
                const RULE: TextRule = $rule;
                RULE.check(value).map(|()| Self(value.into()))
            }

            /// The value as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

opaque!(
    /// A permission of the caller's world: 1 to 128 characters without spaces.
    Scope,
    TextRule::line(SCOPE_LEN_MAX).required().without_spaces()
);
opaque!(
    /// A project of the caller's world: 1 to 256 characters.
    Project,
    TextRule::line(PROJECT_LEN_MAX).required()
);

/// The longest scope, in characters.
pub const SCOPE_LEN_MAX: usize = 128;
/// The longest project, in characters.
pub const PROJECT_LEN_MAX: usize = 256;
/// Most scopes a key may have.
pub const SCOPES_MAX: usize = 100;
/// Most projects a key may name.
pub const PROJECTS_MAX: usize = 1000;
/// Most networks a key may be bound to.
pub const NETWORKS_MAX: usize = 100;

/// The projects a key covers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ProjectAccess {
    /// Every project, whatever it is called.
    All,
    /// These alone. An empty set covers none: such a key verifies nowhere.
    Only(BTreeSet<Project>),
}

impl ProjectAccess {
    /// Whether the key covers `project`; without one, whether it covers any at all.
    #[must_use]
    pub fn covers(&self, project: Option<&str>) -> bool {
        match (self, project) {
            (Self::All, _) => true,
            (Self::Only(set), Some(project)) => set.contains(project),
            (Self::Only(set), None) => !set.is_empty(),
        }
    }

    /// Whether all that `other` covers is covered here as well.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(mine), Self::Only(theirs)) => theirs.is_subset(mine),
        }
    }
}

/// A network in CIDR form. A bare address counts as the network of that one address, IPv4 in IPv6 clothing
/// (`::ffff:10.0.0.0/104`) as IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(IpNet);

impl Network {
    /// Reads `10.0.0.0/8`, `2001:db8::/32` or a bare address.
    ///
    /// # Errors
    /// The rule in words, when it is not one or has bits set beyond the prefix.
    pub fn new(value: &str) -> Result<Self, ValidationError> {
        let rule = || {
            ValidationError::new(
                "must be an IPv4 or IPv6 network such as 10.0.0.0/8 or 2001:db8::/32, with no bits set beyond the prefix",
            )
        };
        let network = match value.parse::<IpNet>() {
            Ok(network) => network,
            Err(_) => IpNet::from(value.parse::<IpAddr>().map_err(|_| rule())?),
        };
        if network.trunc() == network { Ok(Self(canonical(network))) } else { Err(rule()) }
    }

    /// Whether `address` lies within. An IPv4 address in IPv6 clothing (`::ffff:10.0.0.1`) counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// A network within `::ffff:0:0/96` as the IPv4 network that it stands for: addresses are matched in that form.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED_PREFIX: u8 = 96;
    let IpNet::V6(mapped) = network else { return network };
    let ipv4 = mapped.addr().to_ipv4_mapped().zip(mapped.prefix_len().checked_sub(MAPPED_PREFIX));
    ipv4.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()).map_or(network, IpNet::V4)
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// All that a key opens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Access {
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// Where it may do it.
    pub projects: ProjectAccess,
    /// From where; empty means from anywhere.
    pub networks: BTreeSet<Network>,
}

impl Access {
    /// Those of the `wanted` scopes that the key has not, in the order in which they were asked for.
    pub fn missing_scopes<'a>(&'a self, wanted: &'a [&'a str]) -> impl Iterator<Item = &'a str> + 'a {
        wanted.iter().copied().filter(|scope| !self.scopes.contains(*scope))
    }

    /// Whether all places from which `other` may be used are places from which this may be.
    #[must_use]
    pub fn confines(&self, other: &Self) -> bool {
        let is_within = |theirs: &Network| self.networks.iter().any(|mine| mine.0.contains(&theirs.0));
        self.networks.is_empty() || (!other.networks.is_empty() && other.networks.iter().all(is_within))
    }

    /// Whether a client at `address` may use the key. An unknown address may only where any may.
    #[must_use]
    pub fn admits(&self, address: Option<IpAddr>) -> bool {
        self.networks.is_empty()
            || address.is_some_and(|address| self.networks.iter().any(|network| network.contains(address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn only(projects: &[&str]) -> ProjectAccess {
        ProjectAccess::Only(projects.iter().map(|p| Project::new(p).unwrap()).collect())
    }

    #[test]
    fn an_empty_set_covers_none_not_all() {
        assert!(!only(&[]).covers(None));
        assert!(!only(&[]).covers(Some("a")));
        assert!(only(&["a"]).covers(None));
        assert!(ProjectAccess::All.covers(Some("a")));
    }

    #[test]
    fn networks_are_matched_by_canonical_address() {
        let network = Network::new("10.0.0.0/8").unwrap();
        assert!(network.contains("10.255.0.1".parse().unwrap()));
        assert!(network.contains("::ffff:10.0.0.1".parse().unwrap()));
        assert!(!network.contains("11.0.0.1".parse().unwrap()));
        assert!(Network::new("192.0.2.7").unwrap().contains("192.0.2.7".parse().unwrap()));
        for bad in ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0", "example.org", "2001:db8::1/32"] {
            assert!(Network::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_network_of_mapped_addresses_is_the_one_they_stand_for() {
        for (mapped, plain) in
            [("::ffff:10.0.0.0/104", "10.0.0.0/8"), ("::ffff:10.0.0.1", "10.0.0.1/32"), ("::ffff:0:0/96", "0.0.0.0/0")]
        {
            let network = Network::new(mapped).unwrap();
            assert_eq!(network.to_string(), plain);
            assert!(network.contains("10.0.0.1".parse().unwrap()), "{mapped}");
            assert!(network.contains("::ffff:10.0.0.1".parse().unwrap()), "{mapped}");
        }
        assert!(Network::new("::ffff:10.0.0.1/104").is_err());
        assert_eq!(Network::new("::/0").unwrap().to_string(), "::/0");
    }

    proptest! {
        #[test]
        fn includes_agrees_with_covers(mine in prop::collection::btree_set("[a-c]", 0..3), theirs in prop::collection::btree_set("[a-c]", 0..3)) {
            let set = |names: &BTreeSet<String>| only(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let (mine, others) = (set(&mine), set(&theirs));
            let every = theirs.iter().all(|p| mine.covers(Some(p)));
            prop_assert_eq!(mine.includes(&others), every);
            prop_assert!(ProjectAccess::All.includes(&mine) && !mine.includes(&ProjectAccess::All));
        }
    }
}
