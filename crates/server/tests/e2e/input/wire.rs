//! Bytes that are no requests: too many, not UTF-8, cut off, or none at all.

use bytes::{Buf as _, BufMut as _};
use http::uri::PathAndQuery;
use key_authority_proto::v1::*;
use prost::Message as _;
use tokio_stream::StreamExt as _;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};

use crate::support::client::{caller_question, key_for, question};
use crate::support::expect::methods;
use crate::support::http::{request, send_http2};
use crate::support::{Authority, Chance, in_time, on_sqlite, seed};

/// Sends bytes as they are.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        Ok(Some(bytes.to_vec()))
    }
}

/// Calls a method of the authority with these bytes for a request.
async fn send(authority: &Authority, method: &str, bytes: Vec<u8>) -> Result<Vec<u8>, Status> {
    let mut request = Request::new(bytes);
    let credential = format!("Bearer {}", authority.root_token()).parse().unwrap();
    request.metadata_mut().insert("authorization", credential);
    let mut rpc = tonic::client::Grpc::new(authority.channel());
    rpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path: PathAndQuery = format!("/keyauthority.v1.KeyAuthority/{method}").parse().unwrap();
    Ok(in_time(method, rpc.unary(request, path, Raw)).await?.into_inner())
}

/// Fails unless the server answers as ever.
async fn assert_well(authority: &Authority) {
    assert_eq!(authority.client().caller_verdict(&authority.root_token()).await, Verdict::Valid);
    assert!(!authority.output().contains("panicked at"));
}

async fn text_that_is_not_utf_8_is_refused(authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    // Field 3 of CreateKeyRequest, `display_name`; field 1 of VerifyRequest, `token`.
    for (method, head, tag) in [("CreateKey", key_for("acme").encode_to_vec(), 0x1a), ("Verify", vec![], 0x0a)] {
        for text in [&b"\xff"[..], b"a\xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc0\x80"] {
            let field = [&[tag, u8::try_from(text.len()).unwrap()], text].concat();
            let status = send(&authority, method, [head.clone(), field].concat()).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{method}: {}", status.message());
        }
    }
    assert_eq!(authority.client().keys_of("acme").await, []);
    assert_well(&authority).await;
}

async fn an_oversize_message_is_refused(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let huge = "a".repeat(32 << 20);
    let create = CreateKeyRequest { description: huge.clone(), ..key_for("acme") };
    for _ in 0..3 {
        let refusals =
            [client.create_key(create.clone()).await.unwrap_err(), client.verify(question(&huge)).await.unwrap_err()];
        for status in refusals {
            assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
        }
    }
    // It says that it is long, and sends little.
    let mut lying = vec![0x0a];
    prost::encoding::encode_varint(u64::MAX >> 1, &mut lying);
    let status = send(&authority, "Verify", lying).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert_well(&authority).await;
}

async fn what_comes_behind_a_question_is_refused_before_it_ends(authority: Authority) {
    let question = caller_question(&authority.root_token()).encode_to_vec();
    for method in ["Verify", "BatchVerify"] {
        // A second message, and then nothing, not even an end.
        let asked = tokio_stream::iter([question.clone(), question.clone()]).chain(tokio_stream::pending());
        let mut request = Request::new(asked);
        let credential = format!("Bearer {}", authority.root_token()).parse().unwrap();
        request.metadata_mut().insert("authorization", credential);
        let mut rpc = tonic::client::Grpc::new(authority.channel());
        rpc.ready().await.unwrap();
        let path = format!("/keyauthority.v1.KeyAuthority/{method}").parse().unwrap();
        let status = in_time(method, rpc.client_streaming(request, path, Raw)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    }
    assert_well(&authority).await;
}

async fn nothing_long_is_read_from_who_is_not_known(authority: Authority) {
    let customer = authority.client().new_account("acme", KeyPolicy::default()).await;
    let customer = authority.client().key_in(&customer.id).await.token;
    let methods = ["keyauthority.v1.KeyAuthority/CreateKey", "keyauthority.v1.KeyAuthority/BatchVerify"];
    for path in methods.into_iter().chain(["envoy.service.auth.v3.Authorization/Check", "grpc.health.v1.Health/Check"])
    {
        for credential in [None, Some("Bearer nonsense".to_owned()), Some(format!("Bearer {customer}"))] {
            // A megabyte, and no end.
            let asked = tokio_stream::iter([vec![0x0a; 1 << 20]]).chain(tokio_stream::pending());
            let mut request = Request::new(asked);
            if let Some(credential) = credential {
                request.metadata_mut().insert("authorization", credential.parse().unwrap());
            }
            let mut rpc = tonic::client::Grpc::new(authority.channel());
            rpc.ready().await.unwrap();
            let called = rpc.client_streaming(request, format!("/{path}").parse().unwrap(), Raw);
            let status = in_time(path, called).await.unwrap_err();
            // Health needs no caller, and its requests are short.
            let code = if path.ends_with("Health/Check") { Code::OutOfRange } else { Code::Unauthenticated };
            assert_eq!(status.code(), code, "{path}: {status:?}");
        }
    }
    assert_well(&authority).await;
}

async fn fields_of_tomorrow_are_passed_over(authority: Authority) {
    let mut bytes = caller_question(&authority.root_token()).encode_to_vec();
    prost::encoding::string::encode(1000, &"new".to_owned(), &mut bytes);
    prost::encoding::uint64::encode(1001, &7, &mut bytes);
    let answer = VerifyResponse::decode(&send(&authority, "Verify", bytes).await.unwrap()[..]).unwrap();
    assert_eq!(answer.verdict(), Verdict::Valid);
}

async fn noise_is_answered_and_does_no_harm(authority: Authority) {
    let mut chance = Chance(seed());
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let before = authority.client().events(ListAuditEventsRequest::default()).await;
    let template = CreateKeyRequest { display_name: "noise".into(), key_id: "k".into(), ..key_for("nobody") };
    for method in methods() {
        for round in 0..60 {
            // Half of it is noise, half a request with a few bytes exchanged.
            let mut bytes = template.encode_to_vec();
            if round % 2 == 0 {
                bytes = (0..chance.below(64)).map(|_| chance.byte()).collect();
            } else {
                for _ in 0..=chance.below(3) {
                    let at = usize::try_from(chance.below(bytes.len() as u64)).unwrap();
                    bytes[at] = chance.byte();
                }
            }
            let shown = format!("{method}: {bytes:02x?}");
            if let Err(status) = send(&authority, &method, bytes).await {
                assert!(!matches!(status.code(), Code::Internal | Code::Unknown), "{shown}: {status:?}");
            }
        }
    }
    // A lucky hit may have created an account or a key; whatever was done is in the log, whole.
    let after = authority.client().events(ListAuditEventsRequest::default()).await;
    assert_eq!(after[..before.len()], before);
    assert_well(&authority).await;
}

async fn what_is_no_method_is_unimplemented(authority: Authority) {
    let status = send(&authority, "NoSuchMethod", Vec::new()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert_well(&authority).await;
}

async fn what_is_not_of_grpc_is_an_unsupported_media_type(authority: Authority) {
    let bearer = format!("Bearer {}", authority.root_token());
    let services = ["keyauthority.v1.KeyAuthority/Verify", "keyauthority.v1.KeyAuthority/ListKeys"];
    for path in services.into_iter().chain(["grpc.health.v1.Health/Check"]) {
        let status = async |content_type: Option<&str>| {
            let mut headers = vec![("te", "trailers"), ("authorization", bearer.as_str())];
            headers.extend(content_type.map(|value| ("content-type", value)));
            let answer = send_http2(authority.grpc(), request("POST", &format!("/{path}"), &headers, vec![0; 5])).await;
            let grpc = answer.headers.get("grpc-status").or_else(|| answer.trailers.get("grpc-status"));
            (answer.status, grpc.map(|status| status.to_str().unwrap().to_owned()))
        };
        for content_type in ["application/grpc", "application/grpc+proto", "Application/gRPC;charset=utf-8"] {
            let (code, grpc) = status(Some(content_type)).await;
            assert!(code == 200 && grpc.is_some(), "{path} {content_type}: {code} {grpc:?}");
        }
        let web = ["application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text"];
        for content_type in web.into_iter().chain(["application/json", "application/grp", ""]).map(Some).chain([None]) {
            let refused = (415, Some("3".to_owned()));
            assert_eq!(status(content_type).await, refused, "{path} {content_type:?}");
        }
    }
    assert_well(&authority).await;
}

on_sqlite! {
    what_is_not_of_grpc_is_an_unsupported_media_type,
    text_that_is_not_utf_8_is_refused,
    an_oversize_message_is_refused,
    what_comes_behind_a_question_is_refused_before_it_ends,
    nothing_long_is_read_from_who_is_not_known,
    fields_of_tomorrow_are_passed_over,
    noise_is_answered_and_does_no_harm,
    what_is_no_method_is_unimplemented,
}
