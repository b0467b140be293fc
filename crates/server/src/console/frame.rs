//! What all pages have in common.

use key_authority_domain::permission::Permission;

use super::assets::{ADDRESSES, Addresses};
use super::notice::Notice;
use super::session::Session;
use super::visit::Visit;

/// A link of the navigation.
pub(super) struct Link {
    pub(super) href: &'static str,
    pub(super) label: &'static str,
    pub(super) is_current: bool,
}

/// The longest address that a form returns to, in bytes. A list contains it in each of its rows.
const BACK_BYTES_MAX: usize = 2048;

/// Returns the address that a form returns to: a long one without its query.
fn back(address: &str) -> &str {
    if address.len() <= BACK_BYTES_MAX { address } else { address.split('?').next().unwrap_or_default() }
}

/// What all pages have in common.
pub(super) struct Frame {
    pub(super) title: String,
    pub(super) links: Vec<Link>,
    /// Who is signed in; empty for nobody.
    pub(super) who: String,
    /// The user of a product for whom the page is; empty for an operator.
    pub(super) subject: String,
    /// What the account of that user is called.
    pub(super) account_name: String,
    pub(super) form_token: String,
    pub(super) notice: Option<Notice>,
    /// The page, for forms that return to it.
    pub(super) path: String,
    pub(super) assets: &'static Addresses,
}

impl Frame {
    /// The frame of a page for somebody who is signed in.
    pub(super) fn new(visit: &Visit, title: impl Into<String>) -> Self {
        let portal = visit.session.portal();
        let wanted = [
            ("/console/accounts", "Accounts", visit.has(Permission::AccountsRead)),
            ("/console/keys", "Keys", visit.has(Permission::KeysRead)),
            ("/console/audit", "Audit", visit.has(Permission::AuditRead)),
            ("/console/replicas", "Replicas", visit.has(Permission::Operate)),
        ];
        let links = wanted.into_iter().filter(|(_, _, may)| *may && portal.is_none()).map(|(href, label, _)| {
            let path = visit.path.split('?').next().unwrap_or_default();
            Link { href, label, is_current: path == href }
        });
        Self {
            title: title.into(),
            links: links.collect(),
            who: visit.who(),
            subject: portal.map(|portal| portal.grant.subject.as_str().to_owned()).unwrap_or_default(),
            account_name: portal.map(|portal| portal.account_name.clone()).unwrap_or_default(),
            form_token: visit.session.form_token(),
            notice: visit.notice.clone(),
            path: back(&visit.path).to_owned(),
            assets: &ADDRESSES,
        }
    }

    /// Whether the visitor is signed in with this key.
    pub(super) fn is_signed_in_with(&self, key: &str) -> bool {
        self.subject.is_empty() && !self.who.is_empty() && self.who == key
    }

    /// The frame of a page for somebody who is not signed in.
    pub(super) fn of_nobody(session: Option<&Session>, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            links: Vec::new(),
            who: String::new(),
            subject: String::new(),
            account_name: String::new(),
            form_token: session.map(Session::form_token).unwrap_or_default(),
            notice: None,
            path: String::new(),
            assets: &ADDRESSES,
        }
    }
}
