//! The errors of JSON texts that cannot be read. They never repeat a value, which may be a secret in the wrong field.

use serde_json::error::Category;

use crate::rpc::errors::RpcError;

/// The field of errors about the text as a whole.
pub(super) const BODY: &str = "body";

/// Returns the error of a text that cannot be read.
pub(super) fn malformed(error: &serde_json::Error) -> RpcError {
    let rule = match error.classify() {
        // These messages of serde_json have no values.
        Category::Syntax | Category::Eof | Category::Io => format!("must be JSON: {error}"),
        Category::Data => {
            let (line, column) = (error.line(), error.column());
            format!("must have values of the types that the API defines; see line {line} column {column}")
        }
    };
    RpcError::invalid(BODY, &rule)
}
