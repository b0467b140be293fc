//! Requests that are wrong are refused with what is wrong, and nothing happens.

use key_authority_proto::v1::*;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{JSON, call, failed, path};
use crate::support::http::{request, send, send_http2};
use crate::support::{Authority, in_time, on_sqlite};

async fn a_misspelled_field_widens_nothing(authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let root = authority.root_token();
    for (body, field) in [
        (r#"{"account": "acme", "scops": ["read"]}"#, "scops"),
        (r#"{"account": "acme", "projects": {"al": true}}"#, "projects.al"),
        (r#"{"account": "acme", "scopes": ["read"], "scopes": []}"#, "scopes"),
        (r#"{"account": "acme", "allowedNetworks": ["10.0.0.0/8"], "allowed_networks": []}"#, "allowed_networks"),
    ] {
        let answer = call(&authority, "CreateKey", &root, body).await;
        let text = failed(&answer, 400, "invalid_argument", "FIELD_INVALID").to_string();
        assert!(text.contains(&format!("\"field\":\"{field}\"")) && text.contains("line 1 column"), "{text}");
    }
    assert!(authority.client().keys_of("acme").await.is_empty());
    let question = json!({"token": "t", "scops": ["admin"]}).to_string();
    failed(&call(&authority, "Verify", &root, question).await, 400, "invalid_argument", "FIELD_INVALID");
}

async fn broken_json_is_refused_with_its_place(authority: Authority) {
    let root = authority.root_token();
    for (body, place) in [
        ("", "line 1 column 0"),
        ("{\"keyId\":\n\"canary\",}", "line 2 column 10"),
        ("{} {}", "line 1 column 4"),
        ("[]", "line 1 column"),
        (r#"{"keyId": 7}"#, "line 1 column"),
        (r#"{"keyId": ["canary"]}"#, "line 1 column"),
        (&"[".repeat(100_000), "line 1 column 1"),
        (&format!("{{\"keyId\": {}", "[".repeat(100_000)), "EOF while parsing a list at line 1 column"),
    ] {
        let answer = call(&authority, "GetKey", &root, body.to_owned()).await;
        let text = failed(&answer, 400, "invalid_argument", "FIELD_INVALID").to_string();
        assert!(text.contains(place) && !text.contains("canary"), "{text}");
    }
    // Bytes that are no message, as protobuf.
    let bearer = format!("Bearer {root}");
    let headers = [("content-type", "application/proto"), ("authorization", bearer.as_str())];
    let answer = send(authority.api(), request("POST", &path("GetKey"), &headers, &b"\xff\xff"[..])).await;
    failed(&answer, 400, "invalid_argument", "FIELD_INVALID");
}

async fn what_is_no_call_is_refused_by_its_kind(authority: Authority) {
    let bearer = format!("Bearer {}", authority.root_token());
    let (get_key, authorization) = (path("GetKey"), ("authorization", bearer.as_str()));
    let status = async |method: &str, path: &str, headers: &[(&str, &str)]| {
        let answer = send(authority.api(), request(method, path, headers, "{}")).await;
        assert_eq!(answer.header("content-type"), Some("application/json"), "{method} {path} {answer:?}");
        assert!(answer.json()["message"].is_string(), "{method} {path}");
        answer
    };
    for nowhere in ["/", "/nowhere", "/keyauthority.v1.KeyAuthority", &path("Nothing"), "/keyauthority.v1.Other/GetKey"]
    {
        assert_eq!(status("POST", nowhere, &[JSON, authorization]).await.status, 404, "{nowhere}");
    }
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "SPY"] {
        let answer = status(method, &get_key, &[JSON, authorization]).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
    }
    for content_type in
        ["text/plain", "application/grpc", "application/connect+json", "application/x-www-form-urlencoded"]
    {
        let answer = status("POST", &get_key, &[("content-type", content_type), authorization]).await;
        assert_eq!((answer.status, answer.header("accept-post").is_some()), (415, true), "{content_type}");
    }
    assert_eq!(status("POST", &get_key, &[authorization]).await.status, 415, "no content type");
    let compressed = status("POST", &get_key, &[JSON, authorization, ("content-encoding", "gzip")]).await;
    assert_eq!((compressed.status, compressed.header("accept-encoding")), (415, Some("identity")));
    for (name, value) in [("connect-protocol-version", "2"), ("connect-timeout-ms", "soon")] {
        let answer = status("POST", &get_key, &[JSON, authorization, (name, value)]).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("invalid_argument")), "{name}");
    }
    let json = ("content-type", "Application/JSON; charset=utf-8");
    let answer = status("POST", &get_key, &[json, authorization, ("content-encoding", "identity")]).await;
    assert_eq!(answer.status, 400, "it is a call, whose key_id is missing");
    assert_eq!(status("GET", "/nowhere", &[("accept", "text/html")]).await.status, 404);
}

async fn bodies_heads_and_urls_have_limits(authority: Authority) {
    let bearer = format!("Bearer {}", authority.root_token());
    let headers = [JSON, ("authorization", bearer.as_str())];
    let large = format!("{{\"keyId\": \"{}\"}}", "x".repeat(2 << 20));
    let answer = send_http2(authority.api(), request("POST", &path("GetKey"), &headers, large.clone())).await;
    assert_eq!((answer.status, &answer.json()["code"]), (413, &json!("out_of_range")), "{answer:?}");
    // A question has a limit of its own, as by gRPC.
    let question = format!("{{\"token\": \"{}\"}}", "x".repeat(100 << 10));
    let answer = send(authority.api(), request("POST", &path("Verify"), &headers, question)).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    // Nothing is read of a stranger's call.
    let answer = send_http2(authority.api(), request("POST", &path("GetKey"), &[JSON], large)).await;
    failed(&answer, 401, "unauthenticated", "CALLER_UNKNOWN");

    let raw = async |head: String| {
        let mut stream = TcpStream::connect(authority.api()).await.unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = in_time("an answer", stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    // By HTTP/1.1 a length that is too large is enough.
    let answer = raw(format!(
        "POST {} HTTP/1.1\r\nhost: a\r\nauthorization: {bearer}\r\ncontent-type: application/json\r\n\
         content-length: 2000000\r\n\r\n",
        path("GetKey"),
    ));
    let answer = answer.await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let answer = raw(format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(20 << 10))).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let answer = raw(format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(20 << 10))).await;
    assert!(answer.starts_with("HTTP/1.1 431") || answer.starts_with("HTTP/1.1 414"), "{answer}");
    let many = (0..200).map(|number| format!("x{number}: 1\r\n")).collect::<Vec<_>>().concat();
    assert!(raw(format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n")).await.starts_with("HTTP/1.1 431"));
    assert!(raw("nonsense\r\n\r\n".to_owned()).await.starts_with("HTTP/1.1 400"));
}

async fn a_body_that_is_cut_off_changes_nothing(authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let body = r#"{"account": "acme"}"#;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nauthorization: Bearer {}\r\n\
         content-length: {}\r\n\r\n",
        path("CreateKey"),
        authority.root_token(),
        body.len() + 1,
    );
    let mut stream = TcpStream::connect(authority.api()).await.unwrap();
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    in_time("the end", stream.read_to_end(&mut rest)).await.unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    assert!(authority.client().keys_of("acme").await.is_empty());
}

on_sqlite! {
    a_misspelled_field_widens_nothing,
    broken_json_is_refused_with_its_place,
    what_is_no_call_is_refused_by_its_kind,
    bodies_heads_and_urls_have_limits,
    a_body_that_is_cut_off_changes_nothing,
}
