//! What ends for good is asked about first.

use crate::support::{Keyctl, Terminal};

#[test]
fn revoking_asks_and_tells_when_the_key_was_used() {
    let keyctl = Keyctl::start();
    let token = keyctl.key("ci");
    let mut terminal = Terminal::start(&mut keyctl.command(&["keys", "revoke", "ci"]));
    terminal.await_shown("of account acme, last used never? It ends for good. [y/N] ");
    terminal.types("n\n");
    let (status, shown) = terminal.ended();
    assert_eq!(status.code(), Some(7), "{shown}");
    assert!(shown.contains("keyctl: nothing was changed"), "{shown}");
    assert_eq!(keyctl.verdict(&token), "VERDICT_VALID");

    let mut terminal = Terminal::start(&mut keyctl.command(&["keys", "revoke", "ci"]));
    terminal.await_shown("[y/N] ");
    terminal.types("y\n");
    let (status, shown) = terminal.ended();
    assert!(status.success() && shown.contains("confirmed by 1 replica"), "{shown}");
    assert_eq!(keyctl.verdict(&token), "VERDICT_REVOKED");
}

#[test]
fn without_a_terminal_it_is_refused_with_the_way_on() {
    let keyctl = Keyctl::start();
    let token = keyctl.key("ci");
    for words in [["keys", "revoke", "ci"], ["keys", "delete", "ci"], ["accounts", "delete", "acme"]] {
        keyctl.run(&words).with(7).says("no terminal to ask at").says("--yes");
    }
    keyctl.run(&["keys", "delete", "ci"]).with(7).says("of account acme, last used never");
    assert_eq!(keyctl.verdict(&token), "VERDICT_VALID");
    keyctl.done(&["keys", "delete", "ci", "--yes"]);
    keyctl.done(&["accounts", "delete", "acme", "--yes"]);
    assert_eq!(keyctl.verdict(&token), "VERDICT_UNKNOWN");
}

#[test]
fn a_caller_who_may_only_revoke_is_asked_too() {
    let keyctl = Keyctl::start();
    keyctl.key("ci");
    keyctl.done(&["keys", "create", "system", "--scope", "keys.revoke", "--save", "revoker.txt"]);
    let revoke = ["--token-file", "revoker.txt", "keys", "revoke", "ci"];
    keyctl.run(&revoke).with(7).says("key ci (this caller may not see whether it is used)");
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
