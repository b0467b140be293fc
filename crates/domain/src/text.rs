//! Limits of free text, and the error that states a broken rule.

use std::fmt;

/// A value that breaks a rule. The error states the rule and never contains the value, which may be a secret.
///
/// The caller adds the name of the field (`INVALID_ARGUMENT` with a field violation).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValidationError(String);

impl ValidationError {
    /// Creates an error whose text is the rule: "must be …".
    pub fn new(rule: impl Into<String>) -> Self {
        Self(rule.into())
    }

    /// The rule that was broken, as a sentence fragment that starts with "must".
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The rule of a kind of free text.
#[derive(Debug, Clone, Copy)]
pub struct TextRule {
    /// Minimum number of characters (Unicode scalar values).
    pub characters_min: usize,
    /// Maximum number of characters (Unicode scalar values).
    pub characters_max: usize,
    /// Whether line feeds and tabs are allowed. Other control characters never are.
    pub multiline: bool,
    /// Whether white space is allowed.
    pub spaces: bool,
}

impl TextRule {
    /// One line of at most `characters_max` characters. It may be empty.
    #[must_use]
    pub const fn line(characters_max: usize) -> Self {
        Self { characters_min: 0, characters_max, multiline: false, spaces: true }
    }

    /// The same, but at least one character.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.characters_min = 1;
        self
    }

    /// The same, with line feeds and tabs.
    #[must_use]
    pub const fn multiline(mut self) -> Self {
        self.multiline = true;
        self
    }

    /// The same, without white space.
    #[must_use]
    pub const fn without_spaces(mut self) -> Self {
        self.spaces = false;
        self
    }

    /// Checks `value` against the rule.
    ///
    /// # Errors
    /// The rule that `value` breaks.
    pub fn check(&self, value: &str) -> Result<(), ValidationError> {
        let characters = value.chars().count();
        let allowed = |c: char| {
            if c.is_control() {
                return self.multiline && matches!(c, '\n' | '\t');
            }
            self.spaces || !c.is_whitespace()
        };
        if characters < self.characters_min || characters > self.characters_max || !value.chars().all(allowed) {
            return Err(ValidationError::new(self.to_string()));
        }
        Ok(())
    }
}

impl fmt::Display for TextRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.characters_min {
            0 => write!(f, "must be at most {} characters", self.characters_max)?,
            min => write!(f, "must be {min} to {} characters", self.characters_max)?,
        }
        f.write_str(match (self.multiline, self.spaces) {
            (true, _) => " without control characters other than line feed and tab",
            (false, true) => " without control characters",
            (false, false) => " without spaces or control characters",
        })
    }
}

/// Whether a text shows nothing: white space, and characters without a form of their own (Unicode's
/// `Default_Ignorable_Code_Point`, and the blank Braille pattern).
#[must_use]
pub fn is_invisible(text: &str) -> bool {
    text.chars().all(|c| {
        c.is_whitespace()
            || matches!(c,
                '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
                | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}')
    })
}

/// `display_name` of a key or an account.
pub const DISPLAY_NAME: TextRule = TextRule::line(200);
/// `description` of a key.
pub const DESCRIPTION: TextRule = TextRule::line(2000).multiline();
/// `reason` of a revocation.
pub const REASON: TextRule = TextRule::line(500).multiline();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_characters_instead_of_bytes() {
        assert!(TextRule::line(3).check("äöü").is_ok());
        assert!(TextRule::line(3).check("abcd").is_err());
    }

    #[test]
    fn a_text_without_a_visible_character_is_invisible() {
        for text in ["", " \u{a0}", "\u{200b}", "\u{202e}\u{2069}", "\u{feff}\u{ad}", "\u{3164}\u{e0041}"] {
            assert!(is_invisible(text), "{text:?}");
        }
        for text in [".", "\u{200b}a", "é", "अ\u{200d}"] {
            assert!(!is_invisible(text), "{text:?}");
        }
    }

    #[test]
    fn control_characters_are_rejected_with_the_rule() {
        let error = DISPLAY_NAME.check("a\u{0}b").unwrap_err();
        assert_eq!(error.as_str(), "must be at most 200 characters without control characters");
        assert!(DESCRIPTION.check("two\nlines\tand a tab").is_ok());
        assert!(DESCRIPTION.check("a carriage return\r").is_err());
    }
}
