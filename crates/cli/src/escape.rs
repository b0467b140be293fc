//! Text of other parties on a terminal: characters that would act on it, or change the order of the text, are escaped.

use std::fmt::Write as _;

/// Whether a character acts on a terminal or changes the direction of text.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Shows hidden characters by number, such as `\u{202e}`. Line breaks stay.
pub(crate) fn visible(text: &str) -> String {
    escaped(text, |c| c != '\n' && is_hidden(c))
}

/// Shows hidden characters and line breaks by number, so that the text cannot look like other lines.
pub(crate) fn one_line(text: &str) -> String {
    escaped(text, is_hidden)
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_escaped(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

/// Escapes hidden characters in JSON, where they occur only in strings. The value stays the same.
pub(crate) fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && is_hidden(c) {
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_act_on_a_terminal_are_shown_by_number() {
        assert_eq!(visible("a\u{1b}[31mb"), "a\\u{1b}[31mb");
        assert_eq!(visible("key\u{202e}gnp.exe"), "key\\u{202e}gnp.exe");
        assert_eq!(visible("Grüße ✓\nzwei"), "Grüße ✓\nzwei");
        assert_eq!(one_line("a\n  next: b\u{9b}31m"), "a\\u{a}  next: b\\u{9b}31m");
    }

    #[test]
    fn escaped_json_has_the_same_value() {
        let value = serde_json::json!({ "name": "a\u{9b}31m\u{202e}\u{7f}\n\u{1b}Grüße" });
        let shown = json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!shown.contains(|c| c != '\n' && is_hidden(c)), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
