//! What people type into a search for keys: a name, an ID, a hint as pages show it, or a token, perhaps with what
//! stands around it where it leaked.
//!
//! An address of a page contains at most the hint of a token of the authority. The hint finds the key as well.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;

/// The maximum number of characters of a search, as the API has it. No name and no ID is longer.
const SEARCH_CHARS: usize = 200;
/// The number of random characters in a hint.
const HINT: usize = 4;
/// The number of random characters in a token of the authority, with the checksum.
const TOKEN: usize = 46;
/// The characters of base64, in one of its alphabets, that stand between words as well.
const SEPARATORS: [char; 4] = ['+', '/', '-', '_'];
/// The number of those after which base64 is looked for.
const SEPARATORS_TRIED: usize = 16;
/// The prefix of generated IDs of keys.
const ID_PREFIX: &str = "key_";
/// The number of random characters in such an ID. They look like those of a token.
const ID: usize = 20;

/// Returns what to search for: of a text with a token, its hint, and of a hint the part before its ellipsis.
pub(in crate::console) fn searchable(typed: &str) -> Cow<'_, str> {
    let is_ellipsis = |character: char| character.is_whitespace() || ['…', '.'].contains(&character);
    let end = typed.char_indices().nth(SEARCH_CHARS).map_or(typed.len(), |(end, _)| end);
    let short = typed.get(..end).unwrap_or_default().trim_start().trim_end_matches(is_ellipsis);
    hint_of_token(typed).or_else(|| hint_of_token(short)).map_or(short.into(), Cow::Owned)
}

/// Returns the hint of the token that a text contains, also if it is encoded as in addresses, in JSON or in base64, or
/// in base64 that is encoded once more; `None` if it contains none.
pub(in crate::console) fn hint_of_token(text: &str) -> Option<String> {
    let plain = |text: &str| words(text).find_map(|word| hint(word, TOKEN)).map(str::to_owned);
    let text = readable(text);
    plain(&text).or_else(|| {
        // Strangers send addresses too: of what is within base64, each part is decoded once.
        in_base64(&text, SEPARATORS_TRIED).map(|decoded| readable(&decoded)).find_map(|decoded| {
            plain(&decoded).or_else(|| in_base64(&decoded, 0).find_map(|inner| plain(&readable(&inner))))
        })
    })
}

/// Decodes a text as addresses and JSON encode it.
fn readable(text: &str) -> String {
    unescaped(&percent_decoded(text))
}

/// Decodes a text as addresses encode it, and as addresses that contain addresses do.
fn percent_decoded(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..3 {
        if text.contains('%') {
            text = percent_decode_str(&text).decode_utf8_lossy().into_owned().into();
        }
    }
    text
}

/// Replaces the escapes of JSON by what they stand for, and its control characters by a space.
fn unescaped(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        result.push_str(before);
        let digits = after.strip_prefix('u').and_then(|digits| u32::from_str_radix(digits.get(..4)?, 16).ok());
        let (character, length) = match after.chars().next() {
            Some('u') => (digits.and_then(char::from_u32), 5),
            Some('n' | 'r' | 't' | 'b' | 'f') => (Some(' '), 1),
            _ => (None, 0),
        };
        result.push(character.unwrap_or('\\'));
        rest = character.and_then(|_| after.get(length..)).unwrap_or(after);
    }
    result.push_str(rest);
    result
}

/// Returns the texts that parts of a text may encode in base64, with either alphabet. What stands before such a part,
/// in a path or in a name, can look like a piece of it, so as many separators as this begin a part too.
fn in_base64(text: &str, separators: usize) -> impl Iterator<Item = String> {
    const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    const ENGINE: GeneralPurpose = GeneralPurpose::new(&STANDARD, CONFIG);
    let is_of_base64 = |character: char| character.is_ascii_alphanumeric() || SEPARATORS.contains(&character);
    let runs = text.split(move |character| !is_of_base64(character)).filter(|run| run.len() > TOKEN);
    runs.flat_map(move |run| {
        let after_separators = run.match_indices(SEPARATORS).map(|(place, _)| place + 1).take(separators);
        let alignments = if separators == 0 { 0..0 } else { 1..4 };
        let starts = std::iter::once(0).chain(after_separators).chain(alignments);
        starts.filter_map(|start| {
            let mut part = run.get(start..)?.replace('-', "+").replace('_', "/");
            if part.len() % 4 == 1 {
                part.pop();
            }
            let decoded = ENGINE.decode(part).ok()?;
            // A text in UTF-16 is ASCII with zeros between.
            Some(String::from_utf8_lossy(&decoded).replace('\0', ""))
        })
    })
}

/// Returns the hint of a text with what may be the beginning of a token, longer than the hint.
pub(super) fn beginning(text: &str) -> Option<&str> {
    let may_be_id = |word: &str| word.starts_with(ID_PREFIX) && word.len() <= ID_PREFIX.len() + ID;
    words(text).filter(|word| !may_be_id(word)).find_map(|word| hint(word, HINT + 1))
}

/// Returns the parts of a text that can be tokens.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
}

/// Returns the prefix in a word, and the first random characters after it, if at least `random` of them follow.
fn hint(word: &str, random: usize) -> Option<&str> {
    let word = word.get(word.find(|character: char| character.is_ascii_lowercase())?..)?;
    let starts = word.match_indices('_').map(|(place, _)| place + 1);
    let is_random = |start: &usize| {
        let rest = word.get(*start..).unwrap_or_default();
        rest.find('_').unwrap_or(rest.len()) >= random
    };
    word.get(..starts.clone().find(is_random)? + HINT)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use key_authority_domain::token::{Token, TokenPrefix};

    use super::*;

    #[test]
    fn a_token_is_found_by_its_hint_alone_wherever_it_stands() {
        for prefix in ["org_key_", "ka_", "key_", "key_prod_"] {
            let token = Token::mint(&TokenPrefix::new(prefix).unwrap(), |bytes| {
                bytes.fill(7);
                Ok::<_, Infallible>(())
            });
            let token = token.unwrap();
            let (token, expected) = (token.reveal(), token.hint());
            for before in
                ["", "\"", "Bearer ", "API_KEY=", "https://x.example/?key=", "%20", "'token': '", "TOKEN_", "_"]
            {
                for after in ["", "\",", "_", "_old", " and more", "&x=y"] {
                    let text = format!("{before}{token}{after}");
                    assert_eq!(searchable(&text), expected, "{text}");
                    let text = format!("{before}{}{after}", &token[..prefix.len() + 25]);
                    assert_eq!(beginning(&text), Some(&*expected), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_token_is_found_in_the_encodings_in_which_it_leaks() {
        let token = Token::mint(&TokenPrefix::new("org_key_").unwrap(), |bytes| {
            bytes.fill(7);
            Ok::<_, Infallible>(())
        });
        let token = token.unwrap();
        let (token, expected) = (token.reveal(), token.hint());
        let escaped = token.replace('_', "\\u005f");
        let link =
            format!("{{\"url\":\"https://x.example\",\"headers\":{{\"Authorization\":\"Bearer\\u0020{token}\"}}}}");
        let link = BASE64_URL_SAFE_NO_PAD.encode(link);
        let basic = BASE64_STANDARD.encode(format!("key_1:{token}"));
        let utf16: Vec<u8> = format!("$key = '{token}'").bytes().flat_map(|byte| [byte, 0]).collect();
        let nested = BASE64_STANDARD.encode(format!("{{\"auth\":\"{basic}\"}}"));
        let latin = [b"jos\xe9:", token.as_bytes()].concat();
        for text in [
            format!("\"Authorization\":\"Bearer\\u0020{token}\""),
            format!("{{\"key\":\"{escaped}\"}}"),
            format!("\"first line\\n{token}\""),
            format!("?key={}", token.replace('_', "%5F")),
            format!("?next=%252Fpath%253Fkey%253D{}", token.replace('_', "%255F")),
            format!("?key%253d{token}"),
            format!("Authorization: Basic {basic}"),
            format!("authorization=Basic+{basic}"),
            format!("https://x.example/install/{basic}"),
            format!("/c/{basic}/"),
            format!("AUTH_{}", BASE64_URL_SAFE_NO_PAD.encode(format!("key_1:{token}"))),
            BASE64_STANDARD.encode(latin),
            BASE64_STANDARD.encode(utf16),
            nested,
            format!("cursor://x/install?name=acme&config={link}"),
            format!("cursor://x/install?config={link}%3D%3D&name=acme"),
        ] {
            assert_eq!(searchable(&text), expected, "{text}");
        }
        for text in ["\\", "\\u", "\\u12", "\\ud800 x", "\\uäöü", "100%", "%zz", "Basic ZGVtbzpkZW1v", "a\\nb"] {
            assert_eq!(searchable(text), text);
        }
        assert_eq!(searchable(&"ä".repeat(300)), "ä".repeat(SEARCH_CHARS));
        // What is cut stays as it is when it is searched for again.
        let ends = [format!("{}. tail", "x".repeat(199)), format!("{link}yyy//{}", "z".repeat(300))];
        for text in ends {
            let search = searchable(&text).into_owned();
            assert_eq!(searchable(&search), search);
        }
    }

    #[test]
    fn names_ids_and_hints_are_searched_for_as_they_are() {
        let searches = [
            ("ka_0000", "ka_0000"),
            ("ka_0000…", "ka_0000"),
            ("ka_0000...", "ka_0000"),
            ("sk-l…", "sk-l"),
            ("deploy bot", "deploy bot"),
            ("key_4D6IBSSauq5Qh9xYz012", "key_4D6IBSSauq5Qh9xYz012"),
            ("Deployment-of-2024-to-STAGING", "Deployment-of-2024-to-STAGING"),
            ("OrdersServiceProductionKey2024", "OrdersServiceProductionKey2024"),
            ("user_01ARZ3NDEKTSV4RRFFQ69G5FAV", "user_01ARZ3NDEKTSV4RRFFQ69G5FAV"),
            ("01J9ZQ6X2K8V3B7N4M5P0R1S2T", "01J9ZQ6X2K8V3B7N4M5P0R1S2T"),
            ("a . . .", "a"),
            ("ä…", "ä"),
            ("ka_x7QpAbCd", "ka_x7QpAbCd"),
        ];
        for (typed, search) in searches {
            assert_eq!(searchable(typed), search);
        }
        assert_eq!(beginning("org_key_d5l3Xyz"), Some("org_key_d5l3"));
        for text in ["org_key_d5l3", "key_4D6IBSSauq5Qh9", "deploy bot", "ä_öü", "_", ""] {
            assert_eq!(beginning(text), None, "{text}");
        }
    }
}
