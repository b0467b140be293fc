//! Output formats.

use std::io::pipe;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::server::tools;
use crate::support::{Ended, Keyctl, Terminal, run};

/// The output of `grpcurl` for the same call.
fn grpcurl(keyctl: &Keyctl, method: &str, request: &str) -> Value {
    let token = std::fs::read_to_string(&keyctl.server.root_token_file).unwrap();
    let ended = run(Command::new(tools().join("grpcurl"))
        .args(["-plaintext", "-H", &format!("authorization: Bearer {}", token.trim()), "-d", request])
        .arg(&keyctl.server.address)
        .arg(format!("keyauthority.v1.KeyAuthority/{method}")));
    ended.with(0).json()
}

/// Normalizes numbers in JSON, because 1 and 1.0 are the same number.
fn numbers_alike(json: Value) -> Value {
    match json {
        Value::Number(number) => number.as_f64().map_or(Value::Null, Value::from),
        Value::Array(items) => items.into_iter().map(numbers_alike).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, numbers_alike(value))).collect(),
        other => other,
    }
}

#[test]
fn json_matches_grpcurl() {
    let keyctl = Keyctl::start();
    keyctl.key("ci");
    keyctl.done(&["keys", "create", "acme", "--label", "team=core", "--network", "192.0.2.0/24", "--lifetime", "36h"]);
    keyctl.done(&["keys", "renew", "ci", "--overlap", "1h"]);
    for (words, method, request) in [
        (&["keys", "show", "ci"][..], "GetKey", r#"{"key_id": "ci"}"#),
        (&["keys", "list", "acme"], "ListKeys", r#"{"account": "acme"}"#),
        (&["accounts", "list"], "ListAccounts", "{}"),
        (&["accounts", "show", "acme"], "GetAccount", r#"{"account": "acme"}"#),
        (&["audit", "--account", "acme"], "ListAuditEvents", r#"{"account": "acme"}"#),
    ] {
        let ours = keyctl.run(&[words, &["--output", "json"]].concat()).with(0).json();
        assert_eq!(numbers_alike(ours), numbers_alike(grpcurl(&keyctl, method, request)), "{words:?}");
    }
}

#[test]
fn output_token_prints_only_the_token() {
    let keyctl = Keyctl::start();
    let token = keyctl.key("ci");
    assert_eq!(keyctl.verdict(&token), "VERDICT_VALID");
    let renewed = keyctl.done(&["keys", "renew", "ci", "-o", "token"]);
    assert_eq!(renewed.lines().count(), 1);
    assert_eq!(keyctl.verdict(renewed.trim()), "VERDICT_VALID");
    assert_eq!(keyctl.verdict(&token), "VERDICT_EXPIRED");
    keyctl.run(&["keys", "list", "-o", "token"]).with(2).says("shows no new token");
    keyctl.run(&["keys", "renew", "ci", "-o", "token", "--save", "key.txt"]).with(2).says("choose one");
    assert_eq!(keyctl.verdict(renewed.trim()), "VERDICT_VALID", "a wrong command changes nothing");
}

#[test]
fn colours_are_used_only_on_terminals() {
    let keyctl = Keyctl::start();
    keyctl.key("ci");
    let list = ["keys", "list", "acme"];
    let (status, shown) = Terminal::start(&mut keyctl.command(&list)).ended();
    assert!(status.success() && shown.contains("\u{1b}["), "{shown:?}");
    let (_, shown) = Terminal::start(keyctl.command(&list).env("NO_COLOR", "1")).ended();
    assert!(shown.contains("active") && !shown.contains('\u{1b}'), "{shown:?}");
    assert!(!keyctl.done(&list).contains('\u{1b}'));
}

/// Runs a command whose output pipe is closed.
fn unread(command: &mut Command) -> Ended {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    Ended::of(child.wait_with_output().unwrap())
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let keyctl = Keyctl::start();
    keyctl.key("ci");
    for words in [&["keys", "list"][..], &["audit", "-o", "json"], &["completions", "bash"], &["status"]] {
        assert_eq!(unread(&mut keyctl.command(words)).with(0).stderr, "", "{words:?}");
    }
}

#[test]
fn a_token_that_cannot_be_printed_is_reported_as_lost() {
    let keyctl = Keyctl::start();
    keyctl.key("ci");
    let ended = unread(&mut keyctl.command(&["keys", "renew", "ci", "-o", "token"]));
    ended.with(6).says("key ci has a new token, but it is lost").says("next: keyctl keys renew ci");
}

/// Runs keyctl with a redirection of the shell, such as `>&-`.
fn redirected(keyctl: &Keyctl, words: &[&str], redirection: &str) -> Ended {
    by_shell(keyctl, words, &format!("exec \"$0\" \"$@\" {redirection}"))
}

/// Runs a script of the shell whose arguments are keyctl and its arguments.
fn by_shell(keyctl: &Keyctl, words: &[&str], script: &str) -> Ended {
    let program = keyctl.command(words);
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(program.get_program()).args(program.get_args()).current_dir(keyctl.server.folder());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    run(&mut shell)
}

#[test]
fn no_token_is_created_if_standard_output_is_closed() {
    let keyctl = Keyctl::start();
    let token = keyctl.key("ci");
    let connect = ["connect", "empty", "--create", "--url", "https://mcp.example.com/mcp"];
    keyctl.done(&["accounts", "create", "empty"]);
    for words in [
        &["keys", "renew", "ci", "-o", "token"][..],
        &["keys", "renew", "ci", "-o", "json"],
        &["keys", "create", "acme"],
        &["connect", "empty", "--create", "-o", "token"],
        &connect,
    ] {
        let ended = redirected(&keyctl, words, ">&-").with(8);
        ended.says("standard output is closed").says("nothing was changed").says("next: --save FILE");
    }
    assert_eq!(keyctl.verdict(&token), "VERDICT_VALID", "the key must not be renewed");
    assert_eq!(keyctl.done(&["keys", "list", "empty"]).lines().count(), 1, "only a header");
    redirected(&keyctl, &["keys", "renew", "ci", "--save", "key.txt"], ">&-").with(0);
    redirected(&keyctl, &["keys", "create", "acme"], ">/dev/null").with(0);
}

#[test]
fn output_that_cannot_be_written_is_reported() {
    let keyctl = Keyctl::start();
    keyctl.done(&["accounts", "create", "stored", "--recoverable", "true"]);
    keyctl.done(&["accounts", "create", "empty"]);
    keyctl.done(&["keys", "create", "stored", "--key-id", "kept"]);
    keyctl.key("ci");
    for (words, key) in [
        (&["keys", "renew", "ci", "-o", "token"][..], "ci"),
        (&["keys", "renew", "ci", "-o", "json"], "ci"),
        (&["keys", "create", "acme", "--key-id", "new"], "new"),
        (&["connect", "empty", "--create", "--url", "https://mcp.example.com/mcp"], "key_"),
    ] {
        let ended = redirected(&keyctl, words, ">/dev/full").with(6).says("No space left on device");
        ended.says(&format!("key {key}")).says("has a new token, but it is lost").says("next: keyctl keys renew");
    }
    for words in [
        &["keys", "list"][..],
        &["keys", "reveal", "kept", "-o", "token"],
        &["status"],
        &["completions", "bash"],
        &["--help"],
        &["--version"],
    ] {
        redirected(&keyctl, words, ">/dev/full").with(8).says("cannot write the output: No space left on device");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_reported() {
    let keyctl = Keyctl::start();
    let token = keyctl.key("ci");
    for file in ["/dev/full", "/dev/stdout", "data", "missing/key.txt"] {
        keyctl.run(&["keys", "renew", "ci", "--save", file]).with(8).says(file);
    }
    assert_eq!(keyctl.verdict(&token), "VERDICT_VALID", "the key must not be renewed");
    // Files can be created, but not grow.
    let full = "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"";
    let ended = by_shell(&keyctl, &["keys", "renew", "ci", "--save", "key.txt"], full);
    ended.with(6).says("key ci has a new token, but it is lost: cannot write its file").says("keyctl keys renew ci");
    assert!(!keyctl.file("key.txt").exists());
}
