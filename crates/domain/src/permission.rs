//! The permissions of callers: the scopes of keys of the account `system`.

use std::fmt;

use crate::access::Access;
use crate::access::Scope;
use crate::text::ValidationError;
use crate::time::Timestamp;

/// A permission. Its name is the scope that a caller's key must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Call the Verify methods.
    Verify,
    /// Read keys.
    KeysRead,
    /// Create, change, disable, enable, renew and delete keys.
    KeysWrite,
    /// Revoke keys.
    KeysRevoke,
    /// Reveal stored tokens.
    TokensReveal,
    /// Read accounts.
    AccountsRead,
    /// Create, change, suspend, resume and delete accounts.
    AccountsWrite,
    /// Read the audit log.
    AuditRead,
    /// Create portal sessions, in which users of a product read the keys and the audit trail of an account.
    PortalWrite,
    /// Read the status of the authority.
    Operate,
}

impl Permission {
    /// All permissions.
    pub const ALL: [Self; 10] = [
        Self::Verify,
        Self::KeysRead,
        Self::KeysWrite,
        Self::KeysRevoke,
        Self::TokensReveal,
        Self::AccountsRead,
        Self::AccountsWrite,
        Self::AuditRead,
        Self::PortalWrite,
        Self::Operate,
    ];

    /// The scope.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::KeysRead => "keys.read",
            Self::KeysWrite => "keys.write",
            Self::KeysRevoke => "keys.revoke",
            Self::TokensReveal => "tokens.reveal",
            Self::AccountsRead => "accounts.read",
            Self::AccountsWrite => "accounts.write",
            Self::AuditRead => "audit.read",
            Self::PortalWrite => "portal.write",
            Self::Operate => "operate",
        }
    }

    /// Checks that a scope of a key of account `system` is a permission.
    ///
    /// # Errors
    /// The list of permissions.
    pub fn check(scope: &Scope) -> Result<(), ValidationError> {
        if Self::ALL.iter().any(|permission| permission.as_str() == scope.as_str()) {
            return Ok(());
        }
        let names: Vec<_> = Self::ALL.iter().map(|permission| permission.as_str()).collect();
        Err(ValidationError::new(format!("must be a permission, for a key of account system: {}", names.join(", "))))
    }

    /// Whether a caller with `held` until `held_end` may grant `granted` until `granted_end`. A caller cannot grant
    /// more permissions, a later expiry or wider networks than its own key has.
    #[must_use]
    pub fn may_grant(
        held: &Access,
        held_end: Option<Timestamp>,
        granted: &Access,
        granted_end: Option<Timestamp>,
    ) -> bool {
        granted.scopes.is_subset(&held.scopes)
            && held.projects.includes(&granted.projects)
            && held.confines(granted)
            && held_end.is_none_or(|held| granted_end.is_some_and(|granted| granted <= held))
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::access::{Network, Project, ProjectAccess};

    pub(crate) fn access(scopes: &[&str], projects: Option<&[&str]>) -> Access {
        Access {
            scopes: scopes.iter().map(|s| Scope::new(s).unwrap()).collect(),
            projects: projects.map_or(ProjectAccess::All, |names| {
                ProjectAccess::Only(names.iter().map(|n| Project::new(n).unwrap()).collect())
            }),
            networks: [].into(),
        }
    }

    #[test]
    fn a_caller_cannot_grant_more_than_it_has() {
        let held = access(&["verify", "keys.read"], Some(&["a", "b"]));
        let may = |granted: &Access| Permission::may_grant(&held, None, granted, None);
        assert!(may(&access(&["verify"], Some(&["a"]))));
        assert!(may(&access(&[], Some(&[]))));
        assert!(!may(&access(&["keys.write"], Some(&["a"]))));
        assert!(!may(&access(&["verify"], Some(&["c"]))));
        assert!(!may(&access(&["verify"], None)));
    }

    #[test]
    fn a_caller_cannot_grant_a_later_expiry_or_wider_networks() {
        let within = |networks: &[&str]| Access {
            networks: networks.iter().map(|n| Network::new(n).unwrap()).collect(),
            ..access(&["verify"], None)
        };
        let (early, late) = (Some(Timestamp::from_micros(1)), Some(Timestamp::from_micros(2)));
        let may = |held: &Access, held_end, granted: &Access, end| Permission::may_grant(held, held_end, granted, end);
        let (free, bound) = (within(&[]), within(&["10.0.0.0/8"]));
        assert!(may(&free, late, &free, early) && may(&free, late, &free, late) && may(&free, None, &free, None));
        assert!(!may(&free, early, &free, late) && !may(&free, early, &free, None));
        assert!(may(&free, None, &bound, None) && may(&bound, None, &within(&["10.1.0.0/16"]), None));
        assert!(!may(&bound, None, &free, None) && !may(&bound, None, &within(&["10.1.0.0/16", "11.0.0.0/8"]), None));
    }

    #[test]
    fn scopes_of_callers_must_be_permissions() {
        for permission in Permission::ALL {
            assert!(Permission::check(&Scope::new(permission.as_str()).unwrap()).is_ok());
        }
        assert!(Permission::check(&Scope::new("orders.read").unwrap()).unwrap_err().as_str().contains("keys.revoke"));
    }
}
