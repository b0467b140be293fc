//! `keyctl keys import`.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;

use crate::support::{Keyctl, Terminal, run};

/// SHA-256 digest of `a-token-of-another-system`.
const SHA256: &str = "3f9fe8b1a9b6c2a0a1c4e4d46b9a3b4b4ea3a45b4d46a41f7c7df2d5a7a0a2d1";

fn keyctl() -> Keyctl {
    let keyctl = Keyctl::start();
    keyctl.done(&["accounts", "create", "acme"]);
    keyctl
}

#[test]
fn tokens_are_imported_and_errors_are_reported_with_their_line() {
    let keyctl = keyctl();
    let lines = "{\"key_id\": \"a\", \"token\": \"whole-token-of-a-canary\", \"scopes\": [\"deploy\"]}\n\
                 \n\
                 {\"key_id\": \"b\", \"token\": \"canary\"}\n\
                 {\"key_id\": \"c\", \"tokens\": \"canary\"}\n\
                 {\"key_id\": \"d\", \"token\": \"whole-token-of-a-canary\"}\n\
                 {\"key_id\": \"e\", \"token\": \"another-token-of-a-canary\", \"disabled\": true}\n";
    fs::write(keyctl.file("keys.jsonl"), lines).unwrap();
    let import = |more: &[&str]| keyctl.run(&[&["keys", "import", "acme", "keys.jsonl"], more].concat());

    let rehearsed = import(&["--dry-run"]).with(1);
    assert_eq!(rehearsed.stdout, "would be imported  2\nexisting           0\nnot imported       3\n");
    assert_eq!(keyctl.verdict("whole-token-of-a-canary"), "VERDICT_MALFORMED");

    let ended = import(&["--errors", "errors.jsonl"]).with(1).says("errors.jsonl lists").says("confirmed by 1 replica");
    assert_eq!(ended.stdout, "imported      2\nexisting      0\nnot imported  3\n");
    let errors = fs::read_to_string(keyctl.file("errors.jsonl")).unwrap();
    let entries: Vec<serde_json::Value> = errors.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| entries.iter().map(|error| error[name].to_string()).collect::<Vec<_>>().join(" ");
    assert_eq!(of("line"), "4 3 5");
    assert_eq!(of("reason"), "\"NOT_READ\" \"FIELD_INVALID\" \"TOKEN_EXISTS\"");
    import(&["--errors", "errors.jsonl"]).with(8).says("errors.jsonl already exists");
    assert_eq!(keyctl.verdict("whole-token-of-a-canary"), "VERDICT_VALID");
    assert_eq!(keyctl.verdict("another-token-of-a-canary"), "VERDICT_DISABLED");

    let again = import(&[]).with(1).says("line 3: token must be").says("line 5: the token is another key's");
    assert!(again.stdout.contains("existing      2\n"), "{}", again.stdout);
    for text in [&rehearsed.stderr, &ended.stderr, &again.stderr, &errors, &again.stdout] {
        assert!(!text.contains("canary"), "{text}");
    }
    let json = import(&["--output", "json"]).with(1).json();
    assert_eq!(json["existing"], 2);
}

#[test]
fn a_line_that_is_too_long_is_reported_and_the_others_are_imported() {
    let keyctl = keyctl();
    let long = "x".repeat(17 * 1024 * 1024);
    let lines = format!(
        "{{\"key_id\": \"a\", \"token\": \"whole-token-of-a-canary\"}}\n\
         {{\"token\": \"another-token-of-a-canary\", \"description\": \"{long}\"}}\n"
    );
    fs::write(keyctl.file("keys.jsonl"), lines).unwrap();
    let ended = keyctl.run(&["keys", "import", "acme", "keys.jsonl"]).with(1).says("line 2: is larger than 1 MiB");
    assert_eq!(ended.stdout, "imported      1\nexisting      0\nnot imported  1\n");
}

#[test]
fn digests_are_imported_from_csv_in_batches_of_any_size() {
    let keyctl = keyctl();
    let mut table = String::from("key_id,sha256,labels\n");
    for number in 0..25 {
        let digits = SHA256.replacen("3f9f", &format!("{number:04x}"), 1);
        writeln!(table, "key-{number},{digits},number={number}").unwrap();
    }
    fs::write(keyctl.file("keys.csv"), &table).unwrap();
    let done = keyctl.done(&["keys", "import", "acme", "keys.csv", "--batch", "10"]);
    assert!(done.contains("25"), "{done}");
    let audit = keyctl.done(&["audit", "--account", "acme", "--action", "import-keys"]);
    assert_eq!(audit.lines().count(), 1 + 3, "ten keys in each change: {audit}");
    assert!(keyctl.done(&["keys", "show", "key-24"]).contains("number=24"));

    let piped = std::io::pipe().unwrap();
    let mut writer = piped.1;
    writer.write_all(table.as_bytes()).unwrap();
    drop(writer);
    let ended = run(keyctl.command(&["keys", "import", "acme", "-", "--format", "csv"]).stdin(piped.0)).with(0);
    assert!(ended.stdout.contains("existing      25"), "{}", ended.stdout);
}

#[test]
fn errors_of_a_whole_import_are_reported() {
    let keyctl = keyctl();
    fs::write(keyctl.file("keys.jsonl"), "{\"token\": \"a-token-of-another-system\"}\n").unwrap();
    keyctl.run(&["keys", "import", "acme", "nothing"]).with(8).says("nothing cannot be used");
    keyctl.run(&["keys", "import", "nobody", "keys.jsonl"]).with(4).says("there is no such account");
    keyctl.run(&["keys", "import", "system", "keys.jsonl"]).with(5).says("reserved");
    keyctl.run(&["keys", "import", "acme", "keys.jsonl", "--batch", "10001"]).with(2);
    fs::write(keyctl.file("keys.csv"), "token;key_id\n").unwrap();
    keyctl.run(&["keys", "import", "acme", "keys.csv"]).with(8).says("column 1 is unknown; expected one of key_id");
}

#[test]
fn a_dry_run_checks_each_batch_separately_and_says_so() {
    let keyctl = keyctl();
    let lines = "{\"key_id\": \"a\", \"token\": \"a-token-of-another-system\"}\n\
                 {\"key_id\": \"b\", \"token\": \"a-token-of-another-system\"}\n";
    fs::write(keyctl.file("keys.jsonl"), lines).unwrap();
    let import = |more: &[&str]| keyctl.run(&[&["keys", "import", "acme", "keys.jsonl"], more].concat());
    let separately = "each batch was checked separately";

    let whole = import(&["--dry-run"]).with(1).says("the token is another key's");
    assert!(!whole.stderr.contains(separately), "{}", whole.stderr);
    let apart = import(&["--dry-run", "--batch", "1"]).with(0).says(separately);
    assert_eq!(apart.stdout, "would be imported  2\nexisting           0\nnot imported       0\n");
    let ended = import(&["--batch", "1"]).with(1).says("the token is another key's");
    assert!(!ended.stderr.contains(separately), "{}", ended.stderr);
}

#[test]
fn a_terminal_shows_the_progress() {
    let keyctl = keyctl();
    let mut lines = String::new();
    for number in 0..2_000 {
        writeln!(lines, "{{\"token\": \"token-{number}-of-another-system\"}}").unwrap();
    }
    fs::write(keyctl.file("keys.jsonl"), lines).unwrap();
    let command = &mut keyctl.command(&["keys", "import", "acme", "keys.jsonl", "--batch", "200"]);
    let mut terminal = Terminal::start(command);
    terminal.await_shown(" %  ");
    let (status, shown) = terminal.ended();
    assert!(status.success() && shown.contains("2000"), "{shown}");
}

#[test]
fn an_invalid_row_does_not_stop_the_import() {
    let keyctl = keyctl();
    let rows: [&[u8]; 10] = [
        b"\xef\xbb\xbfkey_id,token,expire_time,never_expires",
        b"a,whole-token-of-canary-a,2030-01-01 00:00:00+00,f",
        b"b,whole-token-of-canary-b,,t,",
        b"c,whole-token-of-canary-c,\\N,TRUE",
        b"d,whole-token-of-canary-\xe9,,",
        b"e,\"whole-token-of-canary-e,,",
        b"f,whole-token-of-canary-f,,NULL",
        b"g,whole-token-of-canary-\0,,",
        b"h,whole-token-of-canary-h,2030-01-01 00:00:00,",
        b"i,whole-token-of-canary-i,1893456000,no",
    ];
    fs::write(keyctl.file("keys.csv"), rows.join(&b"\r\n"[..])).unwrap();
    let ended = keyctl.run(&["keys", "import", "acme", "keys.csv", "--errors", "errors.jsonl"]).with(1);
    assert_eq!(ended.stdout, "imported      4\nexisting      0\nnot imported  5\n");
    let errors = fs::read_to_string(keyctl.file("errors.jsonl")).unwrap();
    let lines = errors.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["line"].to_string());
    assert_eq!(lines.collect::<Vec<_>>(), ["3", "5", "6", "8", "9"], "{errors}");
    assert!(!errors.contains("canary") && errors.contains("lacks a time zone: write it like"), "{errors}");
    for key in ["a", "i"] {
        assert!(keyctl.value("expires", &["keys", "show", key]).starts_with("2030-01-01T00:00:00Z"));
    }
    assert_eq!(keyctl.value("expires", &["keys", "show", "c"]), "never");
}

#[test]
fn a_file_without_keys_is_reported() {
    let keyctl = keyctl();
    for (name, content, code, text) in [
        ("empty.csv", "", 8, "empty.csv cannot be used: is empty"),
        ("empty.jsonl", "\n \n", 8, "empty.jsonl cannot be used: is empty"),
        ("header.csv", "token,key_id\n", 0, "the file contains no keys"),
        ("twice.csv", "token,key_id,token\na,b,c\n", 8, "columns 1 and 3 are both token"),
    ] {
        fs::write(keyctl.file(name), content).unwrap();
        keyctl.run(&["keys", "import", "acme", name]).with(code).says(text);
    }
}
