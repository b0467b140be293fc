//! The authority secret and the keys that are derived from it.
//!
//! The authority secret is the only secret of the authority. A version is 32 random bytes. Several versions may be
//! valid at once, and the newest is used for new data. Each purpose has a separate key (`blake3::derive_key` with its
//! own context), so data made for one purpose is not valid for another.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::text::ValidationError;
use crate::token::{Presented, TokenDigest};

/// The number of a version of the authority secret, starting at 1.
pub type SecretVersion = u32;

const DIGEST_CONTEXT: &str = "keyauthority.v1 2026-11 token digest";
const FOREIGN_CONTEXT: &str = "keyauthority.v1 2026-11 foreign digest";
const SEAL_CONTEXT: &str = "keyauthority.v1 2026-11 seal";
const TAG_CONTEXT: &str = "keyauthority.v1 2026-11 audit chain tag";
const CHECK_CONTEXT: &str = "keyauthority.v1 2026-11 secret check value";

/// The derived keys of one version.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Keys {
    pub(crate) digest: [u8; 32],
    pub(crate) foreign: [u8; 32],
    pub(crate) seal: [u8; 32],
    pub(crate) tag: [u8; 32],
    pub(crate) check: [u8; 32],
}

/// The derived keys of all valid versions of the authority secret. The secret itself is not retained.
pub struct Keyring {
    current: (SecretVersion, Keys),
    /// Other versions with which tokens are verified: older ones, and the next ones.
    others: BTreeMap<SecretVersion, Keys>,
}

/// A check value of a version, which the database stores to recognize the secret. It does not reveal the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckValue {
    /// The version.
    pub version: SecretVersion,
    /// The value.
    pub value: [u8; 32],
    /// Whether the version is not used for new data yet. Then other replicas need not have it.
    pub is_next: bool,
}

/// The mark of a version that is not used for new data yet.
const NEXT: &str = "next ";

impl Keyring {
    /// Parses a secret file: one line for each version, `<version>:<64 hexadecimal characters>`. A line without a
    /// version is version 1. Empty lines and lines that start with `#` are ignored. A line that starts with `next ` is
    /// a version with which tokens are verified, and which is not used for new data yet; it must be newer than the
    /// others.
    ///
    /// # Errors
    /// The rule and the line number, never the content of the line.
    pub fn parse(text: &str) -> Result<Self, ValidationError> {
        let (mut versions, mut next) = (BTreeMap::new(), BTreeMap::new());
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (line, marked) = match line.strip_prefix(NEXT) {
                Some(line) => (line.trim_start(), &mut next),
                None => (line, &mut versions),
            };
            let rule = || {
                ValidationError::new(format!(
                    "must contain lines of the form <version>:<64 hexadecimal characters>, with version 1 or higher; \
                     line {} is invalid",
                    number + 1
                ))
            };
            let (version, digits) = match line.split_once(':') {
                Some((version, digits)) => (version.trim().parse().map_err(|_| rule())?, digits.trim()),
                None => (1, line),
            };
            let secret = parse_hex(digits).ok_or_else(rule)?;
            if version == 0 {
                return Err(rule());
            }
            if marked.insert(version, derive(&secret)).is_some() {
                return Err(ValidationError::new(format!("must contain version {version} of the secret only once")));
            }
        }
        let Some(current) = versions.pop_last() else {
            return Err(ValidationError::new(
                "must contain at least one version of the secret that is not marked next",
            ));
        };
        if next.keys().any(|version| *version <= current.0) {
            return Err(ValidationError::new("must mark as next only versions that are newer than all others"));
        }
        versions.append(&mut next);
        Ok(Self { current, others: versions })
    }

    /// The content of a secret file with one version.
    #[must_use]
    pub fn file_text(secret: &[u8; 32]) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(67));
        text.push_str("1:");
        for byte in secret {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        text.push('\n');
        text
    }

    /// The version that is used for new data.
    #[must_use]
    pub fn current(&self) -> SecretVersion {
        self.current.0
    }

    /// The digest of a token, keyed with the current version.
    #[must_use]
    pub fn digest(&self, token: Presented<'_>) -> TokenDigest {
        digest(self.current_keys(), token)
    }

    /// The digests of a presented token for each valid version, the current one first.
    pub fn digests<'a>(&'a self, token: Presented<'a>) -> impl Iterator<Item = TokenDigest> + 'a {
        std::iter::once_with(move || self.digest(token)).chain(self.other_digests(token))
    }

    /// As [`digests`](Self::digests), without the first, which is [`digest`](Self::digest).
    pub fn other_digests<'a>(&'a self, token: Presented<'a>) -> impl Iterator<Item = TokenDigest> + 'a {
        self.others.values().rev().map(move |keys| digest(keys, token))
    }

    /// The check values of all versions, oldest first.
    pub fn check_values(&self) -> impl Iterator<Item = CheckValue> + '_ {
        self.all().map(|(version, keys)| CheckValue { version, value: keys.check, is_next: version > self.current() })
    }

    /// Whether tokens of this version can be verified.
    #[must_use]
    pub fn has(&self, version: SecretVersion) -> bool {
        self.keys(version).is_some()
    }

    pub(crate) fn current_keys(&self) -> &Keys {
        &self.current.1
    }

    pub(crate) fn keys(&self, version: SecretVersion) -> Option<&Keys> {
        if version == self.current.0 { Some(&self.current.1) } else { self.others.get(&version) }
    }

    /// The current version, and then the others, newest first.
    pub(crate) fn current_first(&self) -> impl Iterator<Item = &Keys> {
        std::iter::once(self.current_keys()).chain(self.others.values().rev())
    }

    /// All versions, oldest first.
    fn all(&self) -> impl Iterator<Item = (SecretVersion, &Keys)> {
        let of = |(&version, keys)| (version, keys);
        let older = self.others.range(..self.current.0).map(of);
        older
            .chain(std::iter::once((self.current.0, &self.current.1)))
            .chain(self.others.range(self.current.0..).map(of))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions: Vec<SecretVersion> = self.all().map(|(version, _)| version).collect();
        f.debug_struct("Keyring").field("versions", &versions).finish_non_exhaustive()
    }
}

pub(crate) fn digest(keys: &Keys, token: Presented<'_>) -> TokenDigest {
    TokenDigest(*blake3::keyed_hash(&keys.digest, token.as_bytes()).as_bytes())
}

fn derive(secret: &[u8; 32]) -> Keys {
    Keys {
        digest: blake3::derive_key(DIGEST_CONTEXT, secret),
        foreign: blake3::derive_key(FOREIGN_CONTEXT, secret),
        seal: blake3::derive_key(SEAL_CONTEXT, secret),
        tag: blake3::derive_key(TAG_CONTEXT, secret),
        check: blake3::derive_key(CHECK_CONTEXT, secret),
    }
}

/// Parses 64 hexadecimal digits.
pub(crate) fn parse_hex(digits: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut secret = Zeroizing::new([0; 32]);
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in secret.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Token, TokenPrefix};

    fn token() -> Token {
        Token::mint(&TokenPrefix::default(), |bytes| {
            bytes.fill(5);
            Ok::<_, ()>(())
        })
        .unwrap()
    }

    #[test]
    fn a_written_secret_file_can_be_parsed() {
        let ring = Keyring::parse(&Keyring::file_text(&[7; 32])).unwrap();
        let bare = Keyring::parse(&"07".repeat(32)).unwrap();
        assert_eq!(ring.digest(token().presented()), bare.digest(token().presented()));
        assert_eq!(ring.current(), 1);
    }

    #[test]
    fn several_versions_digest_differently_and_the_newest_comes_first() {
        let text = format!("# rotated in spring\n1:{}\n\n 3 : {}\n", "07".repeat(32), "08".repeat(32));
        let ring = Keyring::parse(&text).unwrap();
        let token = token();
        let digests: Vec<_> = ring.digests(token.presented()).collect();
        assert_eq!(ring.current(), 3);
        assert_eq!(digests.len(), 2);
        assert_eq!(digests[0], ring.digest(token.presented()));
        assert_ne!(digests[0], digests[1]);
    }

    #[test]
    fn a_next_version_verifies_and_is_not_used_for_new_data() {
        let (one, two) = (format!("1:{}", "07".repeat(32)), format!("2:{}", "08".repeat(32)));
        let before = Keyring::parse(&format!("{one}\nnext {two}")).unwrap();
        let after = Keyring::parse(&format!("{one}\n{two}")).unwrap();
        let token = token();
        assert_eq!((before.current(), after.current()), (1, 2));
        assert!(before.digests(token.presented()).any(|digest| digest == after.digest(token.presented())));
        assert!(before.has(2) && !before.has(3));
        let next: Vec<_> = before.check_values().map(|check| (check.version, check.is_next)).collect();
        assert_eq!(next, [(1, false), (2, true)]);
        assert!(after.check_values().all(|check| !check.is_next));
        for text in [format!("next {one}"), format!("next {one}\n{two}"), format!("{one}\nnext {one}")] {
            assert!(Keyring::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn errors_contain_the_line_number_but_not_the_line() {
        for text in ["", "# nothing", "1:beef", "0:00", "x", &"zz".repeat(32), &format!("0:{}", "00".repeat(32))] {
            let error = Keyring::parse(text).unwrap_err();
            assert!(!error.as_str().contains("beef") && !error.as_str().contains("zz"), "{error}");
        }
        let twice = format!("1:{0}\n1:{0}", "07".repeat(32));
        assert!(Keyring::parse(&twice).unwrap_err().as_str().contains("only once"));
    }

    #[test]
    fn debug_shows_versions_only() {
        assert_eq!(format!("{:?}", Keyring::parse(&"07".repeat(32)).unwrap()), "Keyring { versions: [1], .. }");
    }
}
