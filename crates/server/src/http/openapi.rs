//! `GET /openapi.json`: the description of the door as `OpenAPI` 3.1, made from the descriptor set and its comments.

mod comments;
mod operations;
mod schemas;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use prost_reflect::DescriptorPool;
use serde_json::json;

use crate::version::VERSION;

/// Returns the document for the API in `pool`.
pub(super) fn document(pool: &DescriptorPool) -> Bytes {
    let (paths, schemas) = operations::describe(pool);
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Key Authority",
            "version": VERSION,
            "description": "Issues, verifies, renews and revokes API keys. Calls follow the Connect protocol.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "bearer": [] }],
        "tags": [
            { "name": "KeyAuthority", "description": "The calls of the gRPC service, with messages as JSON." },
            { "name": "Standards", "description": "Token introspection and revocation, and decisions for proxies." },
        ],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "A token of a key of account system." },
                "basic": {
                    "type": "http", "scheme": "basic",
                    "description": "The ID of a key of account system as user, and its token as password.",
                },
                "caller": {
                    "type": "apiKey", "in": "header", "name": "X-Key-Authority-Caller",
                    "description": "`Bearer` and the proxy's own token.",
                },
            },
            "responses": operations::responses(),
            "schemas": schemas,
        },
    });
    document.to_string().into()
}

/// Returns the response with the document, which is the same for as long as the server runs.
pub(super) fn reply(document: Bytes) -> Response {
    let mut response = Response::new(Body::from(document));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
