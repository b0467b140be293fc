//! Parser of import files: one JSON object on each line, or CSV with a header. A line that cannot be read does not stop
//! the import. Errors contain the line and the field, but never a value, which may be a secret.

use std::io::{self, Read};

use clap::ValueEnum;
use key_authority_proto::v1::ImportedKey;
use key_authority_proto::v1::imported_key::Secret;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::json as messages;

mod lines;
mod rows;
mod value;

use lines::Lines;
use rows::Rows;
use value::Kind;

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
    Jsonl(Lines<R>),
    Csv { columns: Vec<Column>, rows: Rows<R> },
}

/// The field of a column.
type Column = (&'static str, Kind);

impl<R: Read> Records<R> {
    /// Reads the header, if the format has one.
    ///
    /// # Errors
    /// If the file cannot be read, is UTF-16, or has no valid header.
    pub(crate) fn begin(from: R, form: Form) -> io::Result<Self> {
        let lines = Lines::begin(from)?;
        if form == Form::Jsonl {
            return Ok(Self::Jsonl(lines));
        }
        let mut rows = Rows::of(lines);
        let (_, header) = rows.next()?.ok_or_else(|| io::Error::other("is empty"))?;
        let columns = header.and_then(|names| columns(&names)).map_err(io::Error::other)?;
        Ok(Self::Csv { columns, rows })
    }

    /// Whether the format has a header.
    pub(crate) fn has_header(&self) -> bool {
        matches!(self, Self::Csv { .. })
    }

    /// The next key. Empty lines are skipped.
    ///
    /// # Errors
    /// If the file cannot be read further.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line>> {
        match self {
            Self::Jsonl(lines) => loop {
                let Some(line) = lines.next()? else { return Ok(None) };
                if !line.is_blank() {
                    return Ok(Some((line.number, lines::text(&line.bytes).and_then(of_json))));
                }
            },
            Self::Csv { columns, rows } => {
                let row = rows.next()?;
                Ok(row.map(|(line, cells)| (line, cells.and_then(|cells| of_cells(columns, &cells)))))
            }
        }
    }
}

/// The columns of a header.
fn columns(names: &[String]) -> Result<Vec<Column>, String> {
    let mut columns: Vec<Column> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let number = index + 1;
        let Some(column) = value::field(name) else {
            let hint = if names.len() == 1 && name.contains([';', '\t', '|']) {
                "; separate the columns with commas"
            } else {
                ""
            };
            return Err(format!("column {number} is unknown; expected one of {}{hint}", value::names()));
        };
        if let Some(first) = columns.iter().position(|&known| known == column) {
            return Err(format!("columns {} and {number} are both {}", first + 1, column.0));
        }
        columns.push(column);
    }
    Ok(columns)
}

fn of_cells(columns: &[Column], cells: &[String]) -> Result<ImportedKey, String> {
    if cells.len() != columns.len() {
        return Err(format!("has {} cells, but the header has {} columns", cells.len(), columns.len()));
    }
    if columns.iter().zip(cells).all(|(column, cell)| value::field(cell) == Some(*column)) {
        return Err("repeats the header".into());
    }
    let mut fields = Map::new();
    for ((name, kind), cell) in columns.iter().copied().zip(cells) {
        let value = value::of_cell(kind, cell).map_err(|rule| format!("{name}: {rule}"))?;
        fields.extend(value.map(|value| (name.to_owned(), value)));
    }
    of_fields(fields)
}

fn of_json(text: &str) -> Result<ImportedKey, String> {
    let object: Object = serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => "must be an object".to_owned(),
        // Syntax errors contain only the position, no value.
        _ => format!("is not JSON: {error}"),
    })?;
    let mut fields = Map::new();
    for (name, given) in object.0 {
        let (name, kind) =
            value::field(&name).ok_or_else(|| format!("has an unknown field; expected one of {}", value::names()))?;
        let given = value::of_json(kind, given).map_err(|rule| format!("{name}: {rule}"))?;
        if given.is_some_and(|given| fields.insert(name.to_owned(), given).is_some()) {
            return Err(format!("has the field {name} twice"));
        }
    }
    of_fields(fields)
}

/// The fields of a JSON object, including those that occur twice.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }

        from.deserialize_map(Fields)
    }
}

fn of_fields(mut fields: Map<String, Value>) -> Result<ImportedKey, String> {
    // It has the same effect as no expiry, and is often exported beside one.
    if fields.get("never_expires") == Some(&Value::Bool(false)) {
        fields.remove("never_expires");
    }
    // In protobuf JSON, bytes are base64. Digests are often hexadecimal, which is longer than 32 bytes in base64.
    let digest = take_hexadecimal(&mut fields);
    let found = |fields: Map<String, Value>| messages::message::<ImportedKey>(Value::Object(fields));
    let Some(mut key) = found(fields.clone()) else {
        let is_wrong =
            |(name, value): &(String, Value)| found([(name.clone(), value.clone())].into_iter().collect()).is_none();
        let wrong = fields.into_iter().find(is_wrong).and_then(|(name, _)| value::field(&name));
        return Err(match wrong {
            Some((name, kind)) => format!("{name}: {}", value::rule(kind)),
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
    if !value::is_digest(digits) {
        return None;
    }
    let pairs = digits.as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests;
