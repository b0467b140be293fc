//! Values as other programs write them, as values of the JSON form of `ImportedKey`. What is ambiguous is an error that
//! shows a right value. Errors never contain the value, which may be a secret.

use serde_json::{Map, Value, json};

use crate::fields;

/// The kind of a field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    List,
    Projects,
    Labels,
    Lifetime,
    Time,
    Boolean,
    Digest,
}

/// The fields of `ImportedKey`.
pub(super) const FIELDS: [(&str, Kind); 15] = [
    ("key_id", Kind::Text),
    ("display_name", Kind::Text),
    ("description", Kind::Text),
    ("scopes", Kind::List),
    ("projects", Kind::Projects),
    ("labels", Kind::Labels),
    ("allowed_networks", Kind::List),
    ("lifetime", Kind::Lifetime),
    ("expire_time", Kind::Time),
    ("never_expires", Kind::Boolean),
    ("disabled", Kind::Boolean),
    ("token", Kind::Text),
    ("blake3", Kind::Digest),
    ("sha256", Kind::Digest),
    ("token_hint", Kind::Text),
];

/// The field with this name: `key_id`, `keyId` or `KEY_ID`.
pub(super) fn field(name: &str) -> Option<(&'static str, Kind)> {
    let is_capitals = !name.contains(|c: char| c.is_ascii_lowercase());
    let mut snake = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_uppercase() && !is_capitals {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    FIELDS.into_iter().find(|(known, _)| *known == snake)
}

/// The names of all fields, for errors.
pub(super) fn names() -> String {
    FIELDS.map(|(name, _)| name).join(", ")
}

/// The rule for values of a kind, with an example.
pub(super) fn rule(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => r#"must be text, such as "ci""#,
        Kind::List => r#"must be a list of texts, such as ["a", "b"]"#,
        Kind::Projects => r#"must be like {"only": ["a", "b"]} or {"all": true}"#,
        Kind::Labels => r#"must have a text for each name, such as {"team": "shop"}"#,
        Kind::Lifetime => "must be a length of time, such as 30d",
        Kind::Time => "must be a time, such as 2027-01-31T12:00:00Z",
        Kind::Boolean => "must be true or false",
        Kind::Digest => "must be 64 hexadecimal digits, or 32 bytes in base64",
    }
}

/// The value of a cell. None: the cell leaves the field unset.
pub(super) fn of_cell(kind: Kind, cell: &str) -> Result<Option<Value>, String> {
    if matches!(cell, "" | r"\N" | "NULL" | "null") {
        return Ok(None);
    }
    let value = match kind {
        Kind::Text => json!(cell),
        Kind::List => json!(list(cell)?),
        Kind::Projects if cell == "*" => json!({ "all": true }),
        Kind::Projects => object(cell).map_or_else(|| list(cell).map(|only| json!({ "only": only })), Ok)?,
        Kind::Labels => object(cell).map_or_else(|| labels(cell), Ok)?,
        Kind::Lifetime => {
            let length = fields::duration(cell)?;
            json!(format!("{}.{:09}s", length.seconds, length.nanos))
        }
        Kind::Time => json!(fields::time(cell)?.to_string()),
        Kind::Boolean => json!(fields::boolean(cell)?),
        Kind::Digest => json!(hexadecimal(cell)),
    };
    Ok(Some(value))
}

/// The value of a field of a JSON object. None: it leaves the field unset.
pub(super) fn of_json(kind: Kind, value: Value) -> Result<Option<Value>, String> {
    match (kind, value) {
        (_, Value::Null) => Ok(None),
        (Kind::Lifetime | Kind::Time | Kind::Boolean | Kind::Digest, Value::String(text)) => of_cell(kind, text.trim()),
        (Kind::Time | Kind::Boolean, Value::Number(number)) => of_cell(kind, &number.to_string()),
        (_, value) => Ok(Some(value)),
    }
}

fn labels(cell: &str) -> Result<Value, String> {
    let pairs = cell.split(';').map(str::trim).filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| fields::label(pair).map(|(name, value)| (name, json!(value))));
    Ok(Value::Object(pairs.collect::<Result<_, _>>()?))
}

fn object(cell: &str) -> Option<Value> {
    serde_json::from_str::<Map<String, Value>>(cell).ok().map(Value::Object)
}

/// The items of a cell: words, or an array of PostgreSQL or JSON.
fn list(cell: &str) -> Result<Vec<String>, String> {
    if let Ok(items) = serde_json::from_str(cell) {
        return Ok(items);
    }
    if let Some(items) = cell.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return array(items).ok_or_else(|| "must be like {a,b}".into());
    }
    if cell.contains(',') {
        return Err("must be separated by spaces, such as a b, or written as an array, such as {a,b}".into());
    }
    Ok(cell.split_whitespace().map(str::to_owned).collect())
}

/// The items of an array of PostgreSQL, in which a backslash precedes special characters. Absent items are left out.
fn array(items: &str) -> Option<Vec<String>> {
    let (mut found, mut item) = (Vec::new(), String::new());
    let (mut is_open, mut is_quoted) = (false, false);
    let mut rest = items.chars().chain((!items.is_empty()).then_some(','));
    while let Some(c) = rest.next() {
        match c {
            '\\' => item.push(rest.next()?),
            '"' => (is_open, is_quoted) = (!is_open, true),
            ',' if !is_open => {
                let text = item.trim();
                if is_quoted || text != "NULL" {
                    found.push(text.to_owned());
                }
                (is_quoted, item) = (false, String::new());
            }
            _ => item.push(c),
        }
    }
    // Otherwise a backslash precedes the end.
    (!is_open && item.is_empty()).then_some(found)
}

/// The digits of a digest without the prefixes of PostgreSQL (`\x`) and of other databases (`0x`). Base64 stays.
fn hexadecimal(cell: &str) -> &str {
    let digits = [r"\x", "0x", "0X"].into_iter().find_map(|prefix| cell.strip_prefix(prefix));
    digits.filter(|digits| is_digest(digits)).unwrap_or(cell)
}

/// Whether a text is a digest of 32 bytes in hexadecimal.
pub(super) fn is_digest(digits: &str) -> bool {
    digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}
