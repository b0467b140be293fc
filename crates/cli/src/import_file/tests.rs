//! Tests of the parser.

use key_authority_proto::v1::ProjectAccess;
use key_authority_proto::v1::imported_key::Expiry;

use super::*;

fn read(text: impl AsRef<[u8]>, form: Form) -> Vec<Line> {
    let mut records = Records::begin(text.as_ref(), form).unwrap();
    std::iter::from_fn(|| records.next().unwrap()).collect()
}

#[test]
fn both_formats_are_equivalent() {
    let digits = "0f".repeat(32);
    let jsonl = format!(
        r#"{{"key_id": "a", "scopes": ["x", "y"], "projects": {{"only": ["p"]}}, "labels": {{"l": "1 2", "m": ""}}, "lifetime": "3600s", "disabled": true, "sha256": "{digits}"}}
        {{"keyId": "b", "projects": {{"all": true}}, "neverExpires": true, "token": "a-token-of-24-characters"}}"#
    );
    let csv = format!(
        "key_id,scopes,projects,labels,lifetime,disabled,sha256,never_expires,token\n\
         a,x y,p,l=1 2;m=,1h,true,{digits},,\n\
         b,,*,,,,,true,a-token-of-24-characters\n"
    );
    let keys = |lines: Vec<Line>| lines.into_iter().map(|(_, key)| key.unwrap()).collect::<Vec<_>>();
    let (from_json, from_csv) = (keys(read(&jsonl, Form::Jsonl)), keys(read(&csv, Form::Csv)));
    assert_eq!(from_json, from_csv);
    let [a, b] = &from_json[..] else { panic!("two keys") };
    assert_eq!(a.secret, Some(Secret::Sha256(vec![15; 32])));
    assert!(a.expiry == Some(Expiry::Lifetime(prost_types::Duration { seconds: 3600, nanos: 0 })));
    assert_eq!(b.projects, Some(ProjectAccess { all: true, only: Vec::new() }));
}

#[test]
fn a_digest_may_be_in_base64() {
    let [(1, Ok(key))] = &read(r#"{"blake3": "Dw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8="}"#, Form::Jsonl)[..] else {
        panic!("a key");
    };
    assert_eq!(key.secret, Some(Secret::Blake3(vec![15; 32])));
}

#[test]
fn the_example_of_the_reference_can_be_parsed() {
    let (_, rest) = include_str!("../../../../docs/keyctl.md").split_once("```json\n{\"key_id\"").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let keys = read(format!("{{\"key_id\"{example}"), Form::Jsonl);
    assert!(keys.len() == 2 && keys.iter().all(|(_, key)| key.is_ok()));
}

#[test]
fn errors_contain_line_and_field_but_no_value() {
    let digits = "0f".repeat(32);
    let cases = [
        ("\n\n{\"token\": \"canary\"", 3, "is not JSON"),
        ("[\"canary\"]", 1, "must be an object"),
        (r#"{"scopes": "canary"}"#, 1, "scopes: must be a list of texts, such as [\"a\", \"b\"]"),
        (r#"{"expire_time": "canary"}"#, 1, "expire_time: write it like 2027-01-31T12:00:00Z"),
        (r#"{"canary": 1}"#, 1, "has an unknown field; expected one of key_id,"),
        (&format!(r#"{{"sha256": "{digits}", "token": "canary"}}"#), 1, "has more than one of token"),
        (&format!(r#"{{"sha256": "{digits}", "blake3": "{digits}"}}"#), 1, "has more than one of token"),
    ];
    for (text, line, expected) in cases {
        let [(at, Err(error))] = &read(text, Form::Jsonl)[..] else { panic!("{text}") };
        assert!(*at == line && error.contains(expected) && !error.contains("canary"), "{text}: {at} {error}");
    }
    let rows = read("token,lifetime,labels,disabled\ncanary,canary,,\ncanary,,canary,\ncanary,,,canary\n", Form::Csv);
    let errors: Vec<_> = rows.iter().map(|(line, key)| (*line, key.as_ref().unwrap_err().clone())).collect();
    assert!(errors.iter().all(|(_, error)| !error.contains("canary")), "{errors:?}");
    assert_eq!(errors.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 4]);
    let error = Records::begin("token,canary\n".as_bytes(), Form::Csv).err().unwrap().to_string();
    assert!(error.starts_with("column 2 is unknown; expected one of key_id") && !error.contains("canary"), "{error}");
}

/// The lines of a file, each with its key ID or its error.
fn outcomes(text: impl AsRef<[u8]>, form: Form) -> Vec<(u64, Result<String, String>)> {
    read(text, form).into_iter().map(|(line, key)| (line, key.map(|key| key.key_id))).collect()
}

/// Asserts that the second of three keys is reported with `error` at `line`, and that the others are read.
#[track_caller]
fn assert_only_second_is_bad(text: impl AsRef<[u8]>, form: Form, line: u64, error: &str) {
    let outcomes = outcomes(text, form);
    let [(_, first), (at, Err(found)), (_, third)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert!(first.as_deref() == Ok("a") && third.as_deref() == Ok("c"), "{outcomes:?}");
    assert!(*at == line && found.contains(error), "{outcomes:?}");
}

#[test]
fn an_invalid_row_of_csv_does_not_stop_the_import() {
    let file = |row: &[u8]| [b"key_id,display_name\na,A\n".as_slice(), row, b"\nc,C\n"].concat();
    for (row, error) in [
        (&b"b,B,"[..], "has 3 cells, but the header has 2 columns"),
        (b"b", "has 1 cells, but the header has 2 columns"),
        (b"b,caf\xe9", "is not UTF-8 (after 5 valid bytes)"),
        (b"b,\0", "contains a NUL byte"),
        (b"b,\"B", "has a quoted cell without a closing quote"),
        (b"b,\"B\"B", "has text after the closing quote"),
        (b"b,B\rb,B", "has a carriage return within"),
        (b"key_id,display_name", "repeats the header"),
    ] {
        assert_only_second_is_bad(file(row), Form::Csv, 3, error);
    }
    assert_only_second_is_bad(
        file("x".repeat(lines::LINE_BYTES_MAX + 1).as_bytes()),
        Form::Csv,
        3,
        "is larger than 1 MiB",
    );
    let closed_later = "key_id,display_name\na,A\nb,\"B\nc,\"C\"\n";
    assert_only_second_is_bad(closed_later, Form::Csv, 3, "has a quoted cell without a closing quote");
}

#[test]
fn an_invalid_line_of_json_does_not_stop_the_import() {
    let file = |line: &[u8]| [b"{\"key_id\": \"a\"}\n".as_slice(), line, b"\n{\"key_id\": \"c\"}"].concat();
    for (line, error) in [
        (&b"{\"key_id\": \"b\"},"[..], "is not JSON"),
        (b"{\"key_id\": \"caf\xe9\"}", "is not UTF-8 (after 15 valid bytes)"),
        (b"{\"key_id\": \"b\0\"}", "contains a NUL byte"),
        (b"{\"key_id\": \"b", "is not JSON"),
        (b"{\"key_id\": \"b\", \"keyId\": \"b\"}", "has the field key_id twice"),
        (b"{\"token\": \"b\", \"token\": \"b\"}", "has the field token twice"),
        (b"null", "must be an object"),
    ] {
        assert_only_second_is_bad(file(line), Form::Jsonl, 2, error);
    }
    assert_only_second_is_bad(
        file("x".repeat(lines::LINE_BYTES_MAX + 1).as_bytes()),
        Form::Jsonl,
        2,
        "is larger than 1 MiB",
    );
}

#[test]
fn files_are_accepted_as_programs_write_them() {
    let csv = "key_id,display_name\na,A\nb,B\n";
    let jsonl = "{\"key_id\": \"a\", \"display_name\": \"A\"}\n{\"key_id\": \"b\", \"display_name\": \"B\"}\n";
    let expected = read(csv, Form::Csv);
    for (text, form) in [(csv, Form::Csv), (jsonl, Form::Jsonl)] {
        let keys = |text: &str| read(text, form).into_iter().map(|(_, key)| key.unwrap()).collect::<Vec<_>>();
        let expected: Vec<_> = expected.iter().map(|(_, key)| key.clone().unwrap()).collect();
        assert_eq!(keys(&format!("\u{feff}{text}")), expected, "byte order mark");
        assert_eq!(keys(&text.replace('\n', "\r\n")), expected, "CR LF");
        assert_eq!(keys(text.trim_end()), expected, "no line break at the end");
        assert_eq!(keys(&text.replace('\n', "\n\n")), expected, "empty lines");
        assert_eq!(keys(&format!("{text}\0").replace('\0', "\r\n \r\n")), expected, "spaces at the end");
    }
    let joined = format!("\u{feff}{jsonl}\u{feff}{jsonl}");
    assert!(read(joined, Form::Jsonl).iter().all(|(_, key)| key.is_ok()));
    for text in [
        "KEY_ID,DISPLAY_NAME\na,A\nb,B\n",
        "keyId, displayName\na, A\nb ,B \n",
        "\u{feff}\"key_id\",\"display_name\"\n\"a\",\"A\"\n\"b\", \"B\" \n,\n",
    ] {
        assert_eq!(read(text, Form::Csv), expected, "{text}");
    }
    let lines = read("description,key_id\n\"one, \"\"two\"\"\r\nthree\",a\n,b\n", Form::Csv);
    let [(2, Ok(a)), (4, Ok(_))] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(a.description, "one, \"two\"\r\nthree");
}

#[test]
fn a_file_without_a_usable_start_is_rejected() {
    for (text, form, error) in [
        (&b""[..], Form::Csv, "is empty"),
        (b"\xef\xbb\xbf\r\n", Form::Csv, "is empty"),
        (b"token,key_id,token\n", Form::Csv, "columns 1 and 3 are both token"),
        (b"token,keyId,KEY_ID\n", Form::Csv, "columns 2 and 3 are both key_id"),
        (b"token;key_id\n", Form::Csv, "column 1 is unknown"),
        (b"token;key_id\n", Form::Csv, "separate the columns with commas"),
        (b"token\tkey_id\n", Form::Csv, "separate the columns with commas"),
        (b"token,key\xe9\n", Form::Csv, "is not UTF-8"),
        (b"\xff\xfet\0o\0", Form::Csv, "is UTF-16; save it as UTF-8"),
        (b"\xfe\xff\0{\0}", Form::Jsonl, "is UTF-16; save it as UTF-8"),
    ] {
        let found = Records::begin(text, form).err().unwrap().to_string();
        assert!(found.contains(error), "{found}");
    }
}

#[test]
fn cells_are_accepted_as_databases_write_them() {
    let digits = "0f".repeat(32);
    let key = |column: &str, cell: &str| {
        let cell = cell.replace('"', "\"\"");
        let lines = read(format!("key_id,{column}\na,\"{cell}\"\n"), Form::Csv);
        lines.into_iter().next().unwrap().1
    };
    let unset = key("scopes", "").unwrap();
    for (column, _) in value::FIELDS.into_iter().filter(|(column, _)| *column != "key_id") {
        for cell in [r"\N", "NULL", "null", " "] {
            assert_eq!(key(column, cell).as_ref(), Ok(&unset), "{column}: {cell}");
        }
    }
    for cell in ["t", "TRUE", "yes", "1", " true "] {
        assert!(key("disabled", cell).unwrap().disabled, "{cell}");
    }
    for cell in ["2030-01-01 00:00:00+00", "2030-01-01T00:00:00.000Z", "1893456000", "1893456000000"] {
        let moment = prost_types::Timestamp { seconds: 1_893_456_000, nanos: 0 };
        assert!(key("expire_time", cell).unwrap().expiry == Some(Expiry::ExpireTime(moment)), "{cell}");
    }
    for cell in [digits.clone(), digits.to_uppercase(), format!(r"\x{digits}"), format!("0x{digits}")] {
        assert_eq!(key("sha256", &cell).unwrap().secret, Some(Secret::Sha256(vec![15; 32])), "{cell}");
    }
    for cell in ["a b", "{a,b}", r#"{"a",b,NULL}"#, r#"["a", "b"]"#, " a  b "] {
        assert_eq!(key("scopes", cell).unwrap().scopes, ["a", "b"], "{cell}");
        assert_eq!(key("projects", cell).unwrap().projects.unwrap().only, ["a", "b"], "{cell}");
    }
    assert_eq!(key("projects", r#"{"a b","c\"d", e\,f}"#).unwrap().projects.unwrap().only, ["a b", "c\"d", "e,f"]);
    assert_eq!(key("scopes", "{}").unwrap().scopes, [""; 0]);
    for cell in [r#"{"a}"#, r"{a\}"] {
        assert!(key("scopes", cell).is_err(), "{cell}");
    }
    assert_eq!(key("projects", r#"{"only": ["a b"]}"#).unwrap().projects.unwrap().only, ["a b"]);
    for cell in ["team=shop;env=prod", "team=shop; env=prod;", r#"{"team": "shop", "env": "prod"}"#] {
        assert_eq!(key("labels", cell).unwrap().labels.len(), 2, "{cell}");
    }
    let length = prost_types::Duration { seconds: 1, nanos: 500_000_000 };
    assert!(key("lifetime", "1500ms").unwrap().expiry == Some(Expiry::Lifetime(length)));
    let both = read("expire_time,never_expires\n2030-01-01 00:00:00+00,FALSE\n", Form::Csv);
    assert!(matches!(&both[..], [(2, Ok(key))] if matches!(key.expiry, Some(Expiry::ExpireTime(_)))), "{both:?}");
}

#[test]
fn fields_of_json_are_accepted_as_databases_write_them() {
    let key = |field: &str| read(format!("{{{field}}}"), Form::Jsonl).into_iter().next().unwrap().1;
    for field in [r#""disabled": 1"#, r#""disabled": "t""#, r#""DISABLED": "TRUE""#] {
        assert!(key(field).unwrap().disabled, "{field}");
    }
    for field in [r#""expireTime": 1893456000"#, r#""expire_time": "2030-01-01 00:00:00+00", "token": null"#] {
        assert!(matches!(key(field).unwrap().expiry, Some(Expiry::ExpireTime(_))), "{field}");
    }
    let digits = "0f".repeat(32);
    for field in [format!(r#""sha256": "\\x{digits}""#), format!(r#""sha256": "0x{digits}", "never_expires": 0"#)] {
        assert_eq!(key(&field).unwrap().secret, Some(Secret::Sha256(vec![15; 32])), "{field}");
    }
    assert!(matches!(key(r#""lifetime": "30d""#).unwrap().expiry, Some(Expiry::Lifetime(_))));
    assert_eq!(key(r#""lifetime": "", "expire_time": "NULL""#), key(""));
}

#[test]
fn errors_of_values_show_a_right_one() {
    for (column, cell, rule) in [
        ("disabled", "canary", "must be true or false"),
        ("disabled", "2", "must be true or false"),
        ("expire_time", "2030-01-01 00:00:00", "lacks a time zone: write it like 2027-01-31T12:00:00Z"),
        ("expire_time", "01.01.2030", "write it like 2027-01-31T12:00:00Z"),
        ("lifetime", "3600", "write it like 30d"),
        ("labels", "canary", "write it like NAME=VALUE"),
        ("labels", r#"{""team"": 1}"#, r#"must have a text for each name, such as {"team": "shop"}"#),
        ("scopes", "canary,canary", "must be separated by spaces, such as a b, or written as an array, such as {a,b}"),
        ("projects", r#"{""only"": 1}"#, r#"must be like {"only": ["a", "b"]} or {"all": true}"#),
        ("sha256", "canary canary", "must be 64 hexadecimal digits, or 32 bytes in base64"),
    ] {
        let lines = read(format!("{column}\n\"{cell}\"\n"), Form::Csv);
        let [(2, Err(error))] = &lines[..] else { panic!("{column}: {cell}: {lines:?}") };
        assert!(error.starts_with(&format!("{column}: {rule}")) && !error.contains("canary"), "{error}");
    }
    let number = read(r#"{"key_id": 7}"#, Form::Jsonl);
    assert_eq!(number, [(1, Err(r#"key_id: must be text, such as "ci""#.to_owned()))]);
}
