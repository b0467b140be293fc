//! Sealing: what only the authority may read again, though others keep it. Recoverable tokens lie sealed in the
//! database; page tokens travel sealed with the caller, so that they can be neither read nor altered.
//!
//! XChaCha20-Poly1305 with a random 24-byte nonce: `version (4 bytes, big-endian) | nonce | ciphertext and tag`.
//! The purpose and what the content belongs to are authenticated with it, so that it opens nowhere else.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::secret::Keyring;

const VERSION_LEN: usize = 4;
const NONCE_LEN: usize = 24;

/// What is sealed, and what it belongs to.
#[derive(Debug, Clone, Copy)]
pub enum SealContext<'a> {
    /// The token of a version of a key.
    Token {
        /// The ID of the key.
        key_id: &'a str,
        /// The version of its secret.
        version: u32,
    },
    /// The place where a listing goes on, for one query.
    Page {
        /// A digest of the query.
        query: &'a [u8; 32],
    },
}

impl SealContext<'_> {
    fn associated_data(self) -> Vec<u8> {
        match self {
            Self::Token { key_id, version } => [b"token\0", &version.to_be_bytes()[..], key_id.as_bytes()].concat(),
            Self::Page { query } => [b"page\0\0", &query[..]].concat(),
        }
    }
}

/// The sealed bytes could not be opened: altered, of another purpose, or of a version of the secret that is not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealed content does not open")]
pub struct DoesNotOpen;

impl Keyring {
    /// Seals `content` under the current version. The nonce must be random.
    ///
    /// # Panics
    /// When `content` is longer than 256 GiB; what is sealed is at most a few hundred bytes.
    #[must_use]
    pub fn seal(&self, purpose: SealContext<'_>, content: &[u8], nonce: [u8; NONCE_LEN]) -> Vec<u8> {
        let aad = purpose.associated_data();
        let cipher = XChaCha20Poly1305::new((&self.current_keys().seal).into());
        let ciphertext = cipher
            .encrypt(XNonce::from_slice(&nonce), Payload { msg: content, aad: &aad })
            .expect("content within the cipher's limit");
        [&self.current().to_be_bytes()[..], &nonce, &ciphertext].concat()
    }

    /// Opens what [`Keyring::seal`] made for the same purpose.
    ///
    /// # Errors
    /// [`DoesNotOpen`], whatever the cause.
    pub fn open(&self, purpose: SealContext<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, DoesNotOpen> {
        let (version, rest) = sealed.split_first_chunk::<VERSION_LEN>().ok_or(DoesNotOpen)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LEN>().ok_or(DoesNotOpen)?;
        let keys = self.keys(u32::from_be_bytes(*version)).ok_or(DoesNotOpen)?;
        let cipher = XChaCha20Poly1305::new((&keys.seal).into());
        let payload = Payload { msg: ciphertext, aad: &purpose.associated_data() };
        cipher.decrypt(XNonce::from_slice(nonce), payload).map(Zeroizing::new).map_err(|_| DoesNotOpen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_purpose_alone() {
        let ring = Keyring::parse(&"07".repeat(32)).unwrap();
        let purpose = SealContext::Token { key_id: "key_1", version: 2 };
        let sealed = ring.seal(purpose, b"content", [9; 24]);
        assert_eq!(&*ring.open(purpose, &sealed).unwrap(), b"content");
        assert!(ring.open(SealContext::Token { key_id: "key_2", version: 2 }, &sealed).is_err());
        assert!(ring.open(SealContext::Token { key_id: "key_1", version: 3 }, &sealed).is_err());
        assert!(ring.open(SealContext::Page { query: &[0; 32] }, &sealed).is_err());
        let other = Keyring::parse(&"08".repeat(32)).unwrap();
        assert!(other.open(purpose, &sealed).is_err());
    }

    #[test]
    fn each_altered_byte_is_noticed() {
        let ring = Keyring::parse(&"07".repeat(32)).unwrap();
        let purpose = SealContext::Page { query: &[1; 32] };
        let sealed = ring.seal(purpose, b"cursor", [9; 24]);
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(ring.open(purpose, &altered).is_err(), "byte {at}");
        }
        for len in 0..sealed.len() {
            assert!(ring.open(purpose, &sealed[..len]).is_err(), "length {len}");
        }
    }
}
