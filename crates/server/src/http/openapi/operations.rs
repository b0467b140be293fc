//! The paths of the door.

use key_authority_proto::v1::key_authority_server;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use serde_json::{Map, Value, json};

use super::comments::{Comments, summary};
use super::schemas::Schemas;
use crate::wire::methods::path;

/// The statuses of failed calls, each with its meaning.
const FAILURES: [(&str, &str); 12] = [
    ("400", "The request is invalid, or the policy or the state does not allow the change."),
    ("401", "The caller's token is missing or not valid."),
    ("403", "The caller's key lacks a permission."),
    ("404", "There is no such key or account, or the caller may not see it."),
    ("408", "The request did not arrive in time."),
    ("409", "The ID is in use, or the etag is not current."),
    ("413", "The body is too large."),
    ("415", "The content type or the content encoding is not supported."),
    ("429", "The caller has too many calls or changes in progress."),
    ("500", "The server failed; see its log."),
    ("503", "The database cannot be reached, or the replica has no lease. Repeat the request."),
    ("504", "The deadline passed."),
];

/// Returns the paths, and the schemas that they refer to.
pub(super) fn describe(pool: &DescriptorPool) -> (Map<String, Value>, Map<String, Value>) {
    let comments = Comments::of(pool);
    let mut schemas = Schemas::new(&comments);
    let mut paths = Map::new();
    let service = pool.get_service_by_name(key_authority_server::SERVICE_NAME);
    for method in service.iter().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        if !method.is_client_streaming() && !method.is_server_streaming() {
            paths.insert(path(method.name()), json!({ "post": operation(&method, &comments, &mut schemas) }));
        }
    }
    paths.insert("/introspect".to_owned(), introspect());
    paths.insert("/revoke".to_owned(), revoke());
    paths.insert("/forward-auth".to_owned(), forward_auth());
    let mut schemas = schemas.into_value();
    schemas.extend([("Error".to_owned(), error()), ("OAuthError".to_owned(), oauth_error())]);
    (paths, schemas)
}

/// Returns the responses that operations refer to.
pub(super) fn responses() -> Value {
    let content = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } });
    let all = FAILURES.iter().map(|(status, description)| {
        let mut response = json!({ "description": description, "content": content });
        if let ("503", Some(fields)) = (*status, response.as_object_mut()) {
            let header = json!({ "description": "Seconds.", "schema": { "type": "string" } });
            fields.insert("headers".to_owned(), json!({ "Retry-After": header }));
        }
        ((*status).to_owned(), response)
    });
    all.collect::<Map<_, _>>().into()
}

fn operation(method: &MethodDescriptor, comments: &Comments, schemas: &mut Schemas<'_>) -> Value {
    let comment = comments.get(&method.parent_file(), method.path());
    let mut responses: Map<String, Value> = FAILURES
        .iter()
        .map(|(status, _)| ((*status).to_owned(), json!({ "$ref": format!("#/components/responses/{status}") })))
        .collect();
    let content = json!({ "application/json": { "schema": schemas.message(&method.output()) } });
    responses.insert("200".to_owned(), json!({ "description": "The call succeeded.", "content": content }));
    json!({
        "operationId": method.name(),
        "tags": ["KeyAuthority"],
        "summary": summary(comment),
        "description": comment,
        "parameters": [
            {
                "name": "Connect-Protocol-Version", "in": "header", "description": "The version of the protocol.",
                "schema": { "type": "string", "enum": ["1"] },
            },
            {
                "name": "Connect-Timeout-Ms", "in": "header", "description": "The deadline, in milliseconds.",
                "schema": { "type": "string", "pattern": "^[0-9]{1,10}$" },
            },
        ],
        "requestBody": {
            "required": true,
            "content": { "application/json": { "schema": schemas.message(&method.input()) } },
        },
        "responses": responses,
    })
}

fn introspect() -> Value {
    let text = |description: &str| json!({ "type": "string", "minLength": 1, "description": description });
    let properties = json!({
        "token": text("The token."),
        "token_type_hint": text("Ignored: there is one type of token."),
        "scope": text("Scopes that the key must have, separated by spaces."),
        "account": text("The account that the key must belong to."),
        "project": text("The project that the key must cover."),
        "client_ip": text("The address of the client, for keys that are limited to networks."),
    });
    let form = json!({
        "type": "object", "properties": properties, "required": ["token"], "additionalProperties": false,
    });
    let answer = json!({
        "type": "object",
        "required": ["active"],
        "properties": {
            "active": { "type": "boolean", "description": "Whether the token is valid for all that was demanded." },
            "scope": { "type": "string", "description": "The scopes of the key, separated by spaces." },
            "client_id": { "type": "string", "description": "The ID of the key." },
            "sub": { "type": "string", "description": "The account of the key." },
            "exp": { "type": "integer", "description": "When the token ends, in seconds since 1970." },
            "token_type": { "type": "string", "enum": ["Bearer"] },
        },
        "additionalProperties": false,
    });
    json!({ "post": {
        "operationId": "introspect",
        "tags": ["Standards"],
        "summary": "Token introspection (RFC 7662)",
        "description": "Whether a token is valid. The permission is `verify`.",
        "security": [{ "bearer": [] }, { "basic": [] }],
        "requestBody": {
            "required": true,
            "content": { "application/x-www-form-urlencoded": { "schema": form } },
        },
        "responses": with_oauth_errors(json!({
            "description": "The state of the token.",
            "content": { "application/json": { "schema": answer } },
        })),
    } })
}

fn revoke() -> Value {
    let form = json!({
        "type": "object",
        "properties": {
            "token": { "type": "string", "minLength": 1, "description": "The token." },
            "token_type_hint": { "type": "string", "minLength": 1, "description": "Ignored: there is one type of token." },
        },
        "required": ["token"],
        "additionalProperties": false,
    });
    let mut responses = with_oauth_errors(json!({
        "description": "The key of the token is revoked, or no key has the token.",
    }));
    if let Some(responses) = responses.as_object_mut() {
        responses.insert("504".to_owned(), responses.get("503").cloned().unwrap_or_default());
    }
    json!({ "post": {
        "operationId": "revoke",
        "tags": ["Standards"],
        "summary": "Token revocation (RFC 7009)",
        "description": "Revokes the key of a token, permanently. The permission is `keys.revoke`; or `verify`, if the \
                        account's policy has `holder_may_revoke`.",
        "security": [{ "bearer": [] }, { "basic": [] }],
        "requestBody": {
            "required": true,
            "content": { "application/x-www-form-urlencoded": { "schema": form } },
        },
        "responses": responses,
    } })
}

fn with_oauth_errors(success: Value) -> Value {
    let content = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/OAuthError" } } });
    let of_oauth = FAILURES.iter().filter(|(status, _)| !["404", "409", "504"].contains(status));
    let mut responses: Map<String, Value> = of_oauth
        .map(|(status, description)| ((*status).to_owned(), json!({ "description": description, "content": content })))
        .collect();
    for status in ["408", "429"] {
        responses.insert(status.to_owned(), json!({ "$ref": format!("#/components/responses/{status}") }));
    }
    responses.insert("200".to_owned(), success);
    responses.into()
}

fn forward_auth() -> Value {
    let query = |name: &str, description: &str| {
        json!({
            "name": name, "in": "query", "description": description, "schema": { "type": "string", "minLength": 1 },
        })
    };
    let content = json!({ "application/json": { "schema": {
        "type": "object",
        "required": ["message"],
        "properties": {
            "error": { "type": ["string", "null"] },
            "message": { "type": "string" },
            "verdict": { "type": "string" },
            "missing_scopes": { "type": "array", "items": { "type": "string" } },
        },
    } } });
    let denied = |description: &str| json!({ "description": description, "content": content });
    json!({ "get": {
        "operationId": "forwardAuth",
        "tags": ["Standards"],
        "summary": "May a request pass?",
        "description": "For proxies that ask by HTTP, with any method. The headers of the visitor's request are \
                        forwarded. The permission is `verify`.",
        "security": [{ "caller": [] }],
        "parameters": [
            query("account", "The account that the key must belong to."),
            query("project", "The project that the key must cover."),
            query("scope", "Scopes that the key must have, separated by spaces. It may be repeated."),
            query("token_in", "The places of tokens, as bearer,basic,x-api-key,query:NAME."),
        ],
        "responses": {
            "200": { "description": "The request may pass. Headers X-Key-* describe the key." },
            "400": denied("The visitor's request has two different tokens, or a header whose name is reserved."),
            "401": denied("The visitor's token is missing or not valid."),
            "403": denied("The visitor's key does not suffice."),
            "408": { "$ref": "#/components/responses/408" },
            "429": { "$ref": "#/components/responses/429" },
            "500": denied("The proxy is misconfigured, or may not ask."),
            "503": denied("An outage; it is no denial."),
        },
    } })
}

fn error() -> Value {
    json!({
        "type": "object",
        "description": "The error of a call, as the Connect protocol defines it.",
        "required": ["code"],
        "properties": {
            "code": { "type": "string", "description": "The name of a gRPC status code, as in `not_found`." },
            "message": { "type": "string" },
            "details": { "type": "array", "items": {
                "type": "object",
                "required": ["type", "value"],
                "properties": {
                    "type": { "type": "string", "description": "The type of the message, as in `google.rpc.ErrorInfo`." },
                    "value": { "type": "string", "description": "The encoded message, in base64 without padding." },
                    "debug": { "description": "The message as JSON, for people." },
                },
            } },
        },
    })
}

fn oauth_error() -> Value {
    json!({
        "type": "object",
        "description": "The error of an OAuth endpoint (RFC 6749, 5.2).",
        "required": ["error"],
        "properties": { "error": { "type": "string" }, "error_description": { "type": "string" } },
    })
}
