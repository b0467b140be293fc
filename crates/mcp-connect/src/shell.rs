//! Quoting of command arguments for each shell's interactive prompt: the program receives exactly the given text.

/// A command shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// sh, bash, zsh and similar shells.
    Posix,
    /// PowerShell on Windows.
    PowerShell,
    /// cmd.
    Cmd,
}

impl Shell {
    /// Quotes `text` as one argument. For cmd, `text` must not contain control characters.
    #[must_use]
    pub fn quote(self, text: &str) -> String {
        // A path needs no quotes for sh. For PowerShell and cmd it may be a command or a switch.
        let begins_plain = |c: char| c.is_ascii_alphabetic() || (self == Self::Posix && "./".contains(c));
        let is_plain =
            text.starts_with(begins_plain) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./:".contains(&b));
        match self {
            _ if is_plain => text.to_owned(),
            Self::Posix => posix(text),
            Self::PowerShell => powershell(text),
            Self::Cmd => cmd(text),
        }
    }

    /// The line that sets an environment variable to `text`. For cmd, `text` must not contain quotation marks or
    /// percent signs, which cmd cannot escape there.
    #[must_use]
    pub fn set_variable(self, variable: &str, text: &str) -> String {
        match self {
            Self::Posix => format!("export {variable}={}", self.quote(text)),
            // Always quoted: PowerShell runs a bare word as a command.
            Self::PowerShell => format!("$env:{variable} = {}", powershell(text)),
            // Quotation marks around the whole assignment keep its content literal.
            Self::Cmd => format!("set \"{variable}={text}\""),
        }
    }
}

/// All characters are literal between single quotes. A single quote is written outside of them.
fn posix(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// All characters but the single quote are literal between single quotes. A single quote is doubled. PowerShell also
/// interprets the four Unicode characters U+2018 to U+201B as single quotes.
fn powershell(text: &str) -> String {
    let mut quoted = String::from("'");
    for c in text.chars() {
        if matches!(c, '\'' | '\u{2018}'..='\u{201b}') {
            quoted.push(c);
        }
        quoted.push(c);
    }
    quoted.push('\'');
    quoted
}

/// cmd passes the line unchanged, and the program splits it by the rules of `CommandLineToArgvW`: an argument is
/// enclosed in quotation marks, a quotation mark within it is written `\"`, and backslashes before a quotation mark are
/// doubled.
///
/// For cmd, each quotation mark, escaped or not, begins or ends a quoted part in which it interprets only `%`. So
/// special characters outside of such a part, and `%` everywhere, are escaped with `^`.
fn cmd(text: &str) -> String {
    let mut line = Line { text: String::from("\""), backslashes: 0, is_quoted: true };
    for c in text.chars() {
        line.push(c);
    }
    line.double_backslashes();
    line.text.push_str(if line.is_quoted { "\"" } else { "^\"" });
    line.text
}

/// A quoted argument under construction.
struct Line {
    text: String,
    /// Number of backslashes at the end of `text`.
    backslashes: usize,
    /// Whether cmd parses the end of `text` as quoted.
    is_quoted: bool,
}

impl Line {
    fn push(&mut self, c: char) {
        match c {
            '\\' => {
                self.backslashes += 1;
                self.text.push(c);
                return;
            }
            '"' => {
                self.double_backslashes();
                self.text.push_str("\\\"");
                self.is_quoted = !self.is_quoted;
            }
            '%' if self.is_quoted => {
                // Leave the quoted part for the escape: within it, ^ is literal.
                self.double_backslashes();
                self.text.push_str("\"^%\"");
            }
            '%' | '&' | '|' | '<' | '>' | '(' | ')' | '^' if !self.is_quoted => self.text.extend(['^', c]),
            _ => self.text.push(c),
        }
        self.backslashes = 0;
    }

    /// Doubles the backslashes at the end: a quotation mark follows.
    fn double_backslashes(&mut self) {
        self.text.extend(std::iter::repeat_n('\\', self.backslashes));
        self.backslashes = 0;
    }
}
