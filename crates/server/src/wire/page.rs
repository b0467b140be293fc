//! Pages of a listing: the page size, and the token of the next page.
//!
//! A page token is a cursor that is sealed for one query of one caller. It can neither be read nor altered, and is
//! rejected for other filters, another method or another caller.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use key_authority_domain::seal::SealContext;
use key_authority_domain::secret::Keyring;
use key_authority_domain::text::ValidationError;
use key_authority_proto::v1;

use super::check::Check;
use super::violations::Violations;

/// The page size if the request has none.
pub(crate) const PAGE_SIZE_DEFAULT: u32 = 50;
/// The maximum page size.
pub(crate) const PAGE_SIZE_MAX: u32 = 1000;
/// The longest accepted page token, in bytes. A page token is about a hundred bytes longer than its cursor.
pub(crate) const PAGE_TOKEN_LEN_MAX: usize = 2048;
/// The maximum number of items in a repeated filter.
pub(crate) const FILTER_ITEMS_MAX: usize = 100;

/// The domain of these digests, which separates them from all other digests of requests.
const CONTEXT: &str = "keyauthority.v1 2026-11 page query";

/// Reads the page size.
///
/// # Errors
/// The rule, when the value is negative or too large.
pub(crate) fn page_size(value: i32) -> Result<u32, ValidationError> {
    match u32::try_from(value) {
        Ok(0) => Ok(PAGE_SIZE_DEFAULT),
        Ok(size @ 1..=PAGE_SIZE_MAX) => Ok(size),
        _ => Err(ValidationError::new(format!("must be 0 to {PAGE_SIZE_MAX}"))),
    }
}

/// A request for a page.
pub(crate) trait Listing: prost::Message + Sized {
    /// The RPC of the request.
    const METHOD: &'static str;

    /// Returns the page token; empty for the first page.
    fn page_token(&self) -> &str;

    /// Returns the query without the page token and the page size.
    #[must_use]
    fn query(&self) -> Self;

    /// Returns a digest of the query and its caller. It is the same for all pages of one listing, and for nothing else.
    fn query_digest(&self, caller: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        // Neither a method nor the ID of a key contains a NUL, so the end of each is unambiguous.
        for text in [Self::METHOD, caller] {
            hasher.update(text.as_bytes()).update(&[0]);
        }
        hasher.update(&self.query().encode_to_vec());
        *hasher.finalize().as_bytes()
    }
}

macro_rules! listings {
    ($($method:literal, $request:ident;)*) => {$(
        impl Listing for v1::$request {
            const METHOD: &'static str = $method;

            fn page_token(&self) -> &str {
                &self.page_token
            }

            fn query(&self) -> Self {
                let mut query = self.clone();
                query.page_token.clear();
                query.page_size = 0;
                query
            }
        }
    )*};
}

listings! {
    "ListKeys", ListKeysRequest;
    "ListAccounts", ListAccountsRequest;
    "ListAuditEvents", ListAuditEventsRequest;
}

/// Returns the token of the page that begins at `cursor`. The nonce must be random.
#[must_use]
pub(crate) fn seal_page(keyring: &Keyring, query_digest: &[u8; 32], cursor: &[u8], nonce: [u8; 24]) -> String {
    URL_SAFE_NO_PAD.encode(keyring.seal(SealContext::Page { query: query_digest }, cursor, nonce))
}

/// Returns the cursor in a page token; `None` for the first page.
///
/// # Errors
/// When [`seal_page`] did not make the token for the same query.
pub(crate) fn open_page(
    keyring: &Keyring,
    query_digest: &[u8; 32],
    token: &str,
) -> Result<Option<Vec<u8>>, Violations> {
    if token.is_empty() {
        return Ok(None);
    }
    let sealed = if token.len() <= PAGE_TOKEN_LEN_MAX { URL_SAFE_NO_PAD.decode(token).ok() } else { None };
    sealed
        .and_then(|sealed| keyring.open(SealContext::Page { query: query_digest }, &sealed).ok())
        .map(|cursor| Some(cursor.to_vec()))
        .ok_or_else(|| Violations::one("page_token", PAGE_TOKEN_RULE))
}

/// The rule of a page token, also for one whose cursor does not decode.
pub(crate) const PAGE_TOKEN_RULE: &str = "must be a page token of this same query, unaltered";

/// Reads the page size of a listing of accounts.
///
/// # Errors
/// When `page_size` is over its limit.
pub(crate) fn list_accounts(request: &v1::ListAccountsRequest) -> Result<u32, Violations> {
    let mut check = Check::new();
    let size = check.field("page_size", page_size(request.page_size));
    check.finish(|| size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: [u8; 32] = [1; 32];

    fn ring(byte: &str) -> Keyring {
        Keyring::parse(&byte.repeat(32)).unwrap()
    }

    #[test]
    fn sizes_end_exactly_at_their_limits() {
        assert_eq!([0, 1, 50, 1000].map(|size| page_size(size).unwrap()), [50, 1, 50, 1000]);
        for wrong in [-1, 1001, i32::MIN, i32::MAX] {
            let request = v1::ListAccountsRequest { page_size: wrong, ..Default::default() };
            assert_eq!(list_accounts(&request).unwrap_err().to_string(), "page_size must be 0 to 1000");
        }
    }

    #[test]
    fn a_page_token_opens_only_for_its_own_query() {
        let keyring = ring("07");
        let query = v1::ListKeysRequest { account: "acme".into(), ..Default::default() };
        let digest = query.query_digest("key_1");
        let token = seal_page(&keyring, &digest, b"cursor", [9; 24]);
        assert_eq!(open_page(&keyring, &digest, &token), Ok(Some(b"cursor".to_vec())));
        assert_eq!(open_page(&keyring, &digest, ""), Ok(None));

        let next = v1::ListKeysRequest { page_size: 7, page_token: token.clone(), ..query.clone() };
        assert_eq!(next.query_digest("key_1"), digest);

        let filtered = v1::ListKeysRequest { project: "p".into(), ..query.clone() };
        let events = v1::ListAuditEventsRequest { account: "acme".into(), ..Default::default() };
        let rejected = Err(Violations::one("page_token", PAGE_TOKEN_RULE));
        for other in [filtered.query_digest("key_1"), query.query_digest("key_2"), events.query_digest("key_1")] {
            assert_eq!(open_page(&keyring, &other, &token), rejected);
        }
        assert_eq!(open_page(&ring("08"), &digest, &token), rejected);
    }

    #[test]
    fn an_altered_token_is_rejected() {
        let keyring = ring("07");
        let token = seal_page(&keyring, &DIGEST, &[7; 100], [9; 24]);
        for at in 0..token.len() {
            let mut altered: Vec<char> = token.chars().collect();
            altered[at] = if altered[at] == 'A' { 'B' } else { 'A' };
            assert!(open_page(&keyring, &DIGEST, &altered.iter().collect::<String>()).is_err(), "character {at}");
        }
        for wrong in [format!("{token}="), format!("{token}A"), format!(" {token}"), token[1..].to_owned()] {
            assert!(open_page(&keyring, &DIGEST, &wrong).is_err());
        }
    }

    #[test]
    fn a_token_longer_than_two_kibibytes_is_rejected() {
        let keyring = ring("07");
        let opens = |cursor_len| {
            let token = seal_page(&keyring, &DIGEST, &vec![7; cursor_len], [9; 24]);
            (token.len(), open_page(&keyring, &DIGEST, &token).is_ok())
        };
        assert_eq!(opens(1492), (2048, true));
        assert_eq!(opens(1493), (2050, false));
    }

    proptest! {
        #[test]
        fn opening_is_total(token in any::<String>(), bytes in prop::collection::vec(any::<u8>(), 1..200)) {
            let keyring = ring("07");
            let _ = open_page(&keyring, &DIGEST, &token);
            prop_assert!(open_page(&keyring, &DIGEST, &URL_SAFE_NO_PAD.encode(bytes)).is_err());
        }
    }
}
