//! What people type into a search for keys: a name, an ID, a hint as pages show it, or a token.

use std::borrow::Cow;

use key_authority_domain::token::Token;

/// The number of random characters in a hint.
const HINT: usize = 4;

/// Returns what to search for: of a whole token its hint, and of a hint the part before its ellipsis.
pub(super) fn searchable(typed: &str) -> Cow<'_, str> {
    match Token::parse(typed) {
        Ok(token) => token.to_token().hint().into(),
        Err(_) => typed.trim_end_matches(['…', '.']).into(),
    }
}

/// Returns the hint of a text that may be the beginning of a token, if it is longer than the hint. IDs of keys look the
/// same, but for their prefix.
pub(super) fn beginning(text: &str) -> Option<&str> {
    let prefix = text.rfind('_')? + 1;
    let hint = text.get(..prefix + HINT)?;
    let is_longer = text.len() > hint.len() && text.get(prefix..)?.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_longer && !text.starts_with("key_")).then_some(hint)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use key_authority_domain::token::TokenPrefix;

    use super::*;

    #[test]
    fn a_token_is_found_by_its_hint_alone() {
        let token = Token::mint(&TokenPrefix::default(), |bytes| {
            bytes.fill(0);
            Ok::<_, Infallible>(())
        });
        let token = token.unwrap();
        let searches = [
            (token.reveal(), "ka_0000"),
            ("ka_0000…", "ka_0000"),
            ("ka_0000...", "ka_0000"),
            ("sk-l…", "sk-l"),
            ("deploy bot", "deploy bot"),
        ];
        for (typed, search) in searches {
            assert_eq!(searchable(typed), search);
        }
        assert_eq!(beginning("org_key_d5l3Xyz"), Some("org_key_d5l3"));
        for text in ["org_key_d5l3", "key_4D6IBSSauq5Qh9", "deploy bot", "org_key_d5l3 xyz", "ä_öü", ""] {
            assert_eq!(beginning(text), None, "{text}");
        }
    }
}
