//! Scopes, projects and networks of a key, and the rules by which a question matches them.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::text::{TextRule, ValidationError};

/// Declares a string that has no meaning to the authority and satisfies a rule.
macro_rules! opaque {
    ($(#[$doc:meta])* $name:ident, $rule:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Validates `value`.
            ///
            /// # Errors
            /// The rule that `value` breaks.
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
    /// A scope: 1 to 128 characters without spaces.
    Scope,
    TextRule::line(SCOPE_LEN_MAX).required().without_spaces()
);
opaque!(
    /// A project: 1 to 256 characters.
    Project,
    TextRule::line(PROJECT_LEN_MAX).required()
);

/// Maximum length of a scope, in characters.
pub const SCOPE_LEN_MAX: usize = 128;
/// Maximum length of a project, in characters.
pub const PROJECT_LEN_MAX: usize = 256;
/// Maximum number of scopes of a key.
pub const SCOPES_MAX: usize = 100;
/// Maximum number of projects of a key.
pub const PROJECTS_MAX: usize = 1000;
/// Maximum number of networks of a key.
pub const NETWORKS_MAX: usize = 100;

/// The projects that a key covers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ProjectAccess {
    /// All projects.
    All,
    /// Only these projects. An empty set covers none: Verify always denies such a key.
    Only(BTreeSet<Project>),
}

impl ProjectAccess {
    /// Whether the key covers `project`. For None: whether it covers any project.
    #[must_use]
    pub fn covers(&self, project: Option<&str>) -> bool {
        match (self, project) {
            (Self::All, _) => true,
            (Self::Only(set), Some(project)) => set.contains(project),
            (Self::Only(set), None) => !set.is_empty(),
        }
    }

    /// Whether `self` covers all projects that `other` covers.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(mine), Self::Only(theirs)) => theirs.is_subset(mine),
        }
    }
}

/// A network in CIDR notation. A bare address is the network of that address. An IPv4-mapped IPv6 network
/// (`::ffff:10.0.0.0/104`) is converted to IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(IpNet);

impl Network {
    /// Parses `10.0.0.0/8`, `2001:db8::/32` or a bare address.
    ///
    /// # Errors
    /// The rule that `value` breaks: it is not a network, or it has bits set beyond the prefix.
    pub fn new(value: &str) -> Result<Self, ValidationError> {
        let rule = || {
            ValidationError::new(
                "must be an IPv4 or IPv6 network such as 10.0.0.0/8 or 2001:db8::/32, with no bits set beyond the \
                 prefix",
            )
        };
        let network = match value.parse::<IpNet>() {
            Ok(network) => network,
            Err(_) => IpNet::from(value.parse::<IpAddr>().map_err(|_| rule())?),
        };
        if network.trunc() == network { Ok(Self(canonical(network))) } else { Err(rule()) }
    }

    /// Whether the network contains `address`. An IPv4-mapped IPv6 address (`::ffff:10.0.0.1`) counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// Converts a network within `::ffff:0:0/96` to IPv4, because addresses are matched in that form.
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

/// The access of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Access {
    /// The scopes.
    pub scopes: BTreeSet<Scope>,
    /// The projects.
    pub projects: ProjectAccess,
    /// The networks that the key is valid from. Empty: any.
    pub networks: BTreeSet<Network>,
}

impl Access {
    /// The `wanted` scopes that the key lacks, in the given order.
    pub fn missing_scopes<'a>(&'a self, wanted: &'a [&'a str]) -> impl Iterator<Item = &'a str> + 'a {
        wanted.iter().copied().filter(|scope| !self.scopes.contains(*scope))
    }

    /// Whether `self` is valid from all networks that `other` is valid from.
    #[must_use]
    pub fn confines(&self, other: &Self) -> bool {
        let is_within = |theirs: &Network| self.networks.iter().any(|mine| mine.0.contains(&theirs.0));
        self.networks.is_empty() || (!other.networks.is_empty() && other.networks.iter().all(is_within))
    }

    /// Whether a client at `address` may use the key. An unknown address is allowed only if any address is.
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
    fn an_empty_set_covers_no_project() {
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
    fn an_ipv4_mapped_network_is_converted_to_ipv4() {
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
        fn includes_agrees_with_covers(
            mine in prop::collection::btree_set("[a-c]", 0..3),
            theirs in prop::collection::btree_set("[a-c]", 0..3),
        ) {
            let set = |names: &BTreeSet<String>| only(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let (mine, others) = (set(&mine), set(&theirs));
            let every = theirs.iter().all(|p| mine.covers(Some(p)));
            prop_assert_eq!(mine.includes(&others), every);
            prop_assert!(ProjectAccess::All.includes(&mine) && !mine.includes(&ProjectAccess::All));
        }
    }
}
