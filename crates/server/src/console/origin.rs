//! Whether a change comes from a page of this console.
//!
//! Three things must agree: the cookie, which browsers send from this site alone (`SameSite=Strict`); the token in the
//! form, which no other site can read; and what the browser says about the origin of the request.

use http::{HeaderMap, HeaderName, header};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether the headers of a POST allow that it comes from this site.
///
/// Browsers send `Sec-Fetch-Site` to TLS and loopback addresses only. To others they send `Origin`, which is `null` for
/// a form of a page without referrers; then the token of the form has to be enough.
pub(super) fn is_same_origin(headers: &HeaderMap, authority: Option<&str>) -> bool {
    if let Some(site) = headers.get(&FETCH_SITE) {
        return site == "same-origin";
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = authority.or_else(|| headers.get(header::HOST).and_then(|host| host.to_str().ok()));
    let origin = origin.to_str().unwrap_or_default();
    let of_host = origin.split_once("://").map(|(_, host)| host);
    origin == "null" || (of_host.is_some() && of_host == host)
}

/// Whether a link on another site led here. The browser kept the cookie back then.
pub(super) fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    headers.get(&FETCH_SITE).is_some_and(|site| site == "cross-site" || site == "same-site")
}

/// Whether the browser says that a page of the console has caused the request.
pub(super) fn is_by_own_page(headers: &HeaderMap) -> bool {
    headers.get(&FETCH_SITE).is_some_and(|site| site == "same-origin")
}

/// Whether the browser says that no other site has caused the request.
pub(super) fn is_by_visitor(headers: &HeaderMap) -> bool {
    headers.get(&FETCH_SITE).is_some_and(|site| site == "same-origin" || site == "none")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_post_of_another_site_is_recognized() {
        let allowed = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            is_same_origin(&headers, None)
        };
        let host = ("host", "ka.example:8051");
        assert!(allowed(&[host, ("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(allowed(&[host, ("origin", "https://ka.example:8051")]) && allowed(&[host]));
        for site in ["cross-site", "same-site", "none", ""] {
            assert!(!allowed(&[host, ("sec-fetch-site", site), ("origin", "https://ka.example:8051")]), "{site}");
        }
        for origin in ["https://evil.example", "https://ka.example", "ka.example:8051", ""] {
            assert!(!allowed(&[host, ("origin", origin)]), "{origin}");
        }
    }
}
