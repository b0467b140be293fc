//! Parser of import files: one JSON object on each line, or CSV with a header. Errors contain the line and the field,
//! but never a value, which may be a secret.

use std::io::{self, BufRead as _, BufReader, Read};

use clap::ValueEnum;
use key_authority_proto::v1::ImportedKey;
use key_authority_proto::v1::imported_key::Secret;
use serde_json::{Map, Value, json};

use crate::{fields, json as messages};

/// The format of an import file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// One JSON object on each line, with the fields of `ImportedKey`; digests in hexadecimal or base64
    Jsonl,
    /// Columns named after the fields of `ImportedKey`; lists are separated by spaces, labels by semicolons
    Csv,
}

/// A key or its error, and the line where it begins.
pub(crate) type Line = (u64, Result<ImportedKey, String>);

/// Reads the keys of a file.
pub(crate) enum Records<R> {
    Jsonl { lines: io::Lines<BufReader<R>>, line: u64 },
    Csv { columns: Vec<String>, records: csv::StringRecordsIntoIter<R> },
}

impl<R: Read> Records<R> {
    /// Reads the header, if the format has one.
    pub(crate) fn begin(from: R, form: Form) -> io::Result<Self> {
        if form == Form::Jsonl {
            return Ok(Self::Jsonl { lines: BufReader::new(from).lines(), line: 0 });
        }
        let mut reader = csv::Reader::from_reader(from);
        let columns: Vec<String> = reader.headers()?.iter().map(|name| name.trim().to_owned()).collect();
        if let Some(place) = columns.iter().position(|column| !COLUMNS.contains(&column.as_str())) {
            let known = COLUMNS.join(", ");
            return Err(io::Error::other(format!("column {} is unknown; expected one of {known}", place + 1)));
        }
        Ok(Self::Csv { columns, records: reader.into_records() })
    }

    /// The next key. Empty lines are skipped.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line>> {
        match self {
            Self::Jsonl { lines, line } => loop {
                let Some(text) = lines.next().transpose()? else { return Ok(None) };
                *line += 1;
                if !text.trim().is_empty() {
                    return Ok(Some((*line, of_json(&text))));
                }
            },
            Self::Csv { columns, records } => {
                let Some(record) = records.next().transpose()? else { return Ok(None) };
                let line = record.position().map_or(0, csv::Position::line);
                let cells = columns.iter().map(String::as_str).zip(record.iter());
                Ok(Some((line, of_cells(cells))))
            }
        }
    }
}

/// The known columns.
const COLUMNS: [&str; 15] = [
    "key_id",
    "display_name",
    "description",
    "scopes",
    "projects",
    "labels",
    "allowed_networks",
    "lifetime",
    "expire_time",
    "never_expires",
    "disabled",
    "token",
    "blake3",
    "sha256",
    "token_hint",
];

fn of_json(text: &str) -> Result<ImportedKey, String> {
    // Syntax errors contain only the position, no value.
    let value: Value = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    match value {
        Value::Object(fields) => of_fields(fields),
        _ => Err("must be an object".into()),
    }
}

fn of_cells<'a>(cells: impl Iterator<Item = (&'a str, &'a str)>) -> Result<ImportedKey, String> {
    let mut fields = Map::new();
    for (column, cell) in cells.map(|(column, cell)| (column, cell.trim())).filter(|(_, cell)| !cell.is_empty()) {
        fields.insert(column.to_owned(), of_cell(column, cell).map_err(|rule| format!("{column}: {rule}"))?);
    }
    of_fields(fields)
}

fn of_cell(column: &str, cell: &str) -> Result<Value, String> {
    let words = || cell.split_whitespace().collect::<Vec<_>>();
    Ok(match column {
        "scopes" | "allowed_networks" => json!(words()),
        "projects" if cell == "*" => json!({ "all": true }),
        "projects" => json!({ "only": words() }),
        "labels" => {
            let labels =
                cell.split(';').map(|label| fields::label(label.trim()).map(|(name, value)| (name, json!(value))));
            Value::Object(labels.collect::<Result<_, _>>()?)
        }
        "lifetime" => json!(format!("{}s", fields::duration(cell)?.seconds)),
        "never_expires" | "disabled" => json!(cell.parse::<bool>().map_err(|_| "write true or false")?),
        _ => json!(cell),
    })
}

fn of_fields(mut fields: Map<String, Value>) -> Result<ImportedKey, String> {
    // In protobuf JSON, bytes are base64. Digests are often hexadecimal, which is longer than 32 bytes in base64.
    let digest = take_hexadecimal(&mut fields);
    let found = |fields: Map<String, Value>| messages::message::<ImportedKey>(Value::Object(fields));
    let Some(mut key) = found(fields.clone()) else {
        let is_wrong =
            |(name, value): &(String, Value)| found([(name.clone(), value.clone())].into_iter().collect()).is_none();
        return Err(match fields.into_iter().find(is_wrong) {
            Some((name, _)) if COLUMNS.contains(&name.as_str()) => format!("{name}: wrong type of value"),
            Some(_) => format!("has an unknown field; expected one of {}", COLUMNS.join(", ")),
            None => "has two values where only one is allowed".into(),
        });
    };
    match (digest, &key.secret) {
        (None, _) => {}
        (secret, None) => key.secret = secret,
        (Some(_), Some(_)) => return Err("has more than one of token, blake3 and sha256".into()),
    }
    Ok(key)
}

fn take_hexadecimal(fields: &mut Map<String, Value>) -> Option<Secret> {
    let mut take = |name: &str| {
        let bytes = hexadecimal(fields.get(name)?.as_str()?)?;
        fields.remove(name);
        Some(bytes)
    };
    take("sha256").map(Secret::Sha256).or_else(|| take("blake3").map(Secret::Blake3))
}

/// Parses 64 hexadecimal digits.
fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let is_digest = digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let pairs = digits.as_bytes().chunks_exact(2).filter(|_| is_digest);
    let bytes: Vec<u8> =
        pairs.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    is_digest.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use key_authority_proto::v1::ProjectAccess;
    use key_authority_proto::v1::imported_key::Expiry;

    use super::*;

    fn read(text: &str, form: Form) -> Vec<Line> {
        let mut records = Records::begin(text.as_bytes(), form).unwrap();
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
        let [(1, Ok(key))] = &read(r#"{"blake3": "Dw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8="}"#, Form::Jsonl)[..]
        else {
            panic!("a key");
        };
        assert_eq!(key.secret, Some(Secret::Blake3(vec![15; 32])));
    }

    #[test]
    fn the_example_of_the_reference_can_be_parsed() {
        let (_, rest) = include_str!("../../../docs/keyctl.md").split_once("```json\n{\"key_id\"").unwrap();
        let (example, _) = rest.split_once("```").unwrap();
        let keys = read(&format!("{{\"key_id\"{example}"), Form::Jsonl);
        assert!(keys.len() == 2 && keys.iter().all(|(_, key)| key.is_ok()));
    }

    #[test]
    fn errors_contain_line_and_field_but_no_value() {
        let digits = "0f".repeat(32);
        let cases = [
            ("\n\n{\"token\": \"canary\"", 3, "is not JSON"),
            ("[\"canary\"]", 1, "must be an object"),
            (r#"{"scopes": "canary"}"#, 1, "scopes: wrong type of value"),
            (r#"{"expire_time": "canary"}"#, 1, "expire_time: wrong type of value"),
            (r#"{"canary": 1}"#, 1, "has an unknown field; expected one of key_id,"),
            (&format!(r#"{{"sha256": "{digits}", "token": "canary"}}"#), 1, "has more than one of token"),
            (&format!(r#"{{"sha256": "{digits}", "blake3": "{digits}"}}"#), 1, "has more than one of token"),
        ];
        for (text, line, expected) in cases {
            let [(at, Err(error))] = &read(text, Form::Jsonl)[..] else { panic!("{text}") };
            assert!(*at == line && error.contains(expected) && !error.contains("canary"), "{text}: {at} {error}");
        }
        let rows =
            read("token,lifetime,labels,disabled\ncanary,canary,,\ncanary,,canary,\ncanary,,,canary\n", Form::Csv);
        let errors: Vec<_> = rows.iter().map(|(line, key)| (*line, key.as_ref().unwrap_err().clone())).collect();
        assert!(errors.iter().all(|(_, error)| !error.contains("canary")), "{errors:?}");
        assert_eq!(errors.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 4]);
        let error = Records::begin("token,canary\n".as_bytes(), Form::Csv).err().unwrap().to_string();
        assert!(
            error.starts_with("column 2 is unknown; expected one of key_id") && !error.contains("canary"),
            "{error}"
        );
    }
}
