//! The documents tell the truth: their commands run, and give the answers that stand below them.
//!
//! The `sh` blocks of a document are run in its order, in one `bash -euo pipefail`, against a fresh server. A `json` or
//! `text` block is the answer to the `sh` block before it. The rule:
//!
//! - An answer and what a command printed, on both its outputs, are compared line by line. Space at a line's ends does not
//!   count, and `…` within a line of the answer stands for anything.
//! - `json` shows what matters: each of its lines must be a line of the output, in this order, with others in between or not.
//! - `text` is the whole output.
//! - Commands whose answer begins with `ERROR:` must fail, all others must succeed.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that panics has failed, which is all that it should do"
)]

#[path = "clients/server.rs"]
mod server;

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use server::{Server, tools, workspace};

/// Stands between the outputs of two blocks.
const END: &str = "==== end of block";
/// Longer than a document takes, and shorter than the test runner's patience.
const DEADLINE_S: &str = "100";

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
            _ => panic!("line {}: a block is sh, json or text, not {language:?}", number + 1),
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

/// Runs a document against a server, and says all that is wrong with it.
fn faults(server: &Server, document: &str) -> Vec<String> {
    // A folder that looks like the workspace to the commands, and that they may litter.
    let folder = tempfile::tempdir_in(server.folder()).unwrap();
    symlink(tools().parent().unwrap(), folder.path().join(".venv")).unwrap();
    symlink(workspace().join("docs"), folder.path().join("docs")).unwrap();
    let steps = steps(document);
    assert!(steps.iter().any(|step| step.answer.is_some()), "the document promises nothing");
    let file = server.folder().join("script");
    std::fs::write(&file, script(&steps)).unwrap();
    let run = Command::new("timeout")
        .args([DEADLINE_S, "bash", "-euo", "pipefail"])
        .arg(&file)
        .current_dir(folder.path())
        .env("ADDRESS", &server.address)
        .env("ROOT_TOKEN_FILE", &server.root_token_file)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut faults = check(&steps, &String::from_utf8_lossy(&run.stdout));
    if faults.is_empty() && !run.status.success() {
        faults.push(format!("bash ended with {}: {}", run.status, String::from_utf8_lossy(&run.stderr)));
    }
    faults
}

/// Fails unless a document is right.
fn assert_right(name: &str, document: &str) {
    let faults = faults(&Server::start(), document);
    assert!(faults.is_empty(), "{name}: {} faults\n\n{}", faults.len(), faults.join("\n\n"));
}

fn read(name: &str) -> String {
    std::fs::read_to_string(workspace().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

mod sqlite {
    use super::{Server, assert_right, faults, read};

    #[test]
    fn the_products_are_walked_through_as_written() {
        assert_right("docs/products.md", &read("docs/products.md"));
    }

    #[test]
    fn the_tour_of_the_readme_goes_as_written() {
        let readme = read("README.md");
        let (before, rest) = readme.split_once("<!-- tour:begin -->\n").expect("README.md has the mark tour:begin");
        let (tour, _) = rest.split_once("<!-- tour:end -->").expect("README.md has the mark tour:end");
        // Blank lines in place of what comes before, so that the numbers of lines are those of the file.
        assert_right("README.md", &("\n".repeat(before.lines().count() + 1) + tour));
    }

    #[test]
    fn a_document_that_is_wrong_is_noticed() {
        let right = "```sh\nprintf 'one\\ntwo {3}\\n'\n```\n```text\none\ntwo {…}\n```\n";
        let server = Server::start();
        assert_eq!(faults(&server, right), [""; 0]);
        for (wrong, fault) in [
            (right.replace("one\ntwo {…}", "two {…}\none"), "lacks, or has elsewhere: two"),
            (right.replace("{…}", "{4}"), "lacks, or has elsewhere: two {4}"),
            (right.replace("\ntwo {…}", ""), "the answer goes on: two {3}"),
            (right.replace("```text\none", "```json\none\none"), "lacks, or has elsewhere: one"),
            (right.replace("printf", "prinft"), "line 2: it ended here"),
            (right.replace("```text\none", "```text\nERROR:\none"), "line 2: it ended here"),
            (right.replace("printf", "exit 0; printf"), "line 2: it ended here"),
            (right.replace("two {3}\\n'", "two {3}\\n'; false"), "line 2: it ended here"),
        ] {
            let faults = faults(&server, &wrong);
            assert!(matches!(&faults[..], [only] if only.contains(fault)), "{wrong}\n{faults:#?}");
        }
    }
}
