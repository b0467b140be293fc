//! The scopes that a form offers as checkboxes: the permissions of callers, and what a portal session allows.

use key_authority_domain::id::SYSTEM_ACCOUNT;
use key_authority_domain::permission::Permission;

use crate::console::fields::Fields;
use crate::console::visit::Visit;

/// What the form says about a scope that the visitor cannot add to a key.
const CANNOT_BE_ADDED: &str = "once removed, it cannot be added again here";

/// A scope that is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScopeChoice {
    pub(super) name: String,
    /// What it means, if the authority knows; else empty.
    pub(super) meaning: &'static str,
    pub(super) is_chosen: bool,
}

impl ScopeChoice {
    fn new(name: &str, meaning: &'static str) -> Self {
        Self { name: name.to_owned(), meaning, is_chosen: false }
    }
}

/// Returns the scopes that the visitor may add to keys of the account, none of them chosen; `None`: any.
pub(super) fn offered_scopes(visit: &Visit, account: &str) -> Option<Vec<ScopeChoice>> {
    if account == SYSTEM_ACCOUNT {
        return Some(
            Permission::ALL.map(|permission| ScopeChoice::new(permission.as_str(), meaning(permission))).into(),
        );
    }
    let allowed = visit.session.portal()?.grant.allowed_scopes.as_ref()?;
    Some(allowed.iter().map(|scope| ScopeChoice::new(scope.as_str(), "")).collect())
}

/// Returns the choices for a key that has the scopes `held`: the offered ones, and those that it may keep.
pub(super) fn scope_choices(mut offered: Vec<ScopeChoice>, held: &[String], chosen: &[String]) -> Vec<ScopeChoice> {
    for name in held {
        if !offered.iter().any(|choice| choice.name == *name) {
            offered.push(ScopeChoice::new(name, CANNOT_BE_ADDED));
        }
    }
    for choice in &mut offered {
        choice.is_chosen = chosen.contains(&choice.name);
    }
    offered
}

/// Returns the chosen ones, one in each line.
pub(super) fn chosen_lines(choices: &[ScopeChoice]) -> String {
    let chosen = choices.iter().filter(|choice| choice.is_chosen).map(|choice| choice.name.as_str());
    chosen.collect::<Vec<_>>().join("\n")
}

/// Returns the scopes of a form: from lines, and from checkboxes.
pub(super) fn typed_scopes(typed: &Fields) -> Vec<String> {
    let mut scopes = typed.lines("scopes");
    scopes.extend(typed.all("scope").map(str::to_owned));
    scopes
}

const fn meaning(permission: Permission) -> &'static str {
    match permission {
        Permission::Verify => "verify tokens",
        Permission::KeysRead => "read keys",
        Permission::KeysWrite => "create, change, disable, renew, revoke and delete keys",
        Permission::KeysRevoke => "revoke keys, and nothing else with them",
        Permission::TokensReveal => "show stored tokens",
        Permission::AccountsRead => "read accounts",
        Permission::AccountsWrite => "create, change, suspend and delete accounts",
        Permission::AuditRead => "read the audit log",
        Permission::PortalWrite => "open the pages of an account for users of a product",
        Permission::Operate => "read the state of the authority and its replicas",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_keep_what_cannot_be_added() {
        let offered = vec![ScopeChoice::new("read", ""), ScopeChoice::new("write", "")];
        let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let choices = scope_choices(offered.clone(), &texts(&["admin", "read"]), &texts(&["admin"]));
        let names: Vec<_> = choices.iter().map(|choice| (choice.name.as_str(), choice.is_chosen)).collect();
        assert_eq!(names, [("read", false), ("write", false), ("admin", true)]);
        assert_eq!(choices.iter().filter(|choice| choice.meaning == CANNOT_BE_ADDED).count(), 1);
        assert_eq!(chosen_lines(&choices), "admin");
        assert_eq!(scope_choices(offered.clone(), &[], &texts(&["other"])), offered, "what is not offered is left out");
    }
}
