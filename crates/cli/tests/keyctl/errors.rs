//! Errors with their next steps and exit codes.

use crate::support::{Keyctl, run};

#[test]
fn every_error_has_an_exit_code_and_a_next_step() {
    let keyctl = Keyctl::start();
    keyctl.key("ci");
    keyctl.done(&["keys", "create", "system", "--scope", "keys.read", "--save", "reader.txt"]);
    let reader = |words: &[&str]| keyctl.run(&[&["--token-file", "reader.txt"], words].concat());

    let bad = keyctl.run(&["keys", "create", "acme", "--network", "192.0.2.1/24", "--key-id", "-"]).with(2);
    bad.says("allowed_networks[0] must").says("key_id must").says("next: the command's --help");
    run(keyctl.command(&["status"]).env_remove("KEYCTL_TOKEN_FILE")).with(3).says("next: set a file");
    reader(&["keys", "disable", "ci"])
        .with(3)
        .says("next: call with a key of account system that has the scope keys.write");
    keyctl.run(&["keys", "show", "nothing"]).with(4).says("next: keyctl keys list");
    keyctl.run(&["accounts", "show", "nothing"]).with(4).says("next: keyctl accounts list");
    keyctl.run(&["accounts", "create", "acme"]).with(5).says("next: choose another ID");
    keyctl.run(&["keys", "create", "acme", "--key-id", "ci"]).with(5).says("next: choose another --key-id");
    keyctl.run(&["keys", "edit", "ci", "--display-name", "CI", "--etag", "old"]).with(5).says("next: read it again");
    keyctl.run(&["keys", "reveal", "ci"]).with(5).says("next: keyctl keys renew KEY");
    keyctl.run(&["accounts", "delete", "acme", "--yes"]).with(5).says("next: keyctl keys list ACCOUNT");

    keyctl.done(&["accounts", "edit", "acme", "--max-keys", "1"]);
    keyctl.run(&["keys", "create", "acme"]).with(5).says("the account has 1 keys").says("--max-keys raises the limit");
    keyctl.done(&["keys", "revoke", "ci", "--yes"]);
    keyctl.run(&["keys", "renew", "ci"]).with(5).says("next: keyctl keys create creates another key");
}

#[test]
fn a_recently_used_key_is_deleted_only_with_the_flag() {
    let keyctl = Keyctl::start();
    let token = keyctl.key("ci");
    keyctl.done(&["accounts", "edit", "acme", "--recently-used-window", "24h"]);
    assert_eq!(keyctl.verdict(&token), "VERDICT_VALID");
    // The protection includes usage that is not written yet.
    keyctl.run(&["keys", "delete", "ci", "--yes"]).with(5).says("last used at").says("--allow-recently-used");
    keyctl.done(&["keys", "delete", "ci", "--yes", "--allow-recently-used"]);
}

#[test]
fn invalid_arguments_are_rejected_before_any_call() {
    let keyctl = Keyctl::start();
    for words in [
        &["keys", "create"][..],
        &["keys", "create", "acme", "--lifetime", "1y"],
        &["keys", "create", "acme", "--lifetime", "30d", "--never-expires"],
        &["keys", "edit", "ci"],
        &["accounts", "edit", "acme"],
        &["--timeout", "0s", "status"],
        &["audit", "--action", "destroy"],
        &["--endpoint", "127.0.0.1:50051", "status"],
        &["--ca-file", "ca.pem", "status"],
        &["nonsense"],
    ] {
        keyctl.run(words).with(2);
    }
}

#[test]
fn an_unreachable_authority_is_reported_immediately() {
    let keyctl = Keyctl::start();
    // The port was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = format!("http://{address}");
    let ended = keyctl.run(&["--endpoint", &endpoint, "keys", "list"]).with(6);
    ended.says(&format!("cannot connect to {endpoint}")).says("refused").says("next: is the authority running");
}

#[test]
fn errors_contain_no_characters_that_act_on_a_terminal() {
    let keyctl = Keyctl::start();
    keyctl.done(&["accounts", "create", "acme"]);
    std::fs::write(keyctl.file("a\u{1b}[31m.json"), "{}").unwrap();
    let hidden = "a\u{1b}[31m\u{202e}\u{9b}";
    for words in [
        &["keys", "show", hidden][..],
        &["keys", "renew", "ci", "--save", &format!("missing/{hidden}")],
        &["verify", hidden],
        &["--profile", hidden, "status"],
        &["--endpoint", hidden, "status"],
        &["--endpoint", &format!("http://{hidden}"), "status"],
        &["accounts", "create", "--from-file", "a\u{1b}[31m.json"],
        &["connect", hidden],
    ] {
        let ended = keyctl.run(words);
        let is_shown = |text: &str| text.contains(['\u{1b}', '\u{202e}', '\u{9b}']);
        assert!(ended.code != Some(0) && !is_shown(&ended.stderr), "{words:?}: {:?}", ended.stderr);
    }
}

#[test]
fn json_contains_no_characters_that_act_on_a_terminal() {
    let keyctl = Keyctl::start();
    let name = "pay\u{202e}gnp.\u{2066}";
    keyctl.done(&["accounts", "create", "acme", "--display-name", name]);
    let ended = keyctl.run(&["accounts", "show", "acme", "-o", "json"]).with(0);
    assert!(!ended.stdout.contains('\u{202e}') && ended.stdout.contains("\\u202e"), "{}", ended.stdout);
    assert_eq!(ended.json()["displayName"], name);
}

#[test]
fn errors_of_arguments_contain_no_characters_that_act_on_a_terminal() {
    let keyctl = Keyctl::start();
    let hidden = "a\u{1b}[31m\u{202e}\u{9b}";
    for words in [&["audit", "--action", hidden][..], &[hidden], &["status", "--wait-for", hidden]] {
        let ended = keyctl.run(words).with(2).says("\\u{202e}");
        assert!(!ended.stderr.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{:?}", ended.stderr);
    }
}
