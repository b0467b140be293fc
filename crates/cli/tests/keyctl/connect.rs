//! Connection of AI agents with `keyctl connect --url`.

use crate::support::{Keyctl, Link, Terminal};

const CONNECT: [&str; 4] = ["connect", "acme", "--url", "https://mcp.example.com/mcp?team=a&b=c"];

/// The arguments of a call, with further ones.
fn connect<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&CONNECT, more].concat()
}

/// A server with an account `acme` that has no key. `recoverable` sets whether tokens are stored.
fn account(recoverable: &str) -> Keyctl {
    let keyctl = Keyctl::start();
    keyctl.done(&["accounts", "create", "acme", "--token-prefix", "acme_", "--recoverable", recoverable]);
    keyctl
}

#[test]
fn console_8_instructions_contain_the_stored_token() {
    let keyctl = account("true");
    let token = keyctl.key("ci");
    let ended = keyctl.run(&connect(&["--client", "claude-code", "--server-name", "prod"])).with(0);
    let command = "claude mcp add --transport http prod 'https://mcp.example.com/mcp?team=a&b=c' --header";
    let row = format!("claude-code  sh     {command} 'Authorization: Bearer {token}'");
    assert!(ended.stdout.lines().any(|line| line == row), "{row:?} is not in:\n{}", ended.stdout);
    assert!(!ended.stdout.contains("PowerShell"), "PowerShell would not pass & unchanged:\n{}", ended.stdout);
    ended.says("claude-code: PowerShell passes the URL to cmd").says("the lines contain the token of key ci");

    let ended = keyctl.run(&CONNECT).with(0).says("chatgpt: the URL contains the token");
    for (client, place, lines) in [
        ("claude-code", "sh", 1),
        ("codex", "sh", 2),
        ("codex", "cmd", 2),
        ("vs-code", "sh", 1),
        ("cursor", "link", 1),
        ("claude-desktop", "connector", 1),
        ("chatgpt", "connector", 1),
    ] {
        let words = |line: &&str| line.split_whitespace().take(2).eq([client, place]);
        assert_eq!(ended.stdout.lines().filter(words).count(), lines, "{client} {place}:\n{}", ended.stdout);
    }
    assert!(ended.stdout.contains("mcp-example-com"), "the server has the name of its host:\n{}", ended.stdout);

    let answer = keyctl.run(&connect(&["--client", "codex", "-o", "json"])).with(0).json();
    assert_eq!((&answer["tokenSource"], &answer["key"]["id"]), (&"TOKEN_SOURCE_REVEALED".into(), &"ci".into()));
    let command = answer["instructions"][0]["posixCommand"].as_str().unwrap();
    assert!(
        command.starts_with(&format!("export MCP_EXAMPLE_COM_MCP_TOKEN='{token}'\n"))
            || command.starts_with(&format!("export MCP_EXAMPLE_COM_MCP_TOKEN={token}\n")),
        "{command}"
    );
}

#[test]
fn console_8_a_key_is_created_if_there_is_none() {
    let keyctl = account("false");
    keyctl.run(&CONNECT).with(1).says("no active key").says("--create-if-none");
    let ended = keyctl.run(&connect(&["--client", "claude-code", "--create"])).with(0);
    let token = ended.stdout.split(['\'', ' ']).find(|word| word.starts_with("acme_")).unwrap().to_owned();
    ended.says("was created; this is the only time").says("confirmed by 1 replica");
    assert_eq!(keyctl.verdict(&token), "VERDICT_VALID");
    let listed = keyctl.done(&["keys", "list", "acme"]);
    assert!(listed.lines().count() == 2 && listed.contains("mcp-example-com"), "{listed}");

    // The key exists now, but its token is not stored.
    let ended = keyctl.run(&connect(&["--client", "claude-code", "--create"])).with(0);
    assert!(ended.stdout.contains("'Authorization: Bearer YOUR_API_KEY'"), "{}", ended.stdout);
    ended.says(&format!("which begins with {}, in place of YOUR_API_KEY", &token[..9])).says("keyctl keys renew");
}

#[test]
fn creation_of_a_key_requires_confirmation() {
    let keyctl = account("false");
    let mut terminal = Terminal::start(&mut keyctl.command(&connect(&["--client", "cursor"])));
    terminal.await_shown("Account acme has no active key. Create one? [y/N] ");
    terminal.types("y\n");
    let (status, shown) = terminal.ended();
    assert!(status.success() && shown.contains("cursor://"), "{shown}");
}

#[test]
fn a_caller_without_permission_for_tokens_gets_a_placeholder() {
    let keyctl = account("true");
    keyctl.key("ci");
    keyctl.done(&["keys", "create", "system", "--scope", "keys.read", "--all-projects", "--save", "reader.txt"]);
    let ended = keyctl.run(&connect(&["--token-file", "reader.txt"])).with(0);
    assert!(!ended.stdout.contains("acme_") && ended.stdout.contains("YOUR_API_KEY"), "{}", ended.stdout);
    ended.says("put the saved token of key ci").says("tokens.reveal");
}

#[test]
fn a_lost_response_with_a_new_token_is_reported() {
    for (recoverable, code) in [("true", 0), ("false", 6)] {
        let keyctl = account(recoverable);
        let link = Link::to(&keyctl.server.address, true);
        let endpoint = format!("http://{}", link.address);
        let ended = keyctl.run(&connect(&["--create", "--endpoint", &endpoint])).with(code).says("retrying");
        assert_eq!(ended.stdout.contains("acme_"), code == 0, "{}", ended.stdout);
        if code != 0 {
            ended.says("has a new token, but it is lost").says("next: keyctl keys renew");
        }
        assert_eq!(keyctl.done(&["keys", "list", "acme"]).lines().count(), 2, "a header and one key");
    }
}

#[test]
fn errors_of_connect_have_a_next_step() {
    let keyctl = account("false");
    keyctl.key("ci");
    keyctl.done(&["keys", "disable", "ci"]);
    keyctl.run(&connect(&["--key", "ci"])).with(5).says("next: keyctl keys show KEY");
    keyctl.run(&connect(&["--key", "nothing"])).with(4).says("next: keyctl keys list");
    keyctl.run(&["connect", "acme", "--url", "ftp://example.com"]).with(2).says("url must");
    keyctl.run(&connect(&["--server-name", "no name"])).with(2).says("server_name must");
    keyctl.run(&connect(&["--output", "token"])).with(2).says("part of the instructions");
    for more in [&["--client", "emacs"][..], &["--key", "ci", "--create"], &["--save", "key.txt"]] {
        keyctl.run(&connect(more)).with(2);
    }
    keyctl.run(&["connect", "acme", "--client", "codex"]).with(2).says("--url");
}
