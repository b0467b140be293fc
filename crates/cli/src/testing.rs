//! Items for the fuzz targets. This is not an interface: it changes with the code.

use key_authority_proto::v1::ImportedKey;

use crate::import_file::{Form, Line, Records};
use crate::json;

/// Reads a whole import file: the rows, and the error that ends the file, if there is one.
#[must_use]
pub fn read_import_file(file: &[u8], is_csv: bool) -> (Vec<Line>, Option<String>) {
    let mut records = match Records::begin(file, if is_csv { Form::Csv } else { Form::Jsonl }) {
        Ok(records) => records,
        Err(error) => return (Vec::new(), Some(error.to_string())),
    };
    let mut rows = Vec::new();
    loop {
        match records.next() {
            Ok(Some(row)) => rows.push(row),
            Ok(None) => return (rows, None),
            Err(error) => return (rows, Some(error.to_string())),
        }
    }
}

/// Prints a key as one line of a JSON import file; `None` if it has no JSON form.
#[must_use]
pub fn import_line(key: &ImportedKey) -> Option<String> {
    json::text(key).ok().map(|text| text.replace('\n', " "))
}
