//! Token files: permissions, and no lost tokens.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Keyctl, run};

#[test]
fn a_token_file_that_others_can_access_is_rejected() {
    let keyctl = Keyctl::start();
    let token = fs::read(&keyctl.server.root_token_file).unwrap();
    let file = keyctl.file("copy.token");
    fs::write(&file, token).unwrap();
    for (mode, code) in [(0o644, 8), (0o640, 8), (0o604, 8), (0o600, 0), (0o400, 0)] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let ended = keyctl.run(&["--token-file", "copy.token", "status"]).with(code);
        if code != 0 {
            ended
                .says(&format!("copy.token is accessible to other users (mode {mode:04o})"))
                .says("chmod 600 copy.token");
        }
    }
}

#[test]
fn a_token_file_overrides_the_environment_variable() {
    let keyctl = Keyctl::start();
    let token = fs::read_to_string(&keyctl.server.root_token_file).unwrap();
    let by_environment = |words: &[&str], token: &str| {
        run(keyctl.command(words).env_remove("KEYCTL_TOKEN_FILE").env("KEYCTL_TOKEN", token))
    };
    by_environment(&["status"], &token).with(0);
    by_environment(&["status"], "").with(3).says("--token-file");
    by_environment(&["status"], "some\nthing").with(8).says("no valid token in KEYCTL_TOKEN");
    run(keyctl.command(&["status"]).env("KEYCTL_TOKEN", "wrong")).with(0);
}

#[test]
fn meko_09_a_saved_token_is_private_and_never_overwrites_a_file() {
    let keyctl = Keyctl::start();
    keyctl.done(&["accounts", "create", "--from-file", example("meko").as_str()]);
    let create = ["keys", "create", "meko-user-42", "--key-id", "laptop", "--save", "key.txt"];
    let ended = keyctl.run(&create).with(0);
    let file = keyctl.file("key.txt");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let token = fs::read_to_string(&file).unwrap();
    assert!(token.starts_with("mko_tkn_") && token.ends_with('\n') && token.lines().count() == 1, "{token:?}");
    assert!(!format!("{}{}", ended.stdout, ended.stderr).contains(token.trim()), "{ended:?}");
    assert_eq!(keyctl.verdict(&token), "VERDICT_VALID");

    let another = ["keys", "create", "meko-user-42", "--save", "key.txt"];
    keyctl.run(&another).with(8).says("key.txt already exists and is never overwritten; nothing was changed");
    keyctl.run(&["keys", "renew", "laptop", "--save", "key.txt"]).with(8);
    assert_eq!(fs::read_to_string(&file).unwrap(), token);
    assert_eq!(keyctl.verdict(&token), "VERDICT_VALID", "the key must not be renewed");
    assert_eq!(keyctl.done(&["keys", "list", "meko-user-42"]).lines().count(), 2, "a header and one key");
}

#[test]
fn the_file_is_removed_if_the_key_is_rejected() {
    let keyctl = Keyctl::start();
    keyctl
        .run(&["keys", "create", "nobody", "--save", "key.txt"])
        .with(4)
        .says("no such account")
        .says("keyctl accounts list");
    assert!(!keyctl.file("key.txt").exists());
}

#[test]
fn no_token_is_created_if_its_file_cannot_be() {
    let keyctl = Keyctl::start();
    keyctl.key("ci");
    keyctl.run(&["keys", "renew", "ci", "--save", "missing/key.txt"]).with(8).says("missing/key.txt cannot be used");
    assert_eq!(keyctl.value("secret 1", &["keys", "show", "ci"]).matches("ended").count(), 0);
}

fn example(name: &str) -> String {
    crate::server::workspace().join(format!("docs/examples/{name}.json")).display().to_string()
}

#[test]
fn a_byte_order_mark_is_accepted_in_every_file() {
    let keyctl = Keyctl::start();
    let marked = |name: &str, text: &str| {
        fs::write(keyctl.file(name), format!("\u{feff}{text}")).unwrap();
        fs::set_permissions(keyctl.file(name), Permissions::from_mode(0o600)).unwrap();
    };
    let root_token = fs::read_to_string(&keyctl.server.root_token_file).unwrap();
    marked("marked.token", &root_token);
    marked("account.json", &fs::read_to_string(example("meko")).unwrap());
    marked("config.toml", "default = 'marked'\n[profile.marked]\ntoken_file = 'marked.token'\n");
    let profile = |words: &[&str]| run(keyctl.command(words).env_remove("KEYCTL_TOKEN_FILE"));
    profile(&["--config", "config.toml", "accounts", "create", "--from-file", "account.json"]).with(0);
    let token = keyctl.done(&["keys", "create", "meko-user-42", "--output", "token"]);
    marked("asked.token", &token);
    keyctl.run(&["verify", "asked.token"]).with(0);
    run(keyctl
        .command(&["status"])
        .env_remove("KEYCTL_TOKEN_FILE")
        .env("KEYCTL_TOKEN", format!("\u{feff}{root_token}")))
    .with(0);

    let utf16: Vec<u8> = format!("\u{feff}{token}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(keyctl.file("utf16.token"), &utf16).unwrap();
    fs::set_permissions(keyctl.file("utf16.token"), Permissions::from_mode(0o600)).unwrap();
    for words in [&["verify", "utf16.token"][..], &["--token-file", "utf16.token", "status"]] {
        keyctl.run(words).with(8).says("utf16.token cannot be used: is UTF-16; save it as UTF-8");
    }
}

#[test]
fn a_variable_that_is_set_but_blank_counts_as_unset() {
    let keyctl = Keyctl::start();
    let variables = [
        "KEYCTL_TOKEN",
        "KEYCTL_CA_FILE",
        "KEYCTL_CLIENT_CERT",
        "KEYCTL_CLIENT_KEY",
        "KEYCTL_PROFILE",
        "KEYCTL_CONFIG",
        "KEYCTL_TIMEOUT",
        "KEYCTL_OUTPUT",
        "XDG_CONFIG_HOME",
        "HOME",
    ];
    for blank in ["", " ", "\r"] {
        run(keyctl.command(&["keys", "list"]).envs(variables.map(|name| (name, blank)))).with(0);
    }
    let endpoint = keyctl.endpoint();
    let profile = format!("default = 'a'\n[profile.a]\nendpoint = '{endpoint}'\ntoken_file = 'data/root.token'\n");
    fs::write(keyctl.file("config.toml"), profile).unwrap();
    let blank = [("KEYCTL_ENDPOINT", ""), ("KEYCTL_TOKEN_FILE", "")];
    run(keyctl.command(&["--config", "config.toml", "status"]).envs(blank)).with(0);
}
