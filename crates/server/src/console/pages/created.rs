//! The page that shows a new token, once.

use askama::Template;
use key_authority_domain::id::SYSTEM_ACCOUNT;
use key_authority_proto::v1::{Key, Propagation};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::instructions::{ClientChoice, client_choices};
use super::key_view::KeyView;
use crate::console::answer::{Answer, enforced, page};
use crate::console::frame::Frame;
use crate::console::show;
use crate::console::visit::Visit;

/// The longest name of a file, without its ending.
const FILE_NAME_MAX: usize = 60;

/// A new token.
pub(super) struct Issued {
    pub(super) title: &'static str,
    pub(super) key: Key,
    /// Empty for a repeated request.
    pub(super) token: String,
    pub(super) propagation: Option<Propagation>,
    /// What happens to the token before it; empty for a new key.
    pub(super) old_token: String,
    /// Whether the token can be shown again later.
    pub(super) is_recoverable: bool,
}

#[derive(Template)]
#[template(path = "console/created.html")]
struct CreatedPage {
    frame: Frame,
    title: &'static str,
    key: KeyView,
    /// Empty for a repeated request.
    card: Option<TokenCard>,
    enforced: String,
    old_token: String,
    account_href: String,
    instructions_href: String,
    clients: Vec<ClientChoice>,
    /// Whether keys of the account are for products, and not for callers of this authority.
    may_connect: bool,
}

/// A new token, to copy or to download.
pub(super) struct TokenCard {
    pub(super) key: KeyView,
    pub(super) token: String,
    pub(super) is_recoverable: bool,
    pub(super) file_name: String,
    pub(super) file_href: String,
    pub(super) has_no_projects: bool,
}

impl TokenCard {
    pub(super) fn new(key: KeyView, token: String, is_recoverable: bool) -> Self {
        let encoded = utf8_percent_encode(&token, NON_ALPHANUMERIC);
        Self {
            is_recoverable,
            file_name: file_name(&key.name),
            file_href: format!("data:text/plain;charset=utf-8,{encoded}%0A"),
            has_no_projects: key.projects == "0",
            key,
            token,
        }
    }
}

/// Returns the page.
pub(super) fn show(visit: &Visit, issued: Issued) -> Answer {
    let Issued { title, key, token, propagation, old_token, is_recoverable } = issued;
    let view = KeyView::new(&key, visit.now);
    page(&CreatedPage {
        frame: Frame::new(visit, title),
        title,
        enforced: propagation.as_ref().map(|propagation| enforced(visit, propagation)).unwrap_or_default(),
        old_token,
        card: (!token.is_empty()).then(|| TokenCard::new(view.clone(), token, is_recoverable)),
        account_href: visit.list_href(&key.account),
        instructions_href: show::path(&["accounts", &key.account, "instructions"]),
        clients: client_choices(""),
        may_connect: key.account != SYSTEM_ACCOUNT,
        key: view,
    })
}

/// Returns a name for the file of a token that every system accepts.
fn file_name(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    let name: String = name.chars().map(allowed).take(FILE_NAME_MAX).collect();
    let name = name.trim_matches('-');
    format!("{}.txt", if name.is_empty() { "key" } else { name })
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn a_file_is_named_after_its_key() {
        assert_eq!(file_name("laptop/claude-desktop"), "laptop-claude-desktop.txt");
        assert_eq!(file_name("../../etc"), "etc.txt");
        assert_eq!(file_name("\u{202e}😀"), "key.txt");
    }
}
