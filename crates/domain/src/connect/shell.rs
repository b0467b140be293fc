//! One argument of a command, as each shell must read it to get exactly the text, typed or pasted at its prompt.

/// A program that reads commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// sh, bash, zsh and their kin.
    Posix,
    /// PowerShell on Windows.
    PowerShell,
    /// cmd.
    Cmd,
}

impl Shell {
    /// The argument that is read as `text`. For cmd, `text` must be without control characters.
    #[must_use]
    pub fn quote(self, text: &str) -> String {
        let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./:".contains(&b));
        match self {
            _ if is_plain => text.to_owned(),
            Self::Posix => posix(text),
            Self::PowerShell => powershell(text),
            Self::Cmd => cmd(text),
        }
    }

    /// The line that gives a variable of the environment the value `text`. For cmd, `text` must be without quotation marks
    /// and percent signs, for which it has no spelling there.
    #[must_use]
    pub fn set(self, variable: &str, text: &str) -> String {
        match self {
            Self::Posix => format!("export {variable}={}", self.quote(text)),
            // A value is no argument: a bare word would be taken for a command.
            Self::PowerShell => format!("$env:{variable} = {}", powershell(text)),
            // The quotation marks go around the whole, and what is in them belongs to the value as it stands.
            Self::Cmd => format!("set \"{variable}={text}\""),
        }
    }
}

/// Between single quotes nothing has a meaning, and a single quote stands outside of them.
fn posix(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Between single quotes nothing has a meaning but a single quote, which is doubled; and PowerShell takes four others of
/// Unicode for one.
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

/// cmd hands the line on as it is, and the program then takes it apart by the rules of
/// `CommandLineToArgvW`: quotation marks around, one within it as `\"`, and backslashes before any of them doubled.
///
/// Of such quotation marks cmd knows nothing but that each begins or ends a part in which only `%` has a meaning: so what
/// stands outside of such a part by its count, and `%` always, gets a `^`.
fn cmd(text: &str) -> String {
    let mut line = Line { text: String::from("\""), backslashes: 0, is_quoted: true };
    for c in text.chars() {
        line.push(c);
    }
    line.double_backslashes();
    line.text.push_str(if line.is_quoted { "\"" } else { "^\"" });
    line.text
}

/// An argument within its quotation marks, as far as it is written.
struct Line {
    text: String,
    /// How many stand at its end.
    backslashes: usize,
    /// Whether cmd is between quotation marks by its count.
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
                // Out of the quotation marks and in again, since within them a ^ is none.
                self.double_backslashes();
                self.text.push_str("\"^%\"");
            }
            '%' | '&' | '|' | '<' | '>' | '(' | ')' | '^' if !self.is_quoted => self.text.extend(['^', c]),
            _ => self.text.push(c),
        }
        self.backslashes = 0;
    }

    /// A quotation mark follows.
    fn double_backslashes(&mut self) {
        self.text.extend(std::iter::repeat_n('\\', self.backslashes));
        self.backslashes = 0;
    }
}
