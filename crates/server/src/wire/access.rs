//! The access and the labels of a key.
//!
//! Scopes, projects and networks are sets: repeated items are merged, and limits apply to the set.

use std::collections::BTreeSet;
use std::net::IpAddr;

use key_authority_domain::access::{
    Access, NETWORKS_MAX, Network, PROJECTS_MAX, Project, ProjectAccess, SCOPES_MAX, Scope,
};
use key_authority_domain::id::AccountId;
use key_authority_domain::key::{Labels, check_labels};
use key_authority_domain::permission::Permission;
use key_authority_domain::text::ValidationError;
use key_authority_proto::v1;

use super::check::Check;

/// The kind of key that the access belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A key of any account, or of an account that the request does not name.
    Any,
    /// A key of a caller of the authority: its scopes are permissions, and its projects are accounts.
    Caller,
}

impl Holder {
    pub(crate) fn of(account: Option<&AccountId>) -> Self {
        if account.is_some_and(AccountId::is_system) { Self::Caller } else { Self::Any }
    }

    fn scope(self, text: &str) -> Result<Scope, ValidationError> {
        let scope = Scope::new(text)?;
        if self == Self::Caller {
            Permission::check(&scope)?;
        }
        Ok(scope)
    }

    pub(crate) fn project(self, text: &str) -> Result<Project, ValidationError> {
        if self == Self::Caller {
            AccountId::new(text)?;
        }
        Project::new(text)
    }
}

/// Reads the scopes in field `scopes`.
pub(crate) fn scopes(check: &mut Check, scopes: &[String], holder: Holder) -> BTreeSet<Scope> {
    scopes_in(check, "scopes", scopes, holder)
}

/// Reads the scopes in another field.
pub(crate) fn scopes_in(check: &mut Check, field: &str, scopes: &[String], holder: Holder) -> BTreeSet<Scope> {
    set(check, field, scopes, SCOPES_MAX, |text| holder.scope(text))
}

/// Reads the projects in field `projects`; `None` if the field is not set.
pub(crate) fn projects(
    check: &mut Check,
    projects: Option<&v1::ProjectAccess>,
    holder: Holder,
) -> Option<ProjectAccess> {
    let v1::ProjectAccess { all, only } = projects?;
    if *all && !only.is_empty() {
        check.violation("projects", "must have either all or only, not both");
    }
    let only = set(check, "projects.only", only, PROJECTS_MAX, |text| holder.project(text));
    Some(if *all { ProjectAccess::All } else { ProjectAccess::Only(only) })
}

/// Reads the networks in field `allowed_networks`.
pub(crate) fn networks(check: &mut Check, networks: &[String]) -> BTreeSet<Network> {
    set(check, "allowed_networks", networks, NETWORKS_MAX, Network::new)
}

/// Returns the address of a client in field `client_ip`; `None` if it is empty.
pub(crate) fn client_ip(check: &mut Check, text: &str) -> Option<IpAddr> {
    if text.is_empty() {
        return None;
    }
    let address = text.parse().ok();
    if address.is_none() {
        check.violation("client_ip", "must be an IPv4 or IPv6 address, without port, prefix length or zone");
    }
    address
}

/// Reads the labels in field `labels`.
pub(crate) fn labels(check: &mut Check, labels: &Labels) -> Labels {
    // The labels are validated before they are copied: there may be too many.
    check.field("labels", check_labels(labels)).map(|()| labels.clone()).unwrap_or_default()
}

fn set<T: Ord>(
    check: &mut Check,
    field: &str,
    items: &[String],
    max: usize,
    read: impl Fn(&str) -> Result<T, ValidationError>,
) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        set.extend(check.field(format_args!("{field}[{index}]"), read(item)));
        if set.len() > max {
            check.violation(field, format!("must be at most {max} different ones"));
            break;
        }
    }
    set
}

/// Returns the scopes, in the order of the set.
#[must_use]
pub(crate) fn scopes_to_proto(access: &Access) -> Vec<String> {
    access.scopes.iter().map(|scope| scope.as_str().to_owned()).collect()
}

/// Converts the projects, in the order of the set.
#[must_use]
pub(crate) fn projects_to_proto(projects: &ProjectAccess) -> v1::ProjectAccess {
    match projects {
        ProjectAccess::All => v1::ProjectAccess { all: true, only: Vec::new() },
        ProjectAccess::Only(only) => {
            v1::ProjectAccess { all: false, only: only.iter().map(|project| project.as_str().to_owned()).collect() }
        }
    }
}

/// Returns the networks in CIDR form, in the order of the set.
#[must_use]
pub(crate) fn networks_to_proto(access: &Access) -> Vec<String> {
    access.networks.iter().map(Network::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::violations::Violations;

    fn check<T>(read: impl FnOnce(&mut Check) -> T) -> Result<T, Violations> {
        let mut check = Check::new();
        let value = read(&mut check);
        check.finish(|| Some(value))
    }

    fn invalid_fields<T: std::fmt::Debug>(read: impl FnOnce(&mut Check) -> T) -> Vec<String> {
        check(read).unwrap_err().into_iter().map(|violation| violation.field).collect()
    }

    fn numbered(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("s{n}")).collect()
    }

    #[test]
    fn a_set_has_an_exact_limit_and_repeats_do_not_count() {
        let mut items = numbered(SCOPES_MAX);
        items.push("s0".into());
        assert_eq!(check(|check| scopes(check, &items, Holder::Any)).unwrap().len(), SCOPES_MAX);
        items.push("one more".replace(' ', "_"));
        assert_eq!(invalid_fields(|check| scopes(check, &items, Holder::Any)), ["scopes"]);

        let only = |count| v1::ProjectAccess { all: false, only: numbered(count) };
        assert!(check(|check| projects(check, Some(&only(PROJECTS_MAX)), Holder::Any)).is_ok());
        assert_eq!(
            invalid_fields(|check| projects(check, Some(&only(PROJECTS_MAX + 1)), Holder::Any)),
            ["projects.only"]
        );

        let nets: Vec<_> = (0..=NETWORKS_MAX).map(|n| format!("10.0.{n}.0/24")).collect();
        assert!(check(|check| networks(check, &nets[1..])).is_ok());
        assert_eq!(invalid_fields(|check| networks(check, &nets)), ["allowed_networks"]);
    }

    #[test]
    fn each_item_has_limits_and_is_named_by_its_index() {
        let of = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let (long, longer) = ("é".repeat(128), "é".repeat(129));
        let items = of(&[&long, &longer, "", "a b", "a\n", "ok"]);
        assert_eq!(
            invalid_fields(|check| scopes(check, &items, Holder::Any)),
            ["scopes[1]", "scopes[2]", "scopes[3]", "scopes[4]"]
        );

        let only = of(&[&"é".repeat(256), "with space", &"é".repeat(257), "", "a\0"]);
        let wanted = v1::ProjectAccess { all: false, only };
        let fields = ["projects.only[2]", "projects.only[3]", "projects.only[4]"];
        assert_eq!(invalid_fields(|check| projects(check, Some(&wanted), Holder::Any)), fields);

        let nets = of(&["192.0.2.7", "10.0.0.1/8", "::/0", "x"]);
        assert_eq!(invalid_fields(|check| networks(check, &nets)), ["allowed_networks[1]", "allowed_networks[3]"]);
    }

    #[test]
    fn all_and_only_exclude_each_other_and_neither_covers_nothing() {
        let both = v1::ProjectAccess { all: true, only: numbered(1) };
        assert_eq!(invalid_fields(|check| projects(check, Some(&both), Holder::Any)), ["projects"]);
        assert_eq!(check(|check| projects(check, None, Holder::Any)), Ok(None));
        let none = check(|check| projects(check, Some(&v1::ProjectAccess::default()), Holder::Any));
        assert_eq!(none, Ok(Some(ProjectAccess::Only(BTreeSet::new()))));
    }

    #[test]
    fn a_callers_scopes_are_permissions_and_its_projects_accounts() {
        let items = vec!["verify".to_owned(), "orders.read".to_owned()];
        assert_eq!(invalid_fields(|check| scopes(check, &items, Holder::Caller)), ["scopes[1]"]);
        let wanted = v1::ProjectAccess { all: false, only: vec!["acme".into(), "no account".into()] };
        assert_eq!(invalid_fields(|check| projects(check, Some(&wanted), Holder::Caller)), ["projects.only[1]"]);
        assert_eq!(Holder::of(Some(&AccountId::system())), Holder::Caller);
        assert_eq!(Holder::of(AccountId::new("acme").ok().as_ref()), Holder::Any);
    }

    #[test]
    fn labels_have_limits() {
        let of = |count: usize| (0..count).map(|n| (format!("l{n}"), "é".repeat(256))).collect::<Labels>();
        assert_eq!(check(|check| labels(check, &of(64))), Ok(of(64)));
        let long_name = Labels::from([("a".repeat(64), String::new())]);
        let long_value = Labels::from([("a".into(), "é".repeat(257))]);
        for wrong in [of(65), long_name, long_value] {
            assert_eq!(invalid_fields(|check| labels(check, &wrong)), ["labels"]);
        }
    }

    #[test]
    fn sets_are_written_in_order() {
        let texts = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
        let access = check(|check| Access {
            scopes: scopes(check, &texts(&["b", "a", "b"]), Holder::Any),
            projects: ProjectAccess::All,
            networks: networks(check, &texts(&["2001:db8::/32", "192.0.2.7", "192.0.2.7/32"])),
        })
        .unwrap();
        assert_eq!(scopes_to_proto(&access), ["a", "b"]);
        assert_eq!(networks_to_proto(&access), ["192.0.2.7/32", "2001:db8::/32"]);
        assert_eq!(projects_to_proto(&access.projects), v1::ProjectAccess { all: true, only: Vec::new() });
    }
}
