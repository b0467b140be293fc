//! Authenticated encryption of data that others store and only the authority may read: recoverable tokens in the
//! database, and page tokens and the console's cookies, which callers can neither read nor alter.
//!
//! XChaCha20-Poly1305 with a random 24-byte nonce: `version (4 bytes, big-endian) | nonce | ciphertext and tag`.
//! The context is authenticated with the content, so a ciphertext cannot be decrypted in another context.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::secret::{Keyring, SecretVersion};

const VERSION_LEN: usize = 4;
const NONCE_LEN: usize = 24;

/// The purpose of sealed content and the object that it belongs to.
#[derive(Debug, Clone, Copy)]
pub enum SealContext<'a> {
    /// The token of a secret version.
    Token {
        /// The ID of the key.
        key_id: &'a str,
        /// The version of the key's secret.
        version: u32,
    },
    /// The position from which the next page of a query continues.
    Page {
        /// A digest of the query.
        query: &'a [u8; 32],
    },
    /// What a browser keeps for the console.
    Console {
        /// What it is for.
        purpose: &'a str,
    },
}

impl SealContext<'_> {
    fn associated_data(self) -> Vec<u8> {
        match self {
            Self::Token { key_id, version } => [b"token\0", &version.to_be_bytes()[..], key_id.as_bytes()].concat(),
            Self::Page { query } => [b"page\0\0", &query[..]].concat(),
            Self::Console { purpose } => [b"console\0", purpose.as_bytes()].concat(),
        }
    }
}

/// Sealed content cannot be decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// It was altered, or has another context.
    #[error("cannot decrypt the sealed content")]
    Altered,
    /// The keyring lacks its version of the secret, or the version was altered.
    #[error("cannot decrypt the sealed content: version {0} of the secret is missing")]
    SecretMissing(SecretVersion),
}

impl Keyring {
    /// Encrypts `content` with the current version of the secret. The nonce must be random.
    ///
    /// # Panics
    /// If `content` is longer than 256 GiB. Callers seal at most a few hundred bytes.
    #[must_use]
    pub fn seal(&self, purpose: SealContext<'_>, content: &[u8], nonce: [u8; NONCE_LEN]) -> Vec<u8> {
        let aad = purpose.associated_data();
        let cipher = XChaCha20Poly1305::new((&self.current_keys().seal).into());
        let ciphertext = cipher
            .encrypt(XNonce::from_slice(&nonce), Payload { msg: content, aad: &aad })
            .expect("content within the cipher's limit");
        [&self.current().to_be_bytes()[..], &nonce, &ciphertext].concat()
    }

    /// Decrypts the result of [`Keyring::seal`] with the same context.
    ///
    /// # Errors
    /// [`UnsealError`].
    pub fn open(&self, purpose: SealContext<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        let (version, rest) = sealed.split_first_chunk::<VERSION_LEN>().ok_or(UnsealError::Altered)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LEN>().ok_or(UnsealError::Altered)?;
        let version = u32::from_be_bytes(*version);
        let keys = self.keys(version).ok_or(UnsealError::SecretMissing(version))?;
        let cipher = XChaCha20Poly1305::new((&keys.seal).into());
        let payload = Payload { msg: ciphertext, aad: &purpose.associated_data() };
        cipher.decrypt(XNonce::from_slice(nonce), payload).map(Zeroizing::new).map_err(|_| UnsealError::Altered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_content_is_decrypted_only_in_its_context() {
        let ring = Keyring::parse(&"07".repeat(32)).unwrap();
        let context = SealContext::Token { key_id: "key_1", version: 2 };
        let sealed = ring.seal(context, b"content", [9; 24]);
        assert_eq!(&*ring.open(context, &sealed).unwrap(), b"content");
        assert!(ring.open(SealContext::Token { key_id: "key_2", version: 2 }, &sealed).is_err());
        assert!(ring.open(SealContext::Token { key_id: "key_1", version: 3 }, &sealed).is_err());
        assert!(ring.open(SealContext::Page { query: &[0; 32] }, &sealed).is_err());
        assert!(ring.open(SealContext::Console { purpose: "session" }, &sealed).is_err());
        let other = Keyring::parse(&"08".repeat(32)).unwrap();
        assert!(other.open(context, &sealed).is_err());
    }

    #[test]
    fn each_altered_byte_is_detected() {
        let ring = Keyring::parse(&"07".repeat(32)).unwrap();
        let context = SealContext::Page { query: &[1; 32] };
        let sealed = ring.seal(context, b"cursor", [9; 24]);
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(ring.open(context, &altered).is_err(), "byte {at}");
        }
        for len in 0..sealed.len() {
            assert!(ring.open(context, &sealed[..len]).is_err(), "length {len}");
        }
    }
}
