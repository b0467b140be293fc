//! The token that a holder presents: `<prefix><40 characters base62><6 characters base62 of CRC-32>`.
//!
//! The checksum covers all characters before it and is not secret. It distinguishes a token from a typing error or a
//! scanner's false positive without a lookup. The 40 characters contain 238 random bits.
//!
//! A secret has two types. [`Token`] is the plain token: it is minted once, shown once, and never printed, compared or
//! stored. [`TokenDigest`] is the only one that storage accepts.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::text::ValidationError;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BODY_LEN: usize = 40;
const CHECKSUM_LEN: usize = 6;
const PREFIX_LEN_MAX: usize = 32;
/// Number of random characters in a hint.
const HINT_LEN: usize = 4;
/// Maximum length of a presented token, in bytes. Minted tokens are shorter.
pub const TOKEN_LEN_MAX: usize = 512;
/// Minimum length of a whole token that is imported, in bytes.
const IMPORTED_LEN_MIN: usize = 16;
/// Minimum length of an imported token that has a hint, in bytes.
const HINTED_LEN_MIN: usize = 24;

/// The prefix of an account's tokens: `[a-z][a-z0-9]*(_[a-z0-9]+)*_`, at most 32 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPrefix(Arc<str>);

impl TokenPrefix {
    /// Validates `value` as a prefix.
    ///
    /// # Errors
    /// The rule that `value` breaks.
    pub fn new(value: &str) -> Result<Self, ValidationError> {
        if is_prefix(value.as_bytes()) {
            Ok(Self(value.into()))
        } else {
            Err(ValidationError::new(
                "must be at most 32 characters: lower-case words of letters and digits, a letter first, each followed \
                 by '_'",
            ))
        }
    }

    /// The prefix as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TokenPrefix {
    /// `ka_`, for accounts whose policy sets none. It differs from `key_`, the prefix of generated key IDs.
    fn default() -> Self {
        Self("ka_".into())
    }
}

fn is_prefix(bytes: &[u8]) -> bool {
    bytes.len() <= PREFIX_LEN_MAX
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.last() == Some(&b'_')
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_')
        && !bytes.windows(2).any(|pair| pair == b"__")
}

fn is_presentable(text: &str) -> bool {
    (1..=TOKEN_LEN_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A plaintext token. Its `Debug` output is `Token(…)`, and its memory is zeroed on drop.
pub struct Token(Zeroizing<String>);

impl Token {
    /// Mints a token. `fill` provides random bytes.
    ///
    /// # Errors
    /// The error of `fill`.
    pub fn mint<E>(prefix: &TokenPrefix, fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut text = Zeroizing::new(String::with_capacity(prefix.0.len() + BODY_LEN + CHECKSUM_LEN));
        text.push_str(&prefix.0);
        push_base62(&mut text, BODY_LEN, fill)?;
        let checksum = checksum(text.as_bytes());
        text.extend(checksum.iter().map(|&b| char::from(b)));
        Ok(Self(text))
    }

    /// Creates a token from decrypted bytes.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not UTF-8.
    pub fn from_sealed(opened: &Zeroizing<Vec<u8>>) -> Result<Self, Malformed> {
        std::str::from_utf8(opened).map(|text| Self(Zeroizing::new(text.to_owned()))).map_err(|_bytes| Malformed)
    }

    /// Creates a token from a token of another system, in any format.
    ///
    /// # Errors
    /// The rule that `text` breaks: it is too short for a secret, or cannot be presented.
    pub fn imported(text: &str) -> Result<Self, ValidationError> {
        if text.len() >= IMPORTED_LEN_MIN && is_presentable(text) {
            Ok(Self(Zeroizing::new(text.to_owned())))
        } else {
            Err(ValidationError::new(format!(
                "must be {IMPORTED_LEN_MIN} to {TOKEN_LEN_MAX} printable ASCII characters without spaces"
            )))
        }
    }

    /// Parses a presented token in any format, because it may be an imported one.
    ///
    /// # Errors
    /// [`Malformed`] if no token can have this text.
    pub fn parse_any(text: &str) -> Result<Presented<'_>, Malformed> {
        if is_presentable(text) { Ok(Presented(text)) } else { Err(Malformed) }
    }

    /// Parses a presented token in our format.
    ///
    /// # Errors
    /// [`Malformed`] if the format or the checksum is wrong.
    pub fn parse(text: &str) -> Result<Presented<'_>, Malformed> {
        let bytes = text.as_bytes();
        let Some(split) = bytes.len().checked_sub(BODY_LEN + CHECKSUM_LEN) else { return Err(Malformed) };
        let Some((prefix, random)) = bytes.split_at_checked(split) else { return Err(Malformed) };
        if !is_prefix(prefix) || !random.iter().all(u8::is_ascii_alphanumeric) {
            return Err(Malformed);
        }
        let Some((signed, claimed)) = bytes.split_at_checked(bytes.len() - CHECKSUM_LEN) else { return Err(Malformed) };
        if checksum(signed) == claimed { Ok(Presented(text)) } else { Err(Malformed) }
    }

    /// The token as its holder presents it.
    #[must_use]
    pub fn presented(&self) -> Presented<'_> {
        Presented(&self.0)
    }

    /// The plain text, for the one response that shows it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The part that lists show: the prefix and the first four random characters. For a token in another format, which
    /// may have no prefix: the first four characters and an ellipsis. For a short one: nothing, because four characters
    /// would be a large part of its entropy.
    #[must_use]
    pub fn hint(&self) -> String {
        if Self::parse(&self.0).is_err() {
            let is_long = self.0.len() >= HINTED_LEN_MIN;
            return if is_long { self.0.chars().take(HINT_LEN).chain(['…']).collect() } else { String::new() };
        }
        let shown = self.0.len().saturating_sub(BODY_LEN + CHECKSUM_LEN) + HINT_LEN;
        self.0.chars().take(shown).collect()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A borrowed token whose format has been validated.
#[derive(Clone, Copy)]
pub struct Presented<'a>(&'a str);

impl Presented<'_> {
    /// The bytes that the digest covers.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Copies the token.
    #[must_use]
    pub fn to_token(&self) -> Token {
        Token(Zeroizing::new(self.0.to_owned()))
    }
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presented(…)")
    }
}

/// The text does not have the format of a token, or its checksum is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a well-formed token")]
pub struct Malformed;

/// The stored digest of a token: BLAKE3 keyed with the digest key of one version of the authority secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenDigest(pub [u8; 32]);

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

/// Appends `len` uniformly distributed characters. Bytes of 248 or more are rejected, because they would bias the first
/// letters of the alphabet.
pub(crate) fn push_base62<E>(
    text: &mut String,
    len: usize,
    mut fill: impl FnMut(&mut [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut random = Zeroizing::new([0_u8; 64]);
    let mut missing = len;
    while missing > 0 {
        fill(random.as_mut_slice())?;
        let letters = random.iter().filter(|&&b| b < 248).take(missing);
        missing -= letters.clone().count();
        text.extend(letters.map(|&b| letter(u32::from(b))));
    }
    Ok(())
}

fn letter(number: u32) -> char {
    ALPHABET.get((number % 62) as usize).copied().map_or('0', char::from)
}

/// CRC-32 (IEEE) as six base62 digits, most significant first. Since 62⁶ > 2³², each checksum has one encoding.
fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut rest = crc32fast::hash(bytes);
    let mut digits = [b'0'; CHECKSUM_LEN];
    for digit in digits.iter_mut().rev() {
        *digit = letter(rest) as u8;
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mint(prefix: &str, seed: u64) -> Token {
        let mut state = seed;
        Token::mint(&TokenPrefix::new(prefix).unwrap(), |bytes| {
            for byte in bytes {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *byte = (state >> 56) as u8;
            }
            Ok::<_, ()>(())
        })
        .unwrap()
    }

    #[test]
    fn a_minted_token_has_the_documented_format() {
        let token = Token::mint(&TokenPrefix::new("mko_tkn_").unwrap(), |bytes| {
            bytes.fill(0);
            Ok::<_, ()>(())
        })
        .unwrap();
        let signed = format!("mko_tkn_{}", "0".repeat(40));
        assert!(token.reveal().starts_with(&signed));
        assert_eq!(token.reveal().len(), 8 + 40 + 6);
        assert_eq!(token.hint(), "mko_tkn_0000");
        assert_eq!(
            format!("{token:?}{:?}{:?}", token.presented(), TokenDigest([1; 32])),
            "Token(…)Presented(…)TokenDigest(…)"
        );
    }

    #[test]
    fn imported_tokens_have_any_format_within_the_limits() {
        let hint = |length: usize| Token::imported(&"sk-live/ABC=0123456789-X"[..length]).unwrap().hint();
        assert_eq!((hint(24).as_str(), hint(23).as_str(), hint(16).as_str()), ("sk-l…", "", ""));
        let ours = mint("mko_tkn_", 7);
        assert_eq!(Token::imported(ours.reveal()).unwrap().hint(), ours.hint());
        for good in [&"x".repeat(16), &"~".repeat(512)] {
            assert!(Token::imported(good).is_ok() && Token::parse_any(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            &"x".repeat(15),
            &"x".repeat(513),
            "with a space in it",
            "a-line-\n-and-more-of-it",
            "ümlaute-ümlaute-ü",
        ] {
            assert!(Token::imported(bad).is_err(), "{bad}");
        }
        assert!(Token::parse_any("short").is_ok(), "an imported digest may belong to a shorter token");
        for bad in ["", &"x".repeat(513), "a b", "a\0"] {
            assert!(Token::parse_any(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn prefixes_follow_the_grammar() {
        for good in ["a_", "mko_tkn_", "a1_2b_", &format!("{}_", "a".repeat(31))] {
            assert!(TokenPrefix::new(good).is_ok(), "{good}");
        }
        for bad in ["", "_", "a", "A_", "1a_", "a__", "a_b", "_a_", "a-b_", "ä_", &format!("{}_", "a".repeat(32))] {
            assert!(TokenPrefix::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn characters_are_uniformly_distributed() {
        let mut counts = [0_u32; 256];
        for seed in 0..2_000 {
            for byte in mint("a_", seed).reveal()[2..42].bytes() {
                counts[usize::from(byte)] += 1;
            }
        }
        let mean = 2_000 * 40 / 62;
        for letter in ALPHABET {
            let count = counts[usize::from(*letter)];
            assert!((mean * 8 / 10..mean * 12 / 10).contains(&count), "{}: {count} of {mean}", char::from(*letter));
        }
    }

    proptest! {
        #[test]
        fn a_minted_token_parses(seed: u64, prefix in "[a-z][a-z0-9]{0,9}(_[a-z0-9]{1,5}){0,3}_") {
            let token = mint(&prefix, seed);
            prop_assert!(Token::parse(token.reveal()).is_ok());
        }

        /// The random part contains no underscore, so the last one ends the prefix: a token has one parse.
        #[test]
        fn no_token_parses_as_one_of_another_prefix(
            seed: u64,
            a in "[a-z][a-z0-9]{0,6}(_[a-z0-9]{1,4}){0,2}_",
            b in "[a-z][a-z0-9]{0,6}(_[a-z0-9]{1,4}){0,2}_",
        ) {
            let token = mint(&a, seed);
            let end = token.reveal().rfind('_').unwrap() + 1;
            prop_assert_eq!(&token.reveal()[..end], a.as_str());
            if a != b {
                let swapped = format!("{b}{}", &token.reveal()[end..]);
                prop_assert_eq!(Token::parse(&swapped).unwrap_err(), Malformed);
            }
        }

        #[test]
        fn every_single_character_change_is_rejected(seed: u64, at in 0_usize..54, to in any::<char>()) {
            let token = mint("mko_tkn_", seed);
            let mut letters: Vec<char> = token.reveal().chars().collect();
            prop_assume!(letters[at] != to);
            letters[at] = to;
            let changed: String = letters.into_iter().collect();
            prop_assert_eq!(Token::parse(&changed).unwrap_err(), Malformed);
        }

        #[test]
        fn parse_is_total(text in any::<String>()) {
            let _ = Token::parse(&text);
        }
    }
}
