//! Imported tokens of other systems, and the digests that are stored for them.
//!
//! An import contains the whole token or a plain digest of it. A plain digest allows guesses to be verified offline, so
//! it is never stored. The stored digest is a digest of the plain digest, keyed with the authority secret. A presented
//! token is looked up with each scheme that an imported key uses; see [`Keyring::digests_for_scheme`].

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::secret::{Keyring, Keys, digest};
use crate::token::{Presented, Token, TokenDigest};

/// What the stored digest of a token was computed from. The number is stored and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// A token in our format, minted by this or another authority.
    Own = 0,
    /// A whole token in another format.
    Whole = 1,
    /// The plain BLAKE3 digest of a token.
    Blake3 = 2,
    /// The SHA-256 digest of a token.
    Sha256 = 3,
}

impl Scheme {
    /// The schemes that only imported keys use.
    pub const FOREIGN: [Self; 3] = [Self::Whole, Self::Blake3, Self::Sha256];

    /// The stored number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The scheme with this number.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::Own, Self::Whole, Self::Blake3, Self::Sha256].into_iter().find(|scheme| scheme.number() == number)
    }
}

/// The part of a token that an import contains.
pub enum ImportedSecret {
    /// The whole token.
    Token(Token),
    /// Its plain BLAKE3 digest.
    Blake3([u8; 32]),
    /// Its SHA-256 digest.
    Sha256([u8; 32]),
}

impl fmt::Debug for ImportedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ImportedSecret(…)")
    }
}

impl ImportedSecret {
    /// The scheme of the stored digest.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Token(token) if Token::parse(token.reveal()).is_ok() => Scheme::Own,
            Self::Token(_) => Scheme::Whole,
            Self::Blake3(_) => Scheme::Blake3,
            Self::Sha256(_) => Scheme::Sha256,
        }
    }
}

impl Keyring {
    /// The digest to store for an imported secret, keyed with the current version of the authority secret.
    #[must_use]
    pub fn stored_digest(&self, secret: &ImportedSecret) -> TokenDigest {
        stored_digest_with(self.current_keys(), secret)
    }

    /// All digests under which the same token may already be stored: with each version of the authority secret and, if
    /// the whole token is known, with each scheme.
    #[must_use]
    pub fn possible_digests(&self, secret: &ImportedSecret) -> Vec<TokenDigest> {
        match secret {
            ImportedSecret::Token(token) => {
                let schemes = [Scheme::Whole, Scheme::Blake3, Scheme::Sha256].into_iter();
                schemes.flat_map(|scheme| self.digests_for_scheme(scheme, token.presented())).collect()
            }
            digest => self.current_first().map(|keys| stored_digest_with(keys, digest)).collect(),
        }
    }

    /// The digests of a presented token that was imported with `scheme`, for each version of the authority secret,
    /// newest first.
    pub fn digests_for_scheme<'a>(
        &'a self,
        scheme: Scheme,
        token: Presented<'a>,
    ) -> impl Iterator<Item = TokenDigest> + use<'a> {
        let plain = match scheme {
            Scheme::Own | Scheme::Whole => None,
            Scheme::Blake3 => Some(*blake3::hash(token.as_bytes()).as_bytes()),
            Scheme::Sha256 => Some(Sha256::digest(token.as_bytes()).into()),
        };
        self.current_first().map(move |keys| match &plain {
            None => digest(keys, token),
            Some(plain) => keyed_digest(keys, scheme.number(), plain),
        })
    }

    /// A keyed digest of `plain`, for requests that contain secrets: without the authority secret, guesses cannot be
    /// verified against it. One digest for each version of the authority secret, newest first, so that a digest made
    /// with an older version is recognized.
    pub fn keyed_digest<'a>(&'a self, plain: &'a [u8; 32]) -> impl Iterator<Item = [u8; 32]> + 'a {
        // No scheme of foreign digests has this number.
        self.current_first().map(|keys| keyed_digest(keys, Scheme::Own.number(), plain).0)
    }
}

fn stored_digest_with(keys: &Keys, secret: &ImportedSecret) -> TokenDigest {
    match secret {
        ImportedSecret::Token(token) => digest(keys, token.presented()),
        ImportedSecret::Blake3(plain) | ImportedSecret::Sha256(plain) => {
            keyed_digest(keys, secret.scheme().number(), plain)
        }
    }
}

/// Uses a separate key and the number of the scheme, so that neither a token nor a digest of another scheme can produce
/// the same digest.
fn keyed_digest(keys: &Keys, number: i32, plain: &[u8; 32]) -> TokenDigest {
    let mut hasher = blake3::Hasher::new_keyed(&keys.foreign);
    hasher.update(&number.to_be_bytes()).update(plain);
    TokenDigest(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const TOKEN: &str = "sk-live-0123456789";

    fn imported_secrets() -> [ImportedSecret; 3] {
        let sha256 = Sha256::digest(TOKEN.as_bytes()).into();
        let blake3 = *blake3::hash(TOKEN.as_bytes()).as_bytes();
        [
            ImportedSecret::Token(Token::imported(TOKEN).unwrap()),
            ImportedSecret::Blake3(blake3),
            ImportedSecret::Sha256(sha256),
        ]
    }

    fn rings() -> (Keyring, Keyring) {
        let old = "07".repeat(32);
        let both = format!("1:{old}\n2:{}", "08".repeat(32));
        (Keyring::parse(&old).unwrap(), Keyring::parse(&both).unwrap())
    }

    #[test]
    fn an_imported_secret_is_found_by_the_token_with_every_version() {
        let (old, both) = rings();
        let presented = Token::parse_any(TOKEN).unwrap();
        for secret in imported_secrets() {
            let scheme = secret.scheme();
            let stored = old.stored_digest(&secret);
            let looked_up: Vec<_> = both.digests_for_scheme(scheme, presented).collect();
            assert_eq!(looked_up, [both.stored_digest(&secret), stored], "{scheme:?}");
            assert!(both.possible_digests(&secret).contains(&stored), "{scheme:?}");
        }
    }

    #[test]
    fn a_whole_token_is_recognized_by_each_digest_of_it() {
        let (old, both) = rings();
        let [whole, digests @ ..] = imported_secrets();
        let known = both.possible_digests(&whole);
        assert!(digests.iter().all(|digest| known.contains(&old.stored_digest(digest))));
    }

    #[test]
    fn different_schemes_have_different_digests() {
        let (ring, _) = rings();
        let plain = [b'x'; 32];
        let text = Token::imported(&"x".repeat(32)).unwrap();
        let stored = [ImportedSecret::Blake3(plain), ImportedSecret::Sha256(plain), ImportedSecret::Token(text)]
            .map(|secret| ring.stored_digest(&secret));
        let mut all: HashSet<_> = stored.into_iter().collect();
        all.insert(TokenDigest(ring.keyed_digest(&plain).next().unwrap()));
        all.insert(TokenDigest(plain));
        assert_eq!(all.len(), 5);
    }

    #[test]
    fn a_keyed_digest_is_recognized_after_a_rotation() {
        let (old, both) = rings();
        let digests = |ring: &Keyring| ring.keyed_digest(&[7; 32]).collect::<Vec<_>>();
        let [newest, oldest] = digests(&both)[..] else { panic!("one for each version") };
        assert!(newest != oldest && digests(&old) == [oldest]);
    }

    #[test]
    fn a_token_of_another_authority_has_our_format() {
        let token = Token::mint(&crate::token::TokenPrefix::default(), |bytes| {
            bytes.fill(5);
            Ok::<_, ()>(())
        })
        .unwrap();
        let (ring, _) = rings();
        let secret = ImportedSecret::Token(Token::imported(token.reveal()).unwrap());
        assert_eq!((secret.scheme(), ring.stored_digest(&secret)), (Scheme::Own, ring.digest(token.presented())));
    }

    #[test]
    fn numbers_and_schemes_round_trip_and_debug_is_redacted() {
        for scheme in [Scheme::Own, Scheme::Whole, Scheme::Blake3, Scheme::Sha256] {
            assert_eq!(Scheme::from_number(scheme.number()), Some(scheme));
        }
        assert_eq!(Scheme::from_number(4), None);
        assert_eq!(format!("{:?}", imported_secrets()), "[ImportedSecret(…), ImportedSecret(…), ImportedSecret(…)]");
    }
}
