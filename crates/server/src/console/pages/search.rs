//! What people type into a search for keys: a name, an ID, a hint as pages show it, or a token, perhaps with what
//! stands around it where it leaked.
//!
//! An address of a page contains at most the hint of a token of the authority. The hint finds the key as well.

/// The number of random characters in a hint.
const HINT: usize = 4;
/// The number of random characters in a token of the authority, with the checksum.
const TOKEN: usize = 46;
/// The prefix of generated IDs of keys.
const ID_PREFIX: &str = "key_";
/// The number of random characters in such an ID. They look like those of a token.
const ID: usize = 20;

/// Returns what to search for: of a text with a token, its hint, and of a hint the part before its ellipsis.
pub(in crate::console) fn searchable(typed: &str) -> &str {
    let is_ellipsis = |character: char| character.is_whitespace() || ['…', '.'].contains(&character);
    hint_of_token(typed).unwrap_or_else(|| typed.trim_start().trim_end_matches(is_ellipsis))
}

/// Returns the hint of the token that a text contains; `None` if it contains none.
pub(in crate::console) fn hint_of_token(text: &str) -> Option<&str> {
    words(text).find_map(|word| hint(word, TOKEN))
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
