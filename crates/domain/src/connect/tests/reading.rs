//! How shells read a line, after their manuals. Whatever would act as more than text fails the test.

use std::iter::Peekable;
use std::str::Chars;

use crate::connect::shell::Shell;

/// POSIX.1, 2.2 Quoting: single quotes, and a backslash outside of them. Anything else with a meaning is a fault.
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

/// PowerShell, `about_Quoting_Rules`: each of five characters opens and closes a literal, and two of them in it are one.
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

/// What a program gets of a line typed at cmd's prompt.
pub(crate) fn argv_after_cmd(line: &str) -> Vec<String> {
    argv(&after_cmd(line))
}

/// What PowerShell hands on: the words, between quotation marks where a space is in them, and otherwise as they are.
pub(crate) fn line_of_powershell(words: &[String]) -> String {
    let quoted = |word: &String| if word.contains(' ') { format!("\"{word}\"") } else { word.clone() };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// cmd: variables first, then quotation marks and `^`. Of a variable nobody has set, the prompt leaves the text.
pub(crate) fn after_cmd(line: &str) -> String {
    for name in line.split('%').skip(1).take(line.matches('%').count().saturating_sub(1)) {
        // A hostile text names variables that exist; with a quotation mark or a `^` in it, no name does.
        assert!(name.contains(['^', '"']), "the variable {name} could be filled in: {line}");
    }
    after_script(line)
}

/// cmd, of a line that a script hands on as its own arguments: its variables are filled in already.
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
            '&' | '|' | '<' | '>' | '(' | ')' if !is_quoted => panic!("{c} acts in {line}"),
            c => rest.push(c),
        }
    }
    assert!(!is_quoted, "a quotation mark is open at the end of {line}");
    rest
}

/// The value that a shell's line gives a variable.
pub(crate) fn value_set(shell: Shell, line: &str, variable: &str) -> String {
    let only = |words: Vec<String>| <[String; 1]>::try_from(words).expect("one word")[0].clone();
    match shell {
        Shell::Posix => {
            only(posix_words(line.strip_prefix(&format!("export {variable}=")).expect("it sets the variable")))
        }
        Shell::PowerShell => {
            let value = line.strip_prefix(&format!("$env:{variable} = ")).expect("it sets the variable");
            assert!(value.starts_with('\''), "a bare word would be a command: {value}");
            only(powershell_words(value))
        }
        Shell::Cmd => {
            let assignment = after_cmd(line);
            let value = assignment.strip_prefix(&format!("set \"{variable}=")).expect("it sets the variable");
            value.strip_suffix('"').expect("the quotation mark is closed").to_owned()
        }
    }
}

/// `CommandLineToArgvW`: backslashes count only before a quotation mark.
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
    assert!(!is_quoted, "a quotation mark is open at the end of {line}");
    words.all()
}

fn count(chars: &mut Peekable<Chars<'_>>, wanted: char) -> usize {
    let mut count = 0;
    while chars.next_if_eq(&wanted).is_some() {
        count += 1;
    }
    count
}

/// Words as they are read.
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

    /// A character outside of quotes, which must have no meaning there.
    fn push_bare(&mut self, c: char) {
        assert!(c.is_ascii_alphanumeric() || "_-./:".contains(c), "{c:?} acts");
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
