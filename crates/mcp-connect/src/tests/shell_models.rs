//! Models of how shells parse a line, after their manuals. A character that a shell would interpret fails the test.

use std::iter::Peekable;
use std::str::Chars;

use crate::shell::Shell;

/// POSIX.1, 2.2 Quoting: single quotes, and a backslash outside of them. Any other special character panics.
pub(crate) fn posix_words(line: &str) -> Vec<String> {
    let mut words = Words::default();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' => words.end(),
            '\'' => {
                words.begin();
                loop {
                    match chars.next().expect("the quote is closed") {
                        '\'' => break,
                        c => words.push(c),
                    }
                }
            }
            '\\' => words.push(chars.next().expect("something is escaped")),
            c => words.push_bare(c),
        }
    }
    words.all()
}

/// PowerShell, `about_Quoting_Rules`: each of five characters opens and closes a literal; two of them inside it are
/// one.
pub(crate) fn powershell_words(line: &str) -> Vec<String> {
    let is_quote = |c: char| "'‘’‚‛".contains(c);
    let mut words = Words::default();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' => words.end(),
            c if is_quote(c) => {
                words.begin();
                loop {
                    let c = chars.next().expect("the quote is closed");
                    if is_quote(c)
                        && !chars.next_if(|&next| is_quote(next)).is_some_and(|next| {
                            words.push(next);
                            true
                        })
                    {
                        break;
                    }
                    if !is_quote(c) {
                        words.push(c);
                    }
                }
            }
            c => words.push_bare(c),
        }
    }
    words.all()
}

/// The arguments that a program receives from a line typed at cmd's prompt.
pub(crate) fn argv_after_cmd(line: &str) -> Vec<String> {
    argv(&after_cmd(line))
}

/// The command line that PowerShell passes: words that contain a space in quotation marks, others unchanged.
pub(crate) fn line_of_powershell(words: &[String]) -> String {
    let quoted = |word: &String| if word.contains(' ') { format!("\"{word}\"") } else { word.clone() };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// cmd: expands variables first, then parses quotation marks and `^`. At the prompt, an unset variable stays as text.
pub(crate) fn after_cmd(line: &str) -> String {
    for name in line.split('%').skip(1).take(line.matches('%').count().saturating_sub(1)) {
        // A hostile text could name a variable that exists. No name of a variable contains a quotation mark or `^`.
        assert!(name.contains(['^', '"']), "the variable {name} could be expanded: {line}");
    }
    after_script(line)
}

/// cmd, for the arguments that a script passes on: variables are already expanded.
pub(crate) fn after_script(line: &str) -> String {
    let mut rest = String::new();
    let mut is_quoted = false;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                is_quoted = !is_quoted;
                rest.push(c);
            }
            '^' if !is_quoted => rest.push(chars.next().expect("something is escaped")),
            '&' | '|' | '<' | '>' | '(' | ')' if !is_quoted => panic!("cmd interprets {c} in {line}"),
            c => rest.push(c),
        }
    }
    assert!(!is_quoted, "a quotation mark is unclosed at the end of {line}");
    rest
}

/// The value that a shell's line assigns to a variable.
pub(crate) fn value_set(shell: Shell, line: &str, variable: &str) -> String {
    let only = |words: Vec<String>| <[String; 1]>::try_from(words).expect("one word")[0].clone();
    match shell {
        Shell::Posix => {
            only(posix_words(line.strip_prefix(&format!("export {variable}=")).expect("an assignment to the variable")))
        }
        Shell::PowerShell => {
            let value = line.strip_prefix(&format!("$env:{variable} = ")).expect("an assignment to the variable");
            assert!(value.starts_with('\''), "a bare word would be run as a command: {value}");
            only(powershell_words(value))
        }
        Shell::Cmd => {
            let assignment = after_cmd(line);
            let value = assignment.strip_prefix(&format!("set \"{variable}=")).expect("an assignment to the variable");
            value.strip_suffix('"').expect("the quotation mark is closed").to_owned()
        }
    }
}

/// `CommandLineToArgvW`: backslashes are special only before a quotation mark.
pub(crate) fn argv(line: &str) -> Vec<String> {
    let mut words = Words::default();
    let mut is_quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let count = 1 + count(&mut chars, '\\');
                if chars.peek() != Some(&'"') {
                    (0..count).for_each(|_| words.push('\\'));
                    continue;
                }
                (0..count / 2).for_each(|_| words.push('\\'));
                if count % 2 == 1 {
                    chars.next();
                    words.push('"');
                }
            }
            '"' if is_quoted && chars.peek() == Some(&'"') => {
                chars.next();
                words.push('"');
            }
            '"' => {
                is_quoted = !is_quoted;
                words.begin();
            }
            ' ' | '\t' if !is_quoted => words.end(),
            c => words.push(c),
        }
    }
    assert!(!is_quoted, "a quotation mark is unclosed at the end of {line}");
    words.all()
}

fn count(chars: &mut Peekable<Chars<'_>>, wanted: char) -> usize {
    let mut count = 0;
    while chars.next_if_eq(&wanted).is_some() {
        count += 1;
    }
    count
}

/// Words under construction.
#[derive(Default)]
struct Words {
    ended: Vec<String>,
    current: Option<String>,
}

impl Words {
    fn begin(&mut self) {
        self.current.get_or_insert_default();
    }

    fn push(&mut self, c: char) {
        self.current.get_or_insert_default().push(c);
    }

    /// Adds a character outside of quotes, which must not be special there.
    fn push_bare(&mut self, c: char) {
        assert!(c.is_ascii_alphanumeric() || "_-./:".contains(c), "{c:?} is special");
        self.push(c);
    }

    fn end(&mut self) {
        self.ended.extend(self.current.take());
    }

    fn all(mut self) -> Vec<String> {
        self.end();
        self.ended
    }
}
