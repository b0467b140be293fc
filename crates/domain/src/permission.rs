//! What a caller may do: the scopes of a key of the account `system`.

use std::fmt;

use crate::access::Access;
use crate::access::Scope;
use crate::text::Invalid;

/// One permission. Its name is the scope that a caller's key must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Ask Verify and its kin.
    Verify,
    /// See keys.
    KeysRead,
    /// Create, change, disable, enable, renew and delete keys.
    KeysWrite,
    /// Revoke keys.
    KeysRevoke,
    /// Have kept tokens shown.
    TokensReveal,
    /// See accounts.
    AccountsRead,
    /// Create, change, suspend, resume and delete accounts.
    AccountsWrite,
    /// See the audit log.
    AuditRead,
    /// See how the authority itself is.
    Operate,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Verify,
        Self::KeysRead,
        Self::KeysWrite,
        Self::KeysRevoke,
        Self::TokensReveal,
        Self::AccountsRead,
        Self::AccountsWrite,
        Self::AuditRead,
        Self::Operate,
    ];

    /// Its name, a scope.
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
            Self::Operate => "operate",
        }
    }

    /// Checks that a scope for a key of account `system` is a permission.
    ///
    /// # Errors
    /// The list of permissions.
    pub fn check(scope: &Scope) -> Result<(), Invalid> {
        if Self::ALL.iter().any(|permission| permission.as_str() == scope.as_str()) {
            return Ok(());
        }
        let names: Vec<_> = Self::ALL.iter().map(|permission| permission.as_str()).collect();
        Err(Invalid::rule(format!("must be a permission, for a key of account system: {}", names.join(", "))))
    }

    /// Whether a caller who holds `held` may hand out `granted`: nobody grants more than they hold.
    #[must_use]
    pub fn may_grant(held: &Access, granted: &Access) -> bool {
        granted.scopes.is_subset(&held.scopes) && held.projects.includes(&granted.projects)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Project, ProjectAccess};

    fn access(scopes: &[&str], projects: Option<&[&str]>) -> Access {
        Access {
            scopes: scopes.iter().map(|s| Scope::new(s).unwrap()).collect(),
            projects: projects.map_or(ProjectAccess::All, |names| {
                ProjectAccess::Only(names.iter().map(|n| Project::new(n).unwrap()).collect())
            }),
            networks: [].into(),
        }
    }

    #[test]
    fn nobody_grants_more_than_they_hold() {
        let held = access(&["verify", "keys.read"], Some(&["a", "b"]));
        assert!(Permission::may_grant(&held, &access(&["verify"], Some(&["a"]))));
        assert!(Permission::may_grant(&held, &access(&[], Some(&[]))));
        assert!(!Permission::may_grant(&held, &access(&["keys.write"], Some(&["a"]))));
        assert!(!Permission::may_grant(&held, &access(&["verify"], Some(&["c"]))));
        assert!(!Permission::may_grant(&held, &access(&["verify"], None)));
    }

    #[test]
    fn only_permissions_are_scopes_of_callers() {
        for permission in Permission::ALL {
            assert!(Permission::check(&Scope::new(permission.as_str()).unwrap()).is_ok());
        }
        assert!(Permission::check(&Scope::new("orders.read").unwrap()).unwrap_err().as_str().contains("keys.revoke"));
    }
}
