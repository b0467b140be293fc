//! The page for a change that was made, but whose answer has no token: not every replica had confirmed it in time.

use askama::Template;
use key_authority_proto::v1::Key;

use crate::console::answer::{Answer, page_with, pending};
use crate::console::failure::Failure;
use crate::console::frame::Frame;
use crate::console::show;
use crate::console::visit::{Ability, Visit};

#[derive(Template)]
#[template(path = "console/lost.html")]
struct LostPage {
    frame: Frame,
    message: String,
    advice: &'static str,
    /// Whether the key with which the visitor is signed in has no other token.
    is_signed_out: bool,
    /// Where the key is renewed; empty if it is not known which one it is.
    renew_href: String,
    account_href: String,
}

/// Returns the page for a renewal. It reads nothing: the session may have ended with the old token.
pub(super) fn after_renewal(visit: &Visit, key: &Key, is_without_overlap: bool, failure: &Failure) -> Answer {
    let frame = framed(visit, "Key renewed", &visit.list_href(&key.account), failure);
    let is_signed_out = is_without_overlap && frame.is_signed_in_with(&key.id);
    page_with(
        failure.status(),
        &LostPage {
            message: format!("The key was renewed, but {}, and its new token is lost.", cause(visit)),
            advice: "Renew it once more to get a token that you can save.",
            is_signed_out,
            renew_href: if is_signed_out { String::new() } else { show::path(&["keys", &key.id, "renew"]) },
            account_href: visit.list_href(&key.account),
            frame,
        },
    )
}

/// Returns the page for a new key.
pub(super) fn after_creation(visit: &Visit, account: &str, failure: &Failure) -> Answer {
    let account_href = visit.list_href(account);
    page_with(
        failure.status(),
        &LostPage {
            frame: framed(visit, "Key created", &account_href, failure),
            message: format!("The key was created, but {}, and its token is lost.", cause(visit)),
            advice: if visit.may(Ability::Renew) {
                "Open the key in the list and renew it, instead of creating another one."
            } else {
                "Nobody can use the key. Create another one."
            },
            is_signed_out: false,
            renew_href: String::new(),
            account_href,
        },
    )
}

/// Returns why the answer has no token. Users of a product know nothing of replicas.
fn cause(visit: &Visit) -> &'static str {
    match visit.session.portal() {
        Some(_) => "it was not in force everywhere in time",
        None => "not every replica had confirmed it in time",
    }
}

/// Returns the frame of the page, with the line about the change.
fn framed(visit: &Visit, what: &str, back: &str, failure: &Failure) -> Frame {
    let mut frame = Frame::new(visit, format!("{what}, but not confirmed"));
    frame.notice = pending(visit, &format!("{what}."), failure);
    // The address of this page answers a form alone.
    back.clone_into(&mut frame.path);
    frame
}
