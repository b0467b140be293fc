//! JSON for the command line: of what a string holds, only letters, digits and a few harmless marks stand for themselves.
//!
//! On Windows a command may be a script of cmd, which reads the line a second time, and PowerShell hands quotation marks on
//! in one of two ways. Where nothing but quotation marks could be misread, there is nothing to misread.

use std::fmt::Write as _;

/// A string of JSON, in ASCII.
#[must_use]
pub fn string(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || "-._~:/?=".contains(c) {
            json.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing into a string does not fail.
                let _ = write!(json, "\\u{unit:04x}");
            }
        }
    }
    json.push('"');
    json
}

/// An object of JSON whose values are JSON already.
#[must_use]
pub fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{}:{value}", string(name))).collect();
    format!("{{{}}}", fields.join(","))
}
