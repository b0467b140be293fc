//! JSON for command lines: in a string, all characters but ASCII letters, digits and `-._~:/?=` are escaped.
//!
//! On Windows a command may be a cmd script, which parses the line a second time, and the two versions of PowerShell
//! pass quotation marks differently. Escaping leaves quotation marks as the only characters that a shell could
//! interpret.

use std::fmt::Write as _;

/// A JSON string in ASCII.
#[must_use]
pub fn string(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || "-._~:/?=".contains(c) {
            json.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a `String` cannot fail.
                let _ = write!(json, "\\u{unit:04x}");
            }
        }
    }
    json.push('"');
    json
}

/// A JSON object. The values must already be JSON.
#[must_use]
pub fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{}:{value}", string(name))).collect();
    format!("{{{}}}", fields.join(","))
}
