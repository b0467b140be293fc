//! Compression of responses with gzip.
//!
//! A compressor holds some 300 KiB. If a response were compressed while it is sent, one would stay for as long as the
//! peer does not read. So a response is compressed as a whole, before anything of it is sent.

use std::io::Write as _;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, header};
use http_body::Body as _;

/// The size of the smallest response that is compressed, in bytes.
const BYTES_MIN: u64 = 256;

/// Compresses responses whose body is in memory, for clients that accept it.
pub(crate) async fn compress(State(level): State<Compression>, request: Request, next: Next) -> Response {
    let is_accepted = is_accepted(request.headers());
    let mut response = next.run(request).await;
    if response.body().size_hint().exact().is_none_or(|bytes| bytes < BYTES_MIN) {
        return response;
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
    if !is_accepted {
        return response;
    }
    let (parts, body) = response.into_parts();
    // The body is in memory: reading it neither waits nor fails.
    let whole = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut response = Response::from_parts(parts, Body::from(gzip(&whole, level)));
    mark(response.headers_mut());
    response
}

/// Marks a response as compressed.
pub(crate) fn mark(headers: &mut HeaderMap) {
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
}

/// Compresses bytes.
pub(crate) fn gzip(bytes: &[u8], level: Compression) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    // Writing to memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default().into()
}

/// Whether a client accepts gzip (RFC 9110, 12.5.3).
pub(crate) fn is_accepted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let codings: Vec<_> = values.flat_map(|value| value.split(',')).collect();
    let weight = |name: &str| {
        codings.iter().find_map(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let is_named = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case(name));
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            is_named.then(|| weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)))
        })
    };
    weight("gzip").or_else(|| weight("*")).is_some_and(|weight: f32| weight > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_accepted_by_name_or_wildcard_unless_its_weight_is_zero() {
        let accepts = |value: &'static str| {
            is_accepted(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]))
        };
        for value in ["gzip", "br, GZIP;q=0.1", "deflate, gzip ; q=1", "*", "br;q=1, *;q=0.5"] {
            assert!(accepts(value), "{value}");
        }
        for value in ["", "br", "gzip;q=0", "gzip;q=0.0, *", "*;q=0", "gzip;q=x", "xgzip"] {
            assert!(!accepts(value), "{value}");
        }
        assert!(!is_accepted(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn a_compressed_response_is_whole_when_it_begins() {
        use axum::routing::get;
        use std::io::Read as _;
        use tower::util::ServiceExt as _;

        let text = "a page ".repeat(1000);
        let page = text.clone();
        let router = axum::Router::new().route("/", get(async move || page.clone()));
        let router = router.layer(axum::middleware::from_fn_with_state(Compression::default(), compress));
        let request = Request::get("/").header("accept-encoding", "gzip").body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.headers()["content-encoding"], "gzip");
        assert_eq!(response.headers()["vary"], "accept-encoding");
        let bytes = response.body().size_hint().exact().expect("no compressor is left in the body");
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(body.len() as u64, bytes);
        let mut read = String::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut read).unwrap();
        assert_eq!(read, text);
    }
}
