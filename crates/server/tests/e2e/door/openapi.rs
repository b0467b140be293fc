//! The description of the door.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::http::{request, send};
use crate::support::{Authority, on_sqlite};

/// Every reference in a value.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| references(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

async fn every_unary_rpc_is_described_with_its_comments(authority: Authority) {
    let answer = send(authority.api(), request("GET", "/openapi.json", &[], "")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    for (method, is_streaming) in super::connect::methods() {
        let operation = &document["paths"][super::path(&method)]["post"];
        assert_eq!(operation.is_object(), !is_streaming, "{method}");
        if !is_streaming {
            assert!(operation["description"].as_str().unwrap().contains("Permission:"), "{method}");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method}");
        }
    }
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 40, "{found:?}");
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some_and(Value::is_object), "{reference} leads nowhere");
    }
    let schemas = &document["components"]["schemas"];
    let question = &schemas["keyauthority.v1.VerifyRequest"];
    assert!(question["properties"]["clientIp"]["description"].as_str().unwrap().len() > 20, "{question}");
    assert_eq!(question["additionalProperties"], false);
    let verdict = &schemas["keyauthority.v1.Verdict"];
    assert!(verdict["enum"].as_array().unwrap().contains(&"VERDICT_VALID".into()), "{verdict}");
    // The types of protobuf itself have forms of their own.
    let own = schemas.as_object().unwrap().keys().find(|name| name.starts_with("google.protobuf."));
    assert_eq!(own, None, "it needs a form in `schemas`");
    for path in ["/introspect", "/revoke", "/forward-auth"] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
}

async fn the_guide_lists_every_method(authority: Authority) {
    let document = send(authority.api(), request("GET", "/openapi.json", &[], "")).await.json();
    let mut table = "| method | what it does | permission |\n|---|---|---|\n".to_owned();
    for (method, _) in super::connect::methods().into_iter().filter(|(_, is_streaming)| !is_streaming) {
        let operation = &document["paths"][super::path(&method)]["post"];
        let description = operation["description"].as_str().unwrap();
        let permission = description.split("\n\n").find_map(|part| part.strip_prefix("Permission: ")).unwrap();
        let permission = permission.replace('\n', " ");
        let permission = permission.split(". ").next().unwrap().trim_end_matches('.');
        let summary = operation["summary"].as_str().unwrap();
        table.extend(["| `", &method, "` | ", summary, " | ", permission, " |\n"]);
    }
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/http.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, rest) = guide.split_once("<!-- methods:begin -->\n").unwrap();
    let (found, _) = rest.split_once("<!-- methods:end -->").unwrap();
    assert_eq!(found, table, "docs/http.md: the table of methods must be\n{table}");
}

on_sqlite! {
    the_guide_lists_every_method,
    every_unary_rpc_is_described_with_its_comments,
}
