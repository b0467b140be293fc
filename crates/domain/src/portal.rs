//! Portal sessions: what a caller lets one user of its product do with the keys of one account.
//!
//! A portal session never has more rights than the caller that created it. [`PortalAction::narrow`] computes its access
//! from that of the caller's key, each time anew, and [`PortalAction::allows`] decides which actions of the log it may
//! take. Both are deny-by-default.

use std::collections::BTreeSet;

use crate::access::{Access, Project, ProjectAccess, Scope};
use crate::audit::Action;
use crate::id::AccountId;
use crate::permission::Permission;

/// What a portal session may do with keys, beside reading them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortalAction {
    /// Create keys.
    Create = 1,
    /// Change the fields of keys.
    Update = 2,
    /// Disable and enable keys.
    Disable = 3,
    /// Renew keys.
    Renew = 4,
    /// Revoke keys.
    Revoke = 5,
    /// Delete keys.
    Delete = 6,
    /// Show stored tokens.
    Reveal = 7,
}

impl PortalAction {
    /// All actions.
    pub const ALL: [Self; 7] =
        [Self::Create, Self::Update, Self::Disable, Self::Renew, Self::Revoke, Self::Delete, Self::Reveal];

    /// What every portal session may read, in its account. The permission `portal.write` includes it.
    pub const READS: [Permission; 3] = [Permission::KeysRead, Permission::AccountsRead, Permission::AuditRead];

    /// The action with this number.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|action| *action as i32 == number)
    }

    /// The name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "PORTAL_ACTION_CREATE",
            Self::Update => "PORTAL_ACTION_UPDATE",
            Self::Disable => "PORTAL_ACTION_DISABLE",
            Self::Renew => "PORTAL_ACTION_RENEW",
            Self::Revoke => "PORTAL_ACTION_REVOKE",
            Self::Delete => "PORTAL_ACTION_DELETE",
            Self::Reveal => "PORTAL_ACTION_REVEAL",
        }
    }

    /// The permissions of which any is enough for the action.
    #[must_use]
    pub const fn permissions(self) -> &'static [Permission] {
        match self {
            Self::Create | Self::Update | Self::Disable | Self::Renew | Self::Delete => &[Permission::KeysWrite],
            Self::Revoke => &[Permission::KeysWrite, Permission::KeysRevoke],
            Self::Reveal => &[Permission::TokensReveal],
        }
    }

    /// Whether a caller with this access may take the action itself, and so let a user take it.
    #[must_use]
    pub fn is_held_by(self, held: &Access) -> bool {
        self.permissions().iter().any(|permission| held.scopes.contains(permission.as_str()))
    }

    /// Whether a portal session with these actions may leave an event of this kind in the log.
    #[must_use]
    pub fn allows(may: &BTreeSet<Self>, action: Action) -> bool {
        let needed = match action {
            Action::StartPortalSession => return true,
            Action::CreateKey => Self::Create,
            Action::UpdateKey => Self::Update,
            Action::DisableKey | Action::EnableKey => Self::Disable,
            Action::RenewKey => Self::Renew,
            Action::RevokeKey => Self::Revoke,
            Action::DeleteKey | Action::PrepareDeleteKey => Self::Delete,
            Action::RevealToken => Self::Reveal,
            Action::CreateAccount
            | Action::UpdateAccount
            | Action::SuspendAccount
            | Action::ResumeAccount
            | Action::DeleteAccount
            | Action::Bootstrap
            | Action::AcceptRestore
            | Action::ImportKeys
            | Action::RevokeKeys
            | Action::RevokeToken
            | Action::RenewToken
            | Action::CreatePortalSession => return false,
        };
        may.contains(&needed)
    }

    /// The access of a portal session in this account: that of its caller's key, without what the session may not do.
    /// None if the caller may not have portal sessions in the account, or not any more.
    #[must_use]
    pub fn narrow(held: &Access, account: &AccountId, may: &BTreeSet<Self>) -> Option<Access> {
        let is_allowed = held.scopes.contains(Permission::PortalWrite.as_str())
            && held.projects.covers(Some(account.as_str()))
            && !account.is_system();
        if !is_allowed {
            return None;
        }
        let wanted = may.iter().flat_map(|action| action.permissions());
        let actions = wanted.filter(|permission| held.scopes.contains(permission.as_str()));
        let scopes = Self::READS.iter().chain(actions).filter_map(|permission| Scope::new(permission.as_str()).ok());
        Some(Access {
            scopes: scopes.collect(),
            // An ID of an account is a valid project.
            projects: ProjectAccess::Only(Project::new(account.as_str()).into_iter().collect()),
            networks: held.networks.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permission::tests::access;

    #[test]
    fn a_session_has_no_more_than_its_caller_and_its_actions() {
        let acme = AccountId::new("acme").unwrap();
        let scopes = |held: &[&str], may: &[PortalAction]| {
            let narrowed = PortalAction::narrow(&access(held, None), &acme, &may.iter().copied().collect())?;
            assert!(!narrowed.projects.covers(Some("other")) && narrowed.projects.covers(Some("acme")));
            Some(narrowed.scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        let reads = "accounts.read audit.read keys.read";
        assert_eq!(scopes(&["portal.write", "keys.write", "operate"], &[]).as_deref(), Some(reads));
        assert_eq!(scopes(&["portal.write"], &PortalAction::ALL).as_deref(), Some(reads));
        let may = [PortalAction::Create, PortalAction::Reveal];
        let some = "accounts.read audit.read keys.read keys.write";
        assert_eq!(scopes(&["portal.write", "keys.write", "keys.revoke"], &may).as_deref(), Some(some));
        let some = "accounts.read audit.read keys.read keys.revoke";
        assert_eq!(scopes(&["portal.write", "keys.revoke"], &[PortalAction::Revoke]).as_deref(), Some(some));
        assert_eq!(scopes(&["keys.read", "keys.write"], &may), None, "without portal.write");
    }

    #[test]
    fn a_session_ends_where_its_caller_ends() {
        let narrow = |projects: Option<&[&str]>, account: &str| {
            let account = AccountId::new(account).unwrap();
            PortalAction::narrow(&access(&["portal.write"], projects), &account, &BTreeSet::new()).is_some()
        };
        assert!(narrow(None, "acme") && narrow(Some(&["acme"]), "acme"));
        assert!(!narrow(Some(&["other"]), "acme") && !narrow(Some(&[]), "acme"));
        assert!(!narrow(None, "system") && !narrow(Some(&["system"]), "system"), "callers have no portal");
    }

    #[test]
    fn each_action_allows_only_its_own_events() {
        let allowed = |may: &[PortalAction]| {
            let may = may.iter().copied().collect();
            Action::ALL.iter().copied().filter(|action| PortalAction::allows(&may, *action)).collect::<Vec<_>>()
        };
        assert_eq!(allowed(&[]), [Action::StartPortalSession]);
        assert_eq!(allowed(&[PortalAction::Create]), [Action::CreateKey, Action::StartPortalSession]);
        let most = allowed(&PortalAction::ALL);
        assert_eq!(most.len(), 10, "{most:?}");
        assert!(!most.contains(&Action::RevokeKeys) && !most.contains(&Action::CreatePortalSession));
        for action in PortalAction::ALL {
            assert_eq!(PortalAction::from_number(action as i32), Some(action));
        }
        assert_eq!(PortalAction::from_number(0), None);
    }
}
