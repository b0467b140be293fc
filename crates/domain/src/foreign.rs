//! Tokens that another system issued: what it brings along of them, and what is kept of that.
//!
//! It brings the whole token, or a plain digest of it. A plain digest is as good as the token itself to whoever can try
//! guesses, so it is never kept: what is kept is a digest of the digest, keyed with the authority secret. A presented token
//! is then looked up by each way in which a resident one may have been brought along; see [`Keyring::digests_for_scheme`].

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::secret::{Keyring, Keys, digest};
use crate::token::{Presented, Token, TokenDigest};

/// What the kept digest of a token was made of. The number is stored, and never given to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// A token of our own shape, minted here or by another authority.
    Own = 0,
    /// A whole token of another shape.
    Whole = 1,
    /// The plain BLAKE3 digest of a token.
    Blake3 = 2,
    /// The SHA-256 digest of a token.
    Sha256 = 3,
}

impl Scheme {
    /// Those that only an import brings.
    pub const FOREIGN: [Self; 3] = [Self::Whole, Self::Blake3, Self::Sha256];

    /// The number that is stored.
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

/// What another system brings along of a token.
pub enum ImportedSecret {
    /// All of it.
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
    /// How it will be kept.
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
    /// What is kept of it, under the current version of the secret.
    #[must_use]
    pub fn digest_brought(&self, brought: &ImportedSecret) -> TokenDigest {
        keep(self.current_keys(), brought)
    }

    /// Every digest by which the same token may be here already: under each version of the secret and, where the whole token
    /// is known, as whatever another system may have brought of it.
    #[must_use]
    pub fn digests_brought(&self, brought: &ImportedSecret) -> Vec<TokenDigest> {
        match brought {
            ImportedSecret::Token(token) => {
                let schemes = [Scheme::Whole, Scheme::Blake3, Scheme::Sha256].into_iter();
                schemes.flat_map(|scheme| self.digests_for_scheme(scheme, token.presented())).collect()
            }
            digest => self.newest_first().map(|keys| keep(keys, digest)).collect(),
        }
    }

    /// The digests of a presented token under each version of the secret, newest first, if `scheme` is the one that it was
    /// brought along by.
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
        self.newest_first().map(move |keys| match &plain {
            None => digest(keys, token),
            Some(plain) => keyed_digest(keys, scheme.number(), plain),
        })
    }

    /// A digest of `plain` from which nobody without the authority secret can try guesses: of a request that brings secrets
    /// along. Under each version of the secret, newest first: one that was made before the newest came is known again.
    pub fn keyed_digest<'a>(&'a self, plain: &'a [u8; 32]) -> impl Iterator<Item = [u8; 32]> + 'a {
        // No scheme of foreign digests has this number.
        self.newest_first().map(|keys| keyed_digest(keys, Scheme::Own.number(), plain).0)
    }
}

fn keep(keys: &Keys, brought: &ImportedSecret) -> TokenDigest {
    match brought {
        ImportedSecret::Token(token) => digest(keys, token.presented()),
        ImportedSecret::Blake3(plain) | ImportedSecret::Sha256(plain) => {
            keyed_digest(keys, brought.scheme().number(), plain)
        }
    }
}

/// Under a key of its own and with its number, so that neither a token nor a digest of another kind can stand in for it.
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

    fn brought() -> [ImportedSecret; 3] {
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
    fn whatever_is_brought_along_is_found_by_the_token_under_every_version() {
        let (old, both) = rings();
        let presented = Token::parse_any(TOKEN).unwrap();
        for brought in brought() {
            let scheme = brought.scheme();
            let kept = old.digest_brought(&brought);
            let looked_up: Vec<_> = both.digests_for_scheme(scheme, presented).collect();
            assert_eq!(looked_up, [both.digest_brought(&brought), kept], "{scheme:?}");
            assert!(both.digests_brought(&brought).contains(&kept), "{scheme:?}");
        }
    }

    #[test]
    fn a_whole_token_is_known_again_by_any_digest_of_it() {
        let (old, both) = rings();
        let [whole, digests @ ..] = brought();
        let known = both.digests_brought(&whole);
        assert!(digests.iter().all(|brought| known.contains(&old.digest_brought(brought))));
    }

    #[test]
    fn nothing_that_is_brought_along_can_stand_in_for_another() {
        let (ring, _) = rings();
        let plain = [b'x'; 32];
        let text = Token::imported(&"x".repeat(32)).unwrap();
        let kept = [ImportedSecret::Blake3(plain), ImportedSecret::Sha256(plain), ImportedSecret::Token(text)]
            .map(|b| ring.digest_brought(&b));
        let mut all: HashSet<_> = kept.into_iter().collect();
        all.insert(TokenDigest(ring.keyed_digest(&plain).next().unwrap()));
        all.insert(TokenDigest(plain));
        assert_eq!(all.len(), 5);
    }

    #[test]
    fn what_was_concealed_is_known_again_beside_a_newer_version() {
        let (old, both) = rings();
        let concealed = |ring: &Keyring| ring.keyed_digest(&[7; 32]).collect::<Vec<_>>();
        let [newest, oldest] = concealed(&both)[..] else { panic!("one a version") };
        assert!(newest != oldest && concealed(&old) == [oldest]);
    }

    #[test]
    fn a_token_of_another_authority_is_one_of_ours() {
        let token = Token::mint(&crate::token::TokenPrefix::default(), |bytes| {
            bytes.fill(5);
            Ok::<_, ()>(())
        })
        .unwrap();
        let (ring, _) = rings();
        let brought = ImportedSecret::Token(Token::imported(token.reveal()).unwrap());
        assert_eq!((brought.scheme(), ring.digest_brought(&brought)), (Scheme::Own, ring.digest(token.presented())));
    }

    #[test]
    fn numbers_and_schemes_belong_together_and_nothing_is_printed() {
        for scheme in [Scheme::Own, Scheme::Whole, Scheme::Blake3, Scheme::Sha256] {
            assert_eq!(Scheme::from_number(scheme.number()), Some(scheme));
        }
        assert_eq!(Scheme::from_number(4), None);
        assert_eq!(format!("{:?}", brought()), "[ImportedSecret(…), ImportedSecret(…), ImportedSecret(…)]");
    }
}
