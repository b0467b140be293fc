//! Tokens: parse, checksum and print, against a second implementation of the documented format.

use key_authority_domain::token::{Token, TokenPrefix};
use key_authority_testkit::rng::SeededRng;

use crate::Target;

/// The reader with its rule.
pub static TARGET: Target = Target {
    name: "token",
    run,
    seeds,
    dictionary: &[b"_", b"ka_", b"ka_sys_", b"0000000000000000000000000000000000000000"],
    memory: (4096, 16),
};

const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// CRC-32 (IEEE), bit by bit, as six digits of base 62.
fn checksum(bytes: &[u8]) -> String {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    let mut rest = !crc;
    let mut digits = [0; 6];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET.get((rest % 62) as usize).copied().unwrap_or_default();
        rest /= 62;
    }
    String::from_utf8_lossy(&digits).into_owned()
}

fn is_prefix(text: &str) -> bool {
    let Some(words) = text.strip_suffix('_') else { return false };
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    text.len() <= 32 && text.starts_with(|first: char| first.is_ascii_lowercase()) && words.split('_').all(is_word)
}

/// The length of the prefix of a token, if the text has its format.
fn prefix_len(text: &str) -> Option<usize> {
    let end = text.rfind('_')? + 1;
    let (prefix, random) = text.split_at(end);
    let signed = text.get(..text.len().checked_sub(6)?)?;
    let is_token = is_prefix(prefix)
        && random.len() == 46
        && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && text.strip_prefix(signed) == Some(checksum(signed.as_bytes()).as_str());
    is_token.then_some(end)
}

fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    check(&text);
    // Nearly no mutation keeps the checksum right.
    check(&format!("{text}{}", checksum(text.as_bytes())));
    mint(input, &text);
}

fn check(text: &str) {
    let prefix = prefix_len(text);
    assert_eq!(Token::parse(text).is_ok(), prefix.is_some(), "{text:?}");
    assert_eq!(TokenPrefix::new(text).is_ok(), is_prefix(text), "{text:?}");
    let is_presentable = (1..=512).contains(&text.len()) && text.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
    assert_eq!(Token::parse_any(text).is_ok(), is_presentable, "{text:?}");
    assert!(prefix.is_none() || is_presentable);
    let imported = Token::imported(text);
    assert_eq!(imported.is_ok(), is_presentable && text.len() >= 16, "{text:?}");
    let Ok(token) = imported else { return };
    assert_eq!(token.reveal(), text);
    assert_eq!(token.presented().as_bytes(), text.as_bytes());
    assert_eq!(format!("{token:?}{:?}", token.presented()), "Token(…)Presented(…)");
    let shown = match prefix {
        Some(end) => text.chars().take(end + 4).collect(),
        None if text.len() >= 24 => text.chars().take(4).chain(['…']).collect(),
        None => String::new(),
    };
    assert_eq!(token.hint(), shown, "{text:?}");
}

/// A minted token has its prefix, and is read again.
fn mint(input: &[u8], text: &str) {
    let Ok(prefix) = TokenPrefix::new(text) else { return };
    let mut rng =
        SeededRng::new(input.iter().fold(7, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(u64::from(*byte))));
    let token = Token::mint(&prefix, |bytes| {
        bytes.fill_with(|| u8::try_from(rng.below(256)).unwrap_or_default());
        Ok::<_, std::convert::Infallible>(())
    });
    let Ok(token) = token;
    assert_eq!(prefix_len(token.reveal()), Some(text.len()));
    check(token.reveal());
}

fn seeds() -> Vec<Vec<u8>> {
    let longest = format!("{}_", "a".repeat(31));
    let prefixes = ["ka_", "mko_tkn_", "a1_2b_", "a_", &longest, "A_", "a__", "ä_", ""];
    let mut seeds: Vec<String> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
    for prefix in prefixes {
        let signed = format!("{prefix}0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcd");
        seeds.push(format!("{signed}{}", checksum(signed.as_bytes())));
        seeds.push(signed);
    }
    seeds.extend(
        ["sk-live/ABC=0123456789-X", "x".repeat(512).as_str(), "with a space in its middle"].map(str::to_owned),
    );
    seeds.into_iter().map(String::into_bytes).collect()
}
