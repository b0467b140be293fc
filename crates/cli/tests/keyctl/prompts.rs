//! Confirmation of permanent changes.

use crate::support::{Keyctl, Terminal};

#[test]
fn revocation_requires_confirmation_and_shows_the_last_use() {
    let keyctl = Keyctl::start();
    let token = keyctl.key("ci");
    let mut terminal = Terminal::start(&mut keyctl.command(&["keys", "revoke", "ci"]));
    terminal.await_shown("of account acme, last used never? This is permanent. [y/N] ");
    terminal.types("n\n");
    let (status, shown) = terminal.ended();
    assert_eq!(status.code(), Some(7), "{shown}");
    assert!(shown.contains("keyctl: not confirmed; nothing was changed"), "{shown}");
    assert_eq!(keyctl.verdict(&token), "VERDICT_VALID");

    let mut terminal = Terminal::start(&mut keyctl.command(&["keys", "revoke", "ci"]));
    terminal.await_shown("[y/N] ");
    terminal.types("y\n");
    let (status, shown) = terminal.ended();
    assert!(status.success() && shown.contains("confirmed by 1 replica"), "{shown}");
    assert_eq!(keyctl.verdict(&token), "VERDICT_REVOKED");
}

#[test]
fn without_a_terminal_a_permanent_change_requires_yes() {
    let keyctl = Keyctl::start();
    let token = keyctl.key("ci");
    for words in [["keys", "revoke", "ci"], ["keys", "delete", "ci"], ["accounts", "delete", "acme"]] {
        keyctl.run(&words).with(7).says("standard input is not a terminal").says("--yes");
    }
    keyctl.run(&["keys", "delete", "ci"]).with(7).says("of account acme, last used never");
    assert_eq!(keyctl.verdict(&token), "VERDICT_VALID");
    keyctl.done(&["keys", "delete", "ci", "--yes"]);
    keyctl.done(&["accounts", "delete", "acme", "--yes"]);
    assert_eq!(keyctl.verdict(&token), "VERDICT_UNKNOWN");
}

#[test]
fn a_caller_with_only_revoke_permission_is_asked_for_confirmation() {
    let keyctl = Keyctl::start();
    keyctl.key("ci");
    keyctl.done(&["keys", "create", "system", "--scope", "keys.revoke", "--save", "revoker.txt"]);
    let revoke = ["--token-file", "revoker.txt", "keys", "revoke", "ci"];
    keyctl.run(&revoke).with(7).says("key ci (this caller has no permission to see when it was used)");
    keyctl.done(&[&revoke[..], &["--yes"]].concat());
}

#[test]
fn a_token_can_be_typed() {
    let keyctl = Keyctl::start();
    let token = keyctl.key("ci");
    let mut terminal = Terminal::start(&mut keyctl.command(&["verify", "-"]));
    terminal.await_shown("Token: ");
    terminal.types(&format!("{token}\n"));
    let (status, shown) = terminal.ended();
    assert!(status.success() && shown.contains("valid"), "{shown}");
}
