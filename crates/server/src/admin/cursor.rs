//! Cursors: positions in a listing, as the bytes that a page token seals.

use key_authority_domain::id::Revision;
use key_authority_domain::secret::Keyring;
use key_authority_storage::key_order::{KeyCursor, RankValue};
use key_authority_storage::page::Newest;

use crate::entropy;
use crate::rpc::errors::RpcError;
use crate::wire::page::{self, Listing};

/// A position in a listing.
pub(crate) trait Cursor: Sized {
    fn to_bytes(&self) -> Vec<u8>;
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

impl Cursor for Revision {
    fn to_bytes(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(i64::from_be_bytes(bytes.try_into().ok()?)))
    }
}

impl Cursor for Newest {
    fn to_bytes(&self) -> Vec<u8> {
        [&self.create_revision.to_bytes()[..], self.id.as_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (revision, id) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            create_revision: Revision(i64::from_be_bytes(*revision)),
            id: String::from_utf8(id.to_vec()).ok()?,
        })
    }
}

/// The kind of the value, then the length of the ID in one byte, the ID, and the value. An ID has at most 64 bytes.
impl Cursor for KeyCursor {
    fn to_bytes(&self) -> Vec<u8> {
        let (kind, value) = match &self.value {
            RankValue::Number(number) => (0, number.to_be_bytes().to_vec()),
            RankValue::Text(text) => (1, text.as_bytes().to_vec()),
        };
        let len = u8::try_from(self.id.len()).unwrap_or(u8::MAX);
        [&[kind, len], self.id.as_bytes(), &value].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let ([kind, len], rest) = bytes.split_first_chunk::<2>()?;
        let (id, value) = rest.split_at_checked(usize::from(*len))?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let value = match kind {
            0 => RankValue::Number(i64::from_be_bytes(value.try_into().ok()?)),
            1 => RankValue::Text(text(value)?),
            _ => return None,
        };
        Some(Self { value, id: text(id)? })
    }
}

/// Returns where the requested page begins; `None` for the first page.
pub(crate) fn open<C: Cursor>(keyring: &Keyring, caller: &str, request: &impl Listing) -> Result<Option<C>, RpcError> {
    let Some(bytes) = page::open_page(keyring, &request.query_digest(caller), request.page_token())? else {
        return Ok(None);
    };
    C::from_bytes(&bytes).map(Some).ok_or_else(|| RpcError::invalid("page_token", page::PAGE_TOKEN_RULE))
}

/// Returns the token of the next page; empty after the last one.
pub(super) fn seal<C: Cursor>(
    keyring: &Keyring,
    caller: &str,
    request: &impl Listing,
    next: Option<&C>,
) -> Result<String, RpcError> {
    let Some(next) = next else { return Ok(String::new()) };
    Ok(page::seal_page(keyring, &request.query_digest(caller), &next.to_bytes(), entropy::bytes()?))
}
