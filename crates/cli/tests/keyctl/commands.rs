//! What each command does.

use serde_json::json;

use crate::support::{Keyctl, Terminal, run};

#[test]
fn a_key_goes_through_its_lifecycle() {
    let keyctl = Keyctl::start();
    let token = keyctl.key("ci");
    keyctl.done(&[
        "keys",
        "edit",
        "ci",
        "--display-name",
        "CI",
        "--scope",
        "deploy",
        "--scope",
        "read",
        "--label",
        "a=b",
    ]);
    let shown = keyctl.done(&["keys", "show", "ci"]);
    for line in ["name       CI", "scopes     deploy read", "labels     a=b", "state      active", "expires    never"] {
        assert!(shown.lines().any(|shown| shown == line), "{line:?} is not in:\n{shown}");
    }
    keyctl.done(&["keys", "edit", "ci", "--clear", "labels", "--clear", "scopes"]);
    assert!(!keyctl.done(&["keys", "show", "ci"]).contains("deploy"));
    assert_eq!(keyctl.value("name", &["keys", "show", "ci"]), "CI", "fields that are not named do not change");

    assert!(keyctl.done(&["keys", "disable", "ci"]).contains("disabled"));
    assert_eq!(keyctl.verdict(&token), "VERDICT_DISABLED");
    let listed = keyctl.run(&["keys", "list", "acme", "--state", "active"]).with(0).says("no key matches");
    assert_eq!(listed.stdout.lines().count(), 1, "only a header");
    assert!(keyctl.done(&["keys", "enable", "ci"]).contains("active"));

    let renewed = keyctl.value("token", &["keys", "renew", "ci", "--overlap", "1h", "--lifetime", "36h"]);
    assert_eq!((keyctl.verdict(&token), keyctl.verdict(&renewed)), ("VERDICT_VALID".into(), "VERDICT_VALID".into()));
    let listed = keyctl.done(&["keys", "list"]);
    assert!(listed.contains("in 1 day") && listed.starts_with("ACCOUNT"), "{listed}");
    assert!(keyctl.done(&["keys", "revoke", "ci", "--yes", "--reason", "over"]).contains("revoked"));
    assert_eq!(keyctl.value("reason", &["keys", "show", "ci"]), "over");
    assert_eq!(keyctl.verdict(&renewed), "VERDICT_REVOKED");
    keyctl.run(&["keys", "delete", "ci", "--yes"]).with(0).says("key ci deleted").says("confirmed by 1 replica");

    let audit = keyctl.done(&["audit", "--key", "ci"]);
    let actions: Vec<_> = audit.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    let expected = "create-key update-key update-key disable-key enable-key renew-key revoke-key delete-key";
    assert_eq!(actions.join(" "), expected);
    assert_eq!(keyctl.done(&["audit", "--key", "ci", "--limit", "2", "--since", "1h"]).lines().count(), 3);
    let earlier = keyctl.run(&["audit", "--key", "ci", "--until", "1h"]).with(0).says("no change matches");
    assert_eq!(earlier.stdout.lines().count(), 1, "only a header");
    let newest = keyctl.done(&["audit", "--key", "ci", "--newest-first", "--limit", "1"]);
    // The columns are as wide as their widest value.
    let revision = |line: Option<&str>| line.and_then(|line| line.split_whitespace().next()).map(str::to_owned);
    assert_eq!(revision(newest.lines().nth(1)), revision(audit.lines().last()), "{newest}");
}

#[test]
fn a_restore_is_accepted_after_a_confirmation() {
    let keyctl = Keyctl::start();
    keyctl.run(&["restore", "accept"]).with(7).says("0 quarantined tokens are valid from then on");
    keyctl.run(&["restore", "accept", "--yes"]).with(0).says("restore accepted").says("confirmed by 1 replica");
    let audit = keyctl.done(&["audit"]);
    assert_eq!(audit.matches("accept-restore").count(), 1, "{audit}");
}

#[test]
fn an_account_goes_through_its_lifecycle() {
    let keyctl = Keyctl::start();
    let policy = ["--token-prefix", "acme_", "--max-keys", "3", "--counted-states", "active", "--recoverable", "true"];
    keyctl
        .done(&[&["accounts", "create", "acme", "--display-name", "Acme", "--lifetime", "30d"], &policy[..]].concat());
    let shown = keyctl.done(&["accounts", "show", "acme"]);
    for (name, value) in [("max keys", "3 active"), ("lifetimes", "30 days"), ("recoverable", "true"), ("name", "Acme")]
    {
        assert!(shown.lines().any(|line| line.starts_with(name) && line.ends_with(value)), "{name}\n{shown}");
    }
    keyctl.done(&["accounts", "edit", "acme", "--max-keys", "0", "--clear", "lifetimes"]);
    let shown = keyctl.done(&["accounts", "show", "acme"]);
    assert!(shown.contains("no limit") && shown.contains("any") && shown.contains("acme_"), "{shown}");

    let token = keyctl.key("ci");
    assert_eq!(keyctl.done(&["keys", "reveal", "ci", "-o", "token"]).trim(), token);
    assert!(keyctl.done(&["accounts", "suspend", "acme"]).contains("suspended"));
    assert_eq!(keyctl.verdict(&token), "VERDICT_ACCOUNT_SUSPENDED");
    assert!(keyctl.done(&["accounts", "resume", "acme"]).contains("active"));
    assert_eq!(keyctl.verdict(&token), "VERDICT_VALID");
    assert_eq!(keyctl.done(&["accounts", "list"]).lines().count(), 3, "a header, acme and system");
}

#[test]
fn verify_prints_the_verdict_and_the_reason() {
    let keyctl = Keyctl::start();
    let token = keyctl.key("ci");
    std::fs::write(keyctl.file("token"), &token).unwrap();
    keyctl.done(&["keys", "edit", "ci", "--scope", "deploy", "--network", "192.0.2.0/24"]);
    let asked = ["verify", "token", "--account", "acme", "--key-id", "ci", "--client-ip", "192.0.2.1"];
    assert!(keyctl.done(&[&asked[..], &["--scope", "deploy"]].concat()).starts_with("verdict  valid\n"));
    let denied = keyctl.run(&[&asked[..], &["--scope", "delete"]].concat()).with(1).stdout;
    assert!(denied.contains("scope denied") && denied.contains("missing  delete"), "{denied}");
    let by_input = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut &by_input.1, format!("{token}\n").as_bytes()).unwrap();
    drop(by_input.1);
    let ended = run(keyctl.command(&["verify", "-", "--client-ip", "192.0.2.1"]).stdin(by_input.0));
    assert!(ended.with(0).stdout.contains("valid"));
    keyctl.run(&["verify", "nothing"]).with(8).says("nothing cannot be used");
}

#[test]
fn verdicts_about_unknown_tokens_have_a_next_step() {
    let keyctl = Keyctl::start();
    let token = keyctl.key("ci");
    std::fs::write(keyctl.file("beginning"), &token[..token.len() - 1]).unwrap();
    keyctl.run(&["verify", "beginning"]).with(1).says("next: keyctl keys list --query");
    assert!(keyctl.done(&["keys", "list", "--query", &token[.."acme_".len() + 4]]).contains("ci"));

    let root = keyctl.server.root_token_file.display().to_string();
    keyctl.run(&["verify", &root]).with(1).says("next: ").says("--account system");
    keyctl.run(&["verify", &root, "--account", "system"]).with(0);
}

#[test]
fn meko_10_connecting_a_client_leads_to_a_key() {
    let keyctl = Keyctl::start();
    keyctl.done(&["accounts", "create", "meko", "--token-prefix", "mko_tkn_"]);
    keyctl.run(&["connect", "meko"]).with(1).says("no active key").says("--create-if-none");
    let mut terminal = Terminal::start(&mut keyctl.command(&["connect", "meko", "--display-name", "laptop"]));
    terminal.await_shown("Account meko has no active key. Create one? [y/N] ");
    terminal.types("y\n");
    let (status, shown) = terminal.ended();
    assert!(status.success() && shown.contains("mko_tkn_"), "{shown}");

    let ended = keyctl.run(&["connect", "meko"]).with(0).says("keyctl keys create");
    let row: Vec<_> = ended.stdout.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((row[0], &row[1][..8], row[1].len()), ("laptop", "mko_tkn_", 12), "name and prefix: {}", ended.stdout);
    keyctl.run(&["connect", "meko", "--output", "token"]).with(2).says("cannot be shown again");
    let id = row[2].to_owned();
    keyctl.done(&["keys", "revoke", &id, "--yes"]);
    let token = keyctl.done(&["connect", "meko", "--create-if-none", "--output", "token"]);
    assert_eq!(keyctl.verdict(token.trim()), "VERDICT_VALID");
}

#[test]
fn status_lists_every_replica() {
    let keyctl = Keyctl::start();
    let status = keyctl.done(&["status"]);
    let words = ["version", "SQLite", "revision", "REPLICA", &keyctl.server.address, "s left", "this call"];
    for word in words {
        assert!(status.contains(word), "{word} is not in:\n{status}");
    }
}

#[test]
fn completions_are_those_of_the_shell() {
    let keyctl = Keyctl::start();
    for (shell, word) in [("bash", "complete -F"), ("zsh", "#compdef keyctl"), ("fish", "complete -c keyctl")] {
        // It does not call an authority.
        let ended = run(keyctl.command(&["completions", shell]).env("KEYCTL_ENDPOINT", "http://127.0.0.1:1"));
        assert!(ended.with(0).stdout.contains(word), "{shell}");
    }
}

#[test]
fn many_keys_are_revoked_with_one_command() {
    let keyctl = Keyctl::start();
    let token = keyctl.key("left");
    keyctl.done(&["keys", "edit", "left", "--label", "owner=ann"]);
    let kept = keyctl.key("kept");
    let select = ["keys", "revoke", "--account", "acme", "--label", "owner=ann"];
    let dry = keyctl.run(&[&select[..], &["--dry-run"]].concat()).with(0);
    assert_eq!(dry.stdout.lines().collect::<Vec<_>>(), ["KEY", "left"]);
    dry.says("1 key would be revoked; nothing was changed");
    assert_eq!(keyctl.verdict(&token), "VERDICT_VALID");
    keyctl.run(&select).with(7).says("Revoke 1 key of account acme?");
    keyctl.run(&[&select[..], &["--yes"]].concat()).with(0).says("1 key revoked").says("confirmed by 1 replica");
    assert_eq!((keyctl.verdict(&token), keyctl.verdict(&kept)), ("VERDICT_REVOKED".into(), "VERDICT_VALID".into()));
    keyctl.run(&["keys", "revoke", "--account", "acme", "--yes"]).with(2).says("set a filter");
    keyctl.run(&["keys", "revoke", "--account", "acme", "--all", "--created-before", "1h", "--yes"]).with(2);
    keyctl.run(&["keys", "revoke", "kept", "--account", "acme"]).with(2);
    keyctl.run(&["keys", "revoke", "kept", "--label", "a=b", "--yes"]).with(2);
    let json =
        keyctl.run(&["keys", "revoke", "--account", "acme", "--all", "--yes", "--output", "json"]).with(0).json();
    assert_eq!((&json["count"], &json["keyIds"][0]), (&1.into(), &"kept".into()));
}

#[test]
fn a_key_is_revoked_and_renewed_by_its_token() {
    let keyctl = Keyctl::start();
    let token = keyctl.key("ci");
    std::fs::write(keyctl.file("token"), &token).unwrap();
    keyctl.run(&["tokens", "renew", "token"]).with(5).says("--holder-may-renew true");
    keyctl.done(&["accounts", "edit", "acme", "--holder-may-renew", "true"]);
    let renewed = keyctl.done(&["tokens", "renew", "token", "--output", "token"]).trim().to_owned();
    assert_eq!((keyctl.verdict(&token), keyctl.verdict(&renewed)), ("VERDICT_EXPIRED".into(), "VERDICT_VALID".into()));
    std::fs::write(keyctl.file("token"), &renewed).unwrap();
    keyctl.run(&["tokens", "revoke", "token"]).with(7).says("Revoke the key of this token?");
    assert_eq!(keyctl.value("revoked", &["tokens", "revoke", "token", "--yes", "--reason", "found"]), "ci");
    assert_eq!(keyctl.verdict(&renewed), "VERDICT_REVOKED");
    keyctl.run(&["tokens", "revoke", "nowhere", "--yes"]).with(8).says("nowhere");
    let typed = keyctl.run(&["tokens", "revoke", &renewed, "--yes"]).with(8);
    assert!(!typed.stderr.contains(&renewed), "a token in place of the file is not repeated: {}", typed.stderr);
}

#[test]
fn a_link_to_a_portal_is_printed() {
    let keyctl = Keyctl::start();
    keyctl.key("ci");
    let create = ["portal", "create", "--account", "acme", "--subject", "ada@example.com"];
    let more = ["--may", "create,revoke", "--lifetime", "30m"];
    let url = keyctl.value("url", &[&create[..], &more].concat());
    assert!(url.contains("/console/enter?code="), "{url}");
    let json = keyctl.run(&[&create[..], &["--output", "json"]].concat()).with(0).json();
    assert!(json["url"].is_string() && json["urlExpireTime"].is_string() && json["expireTime"].is_string(), "{json}");
    let audit = keyctl.done(&["audit", "--action", "create-portal-session"]);
    assert!(audit.lines().nth(1).unwrap().contains(" for ada@example.com "), "{audit}");
    let scopes = ["--allowed-scope", "read", "--allowed-scope", "write"];
    keyctl.run(&[&create[..], &scopes].concat()).with(0);
    keyctl.run(&[&create[..], &["--no-scopes"]].concat()).with(0);
    let audit = keyctl.run(&["audit", "--newest-first", "--output", "json"]).with(0).json();
    assert_eq!(audit["events"][0]["after"]["allowed_scopes"]["only"], json!([]), "{audit}");
    assert_eq!(audit["events"][1]["after"]["allowed_scopes"]["only"], json!(["read", "write"]), "{audit}");
    keyctl.run(&[&create[..], &scopes, &["--no-scopes"]].concat()).with(2).says("--no-scopes");
    keyctl.run(&[&create[..], &["--may", "everything"]].concat()).with(2).says("create, update");
    keyctl.run(&[&create[..], &["--lifetime", "13h"]].concat()).with(2).says("lifetime");
}

#[test]
fn a_key_is_created_with_the_digest_of_a_token() {
    let keyctl = Keyctl::start();
    keyctl.done(&["accounts", "create", "acme"]);
    // The SHA-256 digest of the token.
    let token = "my-own-token-0123456789abcdef";
    let digest = "6086b0135cb3e2d1e5018a60f8a26ac85416ef1e6591fd240d083d44abadd76b";
    let create = ["keys", "create", "acme", "--key-id", "ci", "--sha256", digest, "--token-hint", "my-o"];
    keyctl.run(&create).with(5).says("--caller-digests true");
    keyctl.done(&["accounts", "edit", "acme", "--caller-digests", "true"]);
    assert!(keyctl.done(&create).contains("my-o"));
    assert_eq!(keyctl.verdict(token), "VERDICT_VALID");
    keyctl.run(&["keys", "renew", "ci", "--sha256", digest]).with(5).says("make another token");
    keyctl.run(&["keys", "renew", "ci", "--sha256", "abc"]).with(2).says("64 hexadecimal digits");
    keyctl.run(&[&create[..], &["--save", "token"]].concat()).with(2).says("--save needs a token of the authority");
    keyctl.run(&[&create[..], &["--blake3", digest]].concat()).with(2);
}

#[test]
fn keys_are_filtered_and_ordered() {
    let keyctl = Keyctl::start();
    for id in ["b", "a", "c"] {
        keyctl.key(id);
    }
    keyctl.done(&["keys", "edit", "a", "--label", "team=shop", "--display-name", "Deploys of the shop"]);
    let listed = |words: &[&str]| {
        let output = keyctl.done(&[&["keys", "list", "acme"], words].concat());
        output.lines().skip(1).map(|line| line.split_whitespace().next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&["--order-by", "create_time"]), ["b", "a", "c"]);
    assert_eq!(listed(&["--order-by", "display_name desc"]).first().unwrap(), "a");
    assert_eq!(listed(&["--label", "team=shop"]), ["a"]);
    assert_eq!(listed(&["--query", "THE SHOP"]), ["a"]);
    assert_eq!(listed(&["--unused-since", "1h"]), [""; 0], "they were created since");
    assert_eq!(listed(&["--expires-before", "2100-01-01T00:00:00Z"]), [""; 0]);
    keyctl.run(&["keys", "list", "--order-by", "name"]).with(2).says("must be create_time");
}
