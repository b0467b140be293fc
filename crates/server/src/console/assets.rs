//! The stylesheet, the scripts and the icon. They are compiled into the program.

use std::future::ready;
use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use flate2::Compression;
use http::{HeaderMap, HeaderValue, header};

use crate::gzip;

/// A file that pages refer to.
#[derive(Clone, Copy)]
struct Asset {
    path: &'static str,
    media_type: &'static str,
    content: &'static [u8],
}

const STYLE: Asset = Asset {
    path: "/console/assets/style.css",
    media_type: "text/css; charset=utf-8",
    content: include_bytes!("../../assets/console/style.css"),
};
const SCRIPT: Asset = Asset {
    path: "/console/assets/console.js",
    media_type: "text/javascript; charset=utf-8",
    content: include_bytes!("../../assets/console/console.js"),
};
/// htmx 2.0.11 (Zero-Clause BSD; `assets/console/htmx.LICENSE`).
const HTMX: Asset = Asset {
    path: "/console/assets/htmx.min.js",
    media_type: "text/javascript; charset=utf-8",
    content: include_bytes!("../../assets/console/htmx.min.js"),
};
const ICON: Asset = Asset {
    path: "/console/assets/icon.svg",
    media_type: "image/svg+xml",
    content: include_bytes!("../../assets/console/icon.svg"),
};

/// The addresses of the files. Each contains a part of the digest of its file, so that browsers may keep it for ever.
pub(super) struct Addresses {
    pub(super) style: String,
    pub(super) script: String,
    pub(super) htmx: String,
    pub(super) icon: String,
}

/// The addresses.
pub(super) static ADDRESSES: LazyLock<Addresses> = LazyLock::new(|| Addresses {
    style: address(&STYLE),
    script: address(&SCRIPT),
    htmx: address(&HTMX),
    icon: address(&ICON),
});

fn address(asset: &Asset) -> String {
    format!("{}?v={}", asset.path, version(asset))
}

fn version(asset: &Asset) -> String {
    let digest = blake3::hash(asset.content).to_hex();
    digest.get(..12).unwrap_or_default().to_owned()
}

/// Returns the routes of the files.
pub(super) fn routes() -> Router {
    let assets = [STYLE, SCRIPT, HTMX, ICON];
    assets.into_iter().fold(Router::new(), |router, asset| {
        // Compressed once: anybody may ask for them, as often as they like.
        let compressed = gzip::gzip(asset.content, Compression::default());
        let version = version(&asset);
        let reply = move |query: RawQuery, request: HeaderMap| {
            let is_current = query.0.is_some_and(|query| query.strip_prefix("v=") == Some(version.as_str()));
            ready(reply(asset, compressed.clone(), &request, is_current))
        };
        router.route(asset.path, get(reply))
    })
}

/// Returns a file. Only the file of this version may be kept: while replicas are upgraded, one may be asked for the
/// file of another build.
fn reply(asset: Asset, compressed: Bytes, request: &HeaderMap, is_current: bool) -> Response {
    let is_compressed = gzip::is_accepted(request);
    let body = if is_compressed { Body::from(compressed) } else { Body::from(asset.content) };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    if is_compressed {
        gzip::mark(headers);
    }
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
    let caching = if is_current { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    response
}
