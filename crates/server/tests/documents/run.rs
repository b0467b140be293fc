//! Runs the commands of a document, and compares what they print with the answers that stand below them.
//!
//! The `sh` blocks of a document are run in its order, in one `bash -euo pipefail`, against a fresh server. A `json` or
//! `text` block is the answer to the `sh` block before it. The rule:
//!
//! - An answer and what a command printed, on both its outputs, are compared line by line. Space at a line's ends does not
//!   count, and `…` within a line of the answer stands for anything.
//! - A block of another language names a file after it, as in `python ask.py`, and is what that file holds from then on.
//! - `json` shows what matters: each of its lines must be a line of the output, in this order, with others in between or not.
//! - `text` is the whole output.
//! - Commands whose answer begins with `ERROR:` must fail, all others must succeed.

use std::path::Path;
use std::process::{Command, Stdio};

/// Stands between the outputs of two blocks.
const END: &str = "==== end of block";
/// Longer than a document takes, and shorter than the test runner's patience.
const DEADLINE_S: &str = "540";

/// Some commands of a document, and the answer that it promises.
#[derive(Debug, PartialEq)]
struct Step {
    /// The line that the commands begin at, counted from 1.
    line: usize,
    commands: String,
    answer: Option<Answer>,
}

#[derive(Debug, PartialEq)]
struct Answer {
    is_whole: bool,
    lines: Vec<String>,
}

impl Answer {
    fn is_error(&self) -> bool {
        self.lines.first().is_some_and(|line| line == "ERROR:")
    }

    /// Says what is wrong with an output.
    fn check(&self, output: &str) -> Result<(), String> {
        let mut output = output.lines().map(str::trim);
        for wanted in &self.lines {
            let found = if self.is_whole {
                output.next().is_some_and(|line| fits(line, wanted))
            } else {
                output.any(|line| fits(line, wanted))
            };
            if !found {
                return Err(format!("the answer lacks, or has elsewhere: {wanted}"));
            }
        }
        match output.next() {
            Some(line) if self.is_whole => Err(format!("the answer goes on: {line}")),
            _ => Ok(()),
        }
    }
}

/// Whether a line is what a line of an answer says.
fn fits(line: &str, wanted: &str) -> bool {
    let Some((head, rest)) = wanted.split_once('…') else { return line == wanted };
    let Some(mut line) = line.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('…').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = line.split_once(part) else { return false };
        line = after;
    }
    line.ends_with(tail)
}

/// The commands of a document and their answers.
fn steps(document: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = document.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|&line| line != "```").collect();
        match language {
            "sh" => steps.push(Step { line: number + 2, commands: block.join("\n"), answer: None }),
            "json" | "text" => {
                let step = steps.last_mut().unwrap_or_else(|| panic!("line {}: an answer to nothing", number + 1));
                assert!(step.answer.is_none(), "line {}: a second answer", number + 1);
                let lines = block.into_iter().map(|line| line.trim().to_owned()).collect();
                step.answer = Some(Answer { is_whole: language == "text", lines });
            }
            _ => {
                let (_, file) = language.split_once(' ').unwrap_or_else(|| {
                    panic!("line {}: a block is sh, json, text or a file with its name, not {language:?}", number + 1)
                });
                let commands = format!("cat >{file} <<'{END}'\n{}\n{END}", block.join("\n"));
                steps.push(Step { line: number + 2, commands, answer: None });
            }
        }
    }
    steps
}

/// What bash is to do: the commands of each step, and a mark after each.
fn script(steps: &[Step]) -> String {
    let mut lines = vec!["exec 2>&1".to_owned()];
    for Step { line, commands, answer } in steps {
        if answer.as_ref().is_some_and(Answer::is_error) {
            // In a shell of their own, whose end is not the end of all.
            lines.extend(["set +e", "(set -e", commands, ")"].map(str::to_owned));
            lines.push("(($? != 0)) || { echo 'it should have failed'; exit 1; }".to_owned());
            lines.push("set -e".to_owned());
        } else {
            lines.push(commands.clone());
        }
        // On a line of its own, even when an output ends without one.
        lines.push(format!("printf '\\n%s\\n' '{END} {line}'"));
    }
    lines.join("\n")
}

/// Checks the output of a script, and says all that is wrong.
fn check(steps: &[Step], output: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut rest = output;
    for Step { line, commands, answer } in steps {
        let Some((printed, after)) = rest.split_once(&format!("\n{END} {line}\n")) else {
            faults.push(format!("line {line}: it ended here\n{commands}\nwith the output\n{rest}"));
            break;
        };
        rest = after;
        let answer = answer.as_ref().map_or(Ok(()), |answer| answer.check(printed));
        if let Err(fault) = answer {
            faults.push(format!("line {line}: {fault}\n{commands}\nprinted\n{printed}"));
        }
    }
    faults
}

/// Runs a document in a folder, with some variables, and says all that is wrong with it.
pub(crate) fn faults(document: &str, folder: &Path, variables: &[(&str, &str)]) -> Vec<String> {
    let steps = steps(document);
    assert!(steps.iter().any(|step| step.answer.is_some()), "the document promises nothing");
    let script_file = folder.join("script");
    std::fs::write(&script_file, script(&steps)).unwrap();
    let run = Command::new("timeout")
        .args([DEADLINE_S, "bash", "-euo", "pipefail"])
        .arg(&script_file)
        .current_dir(folder)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut faults = check(&steps, &String::from_utf8_lossy(&run.stdout));
    if faults.is_empty() && !run.status.success() {
        faults.push(format!("bash ended with {}: {}", run.status, String::from_utf8_lossy(&run.stderr)));
    }
    faults
}

/// What stands in a document between the marks `<!-- NAME:begin -->` and `<!-- NAME:end -->`, with blank lines in place of what
/// comes before, so that the numbers of lines are those of the document.
pub(crate) fn marked(document: &str, name: &str) -> String {
    let (before, rest) = document.split_once(&format!("<!-- {name}:begin -->\n")).expect("the mark of the beginning");
    let (marked, _) = rest.split_once(&format!("<!-- {name}:end -->")).expect("the mark of the end");
    "\n".repeat(before.lines().count() + 1) + marked
}
