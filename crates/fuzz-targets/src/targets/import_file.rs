//! The files of `keyctl keys import`: no error repeats a value, and a row survives being printed and read again.

use key_authority_cli::testing::{import_line, read_import_file};
use key_authority_proto::v1::{ImportKeysRequest, ImportedKey};
use key_authority_server::testing::untrusted;

use crate::Target;
use crate::input::{CANARY, Input, assert_hidden};

/// The reader with its rule.
pub static TARGET: Target = Target {
    name: "import_file",
    run,
    seeds,
    dictionary: &[
        b"key_id",
        b"display_name",
        b"description",
        b"scopes",
        b"projects",
        b"labels",
        b"allowed_networks",
        b"lifetime",
        b"expire_time",
        b"never_expires",
        b"disabled",
        b"token",
        b"blake3",
        b"sha256",
        b"token_hint",
        b"CANARY7Q",
        b"\": \"",
        b"{}",
        b"[]",
        b"null",
        b"true",
        b"\"\"",
        b"1d12h",
        b"2027-01-31T12:00:00Z",
        b"\\u0000",
        b"\r\n",
    ],
    memory: (131_072, 4096),
};

fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let is_csv = input.byte() % 2 == 1;
    let (rows, end) = read_import_file(input.rest(), is_csv);
    if let Some(error) = &end {
        assert_hidden(error);
    }
    for (line, row) in rows {
        assert!(line > 0);
        match row {
            Ok(key) => check_key(key),
            Err(error) => assert_hidden(&error),
        }
    }
}

fn check_key(key: ImportedKey) {
    if let Some(line) = import_line(&key) {
        let (again, end) = read_import_file(line.as_bytes(), false);
        assert!(end.is_none() && again.first().is_some_and(|(_, again)| again.as_ref() == Ok(&key)), "{line}");
    }
    let request = ImportKeysRequest { account: "acme".into(), keys: vec![key], ..Default::default() };
    if let Ok((keys, _)) = untrusted::import_keys(request) {
        keys.iter().filter_map(|key| key.as_ref().err()).for_each(|violations| assert_hidden(violations));
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let digits = "0f".repeat(32);
    let jsonl = [
        format!(r#"{{"key_id": "a", "scopes": ["x"], "projects": {{"only": ["p"]}}, "sha256": "{digits}"}}"#),
        format!(r#"{{"labels": {{"l": "1 2", "m": ""}}, "lifetime": "3600s", "disabled": true, "token": "{CANARY}"}}"#),
        r#"{"keyId": "b", "projects": {"all": true}, "neverExpires": true, "token": "a-token-of-24-characters"}"#
            .into(),
        r#"{"blake3": "Dw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8=", "expire_time": "2027-01-31T12:00:00.5Z"}"#.into(),
        format!(r#"{{"token": "{CANARY}", "sha256": "{digits}"}}"#),
        format!("\n\n{{\"token\": \"{CANARY}\"\n[\"{CANARY}\"]"),
        format!(r#"{{"scopes": "{CANARY}"}}"#),
        format!(r#"{{"{CANARY}": 1}}"#),
        r#"{"token": "\ud800", "token_hint": null}"#.into(),
        "[".repeat(200),
    ];
    let header = "key_id,scopes,projects,labels,lifetime,disabled,sha256,never_expires,token";
    let csv = [
        format!("{header}\na,x y,p,l=1 2;m=,1h,true,{digits},,\nb,,*,,,,,true,a-token-of-24-characters\n"),
        format!("{header}\n{CANARY}\n"),
        format!("token,lifetime,labels,disabled\n{CANARY},{CANARY},,\n{CANARY},,{CANARY},\n{CANARY},,,{CANARY}\n"),
        format!("token,{CANARY}\n"),
        format!("token\n\"{CANARY}\"\"\n"),
        "\u{feff}token\r\n\r\na-token-of-24-characters\r\n".into(),
    ];
    let file = |form: u8, text: &String| [&[form], text.as_bytes()].concat();
    let whole = jsonl.iter().map(|text| file(0, text));
    let mut seeds: Vec<_> = whole.chain(csv.iter().map(|text| file(1, text))).collect();
    seeds.extend([b"\0{\"token\": \"\xff\"}".to_vec(), b"\x01token\n\xff\n".to_vec()]);
    seeds
}
