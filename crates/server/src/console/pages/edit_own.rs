//! Asks before somebody takes rights from the key that the session needs. A key cannot give itself back what it lost.

use askama::Template;
use http::StatusCode;
use key_authority_domain::access::{Access, Network, Project, ProjectAccess, Scope};
use key_authority_domain::text::ValidationError;
use key_authority_proto::v1::Key;

use super::key_view::KeyView;
use crate::console::answer::{Answer, page_with};
use crate::console::frame::Frame;
use crate::console::visit::Visit;

/// The field by which the visitor has confirmed the change.
const CONFIRMED: &str = "own";

#[derive(Template)]
#[template(path = "console/edit_own.html")]
struct EditOwnPage {
    frame: Frame,
    key: KeyView,
    /// What the key loses, in words.
    lost: String,
    /// The fields of the form, which is sent again.
    fields: Vec<(String, String)>,
}

/// Returns the page that asks, if saving takes rights from the key of this session and nobody has confirmed it.
pub(super) fn ask_before(visit: &Visit, current: &Key, wanted: &Key) -> Option<Answer> {
    let frame = Frame::new(visit, "Take rights from your own key");
    if !frame.is_signed_in_with(&current.id) || visit.fields.get(CONFIRMED) == "yes" {
        return None;
    }
    // A value that is not valid is rejected when the key is saved.
    let lost = lost(&access(current).ok()?, &access(wanted).ok()?);
    if lost.is_empty() {
        return None;
    }
    let fields = visit.fields.pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let page = EditOwnPage { frame, key: KeyView::new(current, visit.now), lost: lost.join(" and "), fields };
    Some(page_with(StatusCode::CONFLICT, &page))
}

/// Returns what a caller's key loses.
fn lost(before: &Access, after: &Access) -> Vec<&'static str> {
    let checks = [
        ("permissions", !before.scopes.is_subset(&after.scopes)),
        ("accounts", !after.projects.includes(&before.projects)),
        ("networks", !after.confines(before)),
    ];
    checks.into_iter().filter(|(_, is_lost)| *is_lost).map(|(name, _)| name).collect()
}

fn access(key: &Key) -> Result<Access, ValidationError> {
    let projects = key.projects.clone().unwrap_or_default();
    let only = projects.only.iter().map(|name| Project::new(name)).collect::<Result<_, _>>()?;
    Ok(Access {
        scopes: key.scopes.iter().map(|scope| Scope::new(scope)).collect::<Result<_, _>>()?,
        projects: if projects.all { ProjectAccess::All } else { ProjectAccess::Only(only) },
        networks: key.allowed_networks.iter().map(|network| Network::new(network)).collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_key_loses_is_named() {
        let key = |scopes: &[&str], accounts: Option<&[&str]>, networks: &[&str]| {
            let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
            let projects = key_authority_proto::v1::ProjectAccess {
                all: accounts.is_none(),
                only: accounts.map(texts).unwrap_or_default(),
            };
            let (scopes, allowed_networks) = (texts(scopes), texts(networks));
            access(&Key { scopes, projects: Some(projects), allowed_networks, ..Key::default() }).unwrap()
        };
        let before = key(&["keys.read", "operate"], None, &[]);
        assert_eq!(lost(&before, &before), [""; 0]);
        assert_eq!(
            lost(&before, &key(&["keys.read"], Some(&["acme"]), &["10.0.0.0/8"])),
            ["permissions", "accounts", "networks"]
        );
        let before = key(&["keys.read"], Some(&["acme"]), &["10.1.0.0/16"]);
        let more = key(&["keys.read", "operate"], Some(&["acme", "other"]), &["10.0.0.0/8"]);
        assert_eq!(lost(&before, &more), [""; 0]);
        assert_eq!(lost(&before, &key(&["keys.read"], Some(&["other"]), &["10.1.0.0/24"])), ["accounts", "networks"]);
    }
}
