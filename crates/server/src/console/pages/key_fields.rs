//! Reads the fields of a form for a key. What nobody edited stays exactly as it was, with its spaces.

use std::collections::{BTreeMap, BTreeSet};

use key_authority_proto::v1::ProjectAccess;

use crate::console::fields::Fields;
use crate::console::show;

/// The number of characters of a value that a message quotes.
const QUOTED_MAX: usize = 40;

/// Returns the lines of a field that are not blank: without surrounding spaces, unless the form showed a line with
/// them.
fn lines_as_shown<'a>(text: &'a str, shown: &'a BTreeSet<String>) -> impl Iterator<Item = &'a str> {
    let edited = move |line: &'a str| if shown.contains(line) { line } else { line.trim() };
    text.lines().map(edited).filter(|line| !line.is_empty())
}

/// Returns the name of a form for a key with this one.
pub(super) fn typed_name<'a>(typed: &'a Fields, current: &str) -> &'a str {
    let name = typed.get("name");
    if name == current { name } else { name.trim() }
}

/// Returns the projects that a form chose, for a key with these; `None` if it left the choice to the policy.
pub(super) fn typed_projects(typed: &Fields, current: &ProjectAccess) -> Option<ProjectAccess> {
    if typed.get("project_access") == "all" {
        return Some(ProjectAccess { all: true, only: Vec::new() });
    }
    typed.has("project_access").then(|| {
        let shown = current.only.iter().cloned().collect();
        let others = lines_as_shown(typed.get("other_projects"), &shown);
        let only: BTreeSet<_> = typed.all("project").chain(others).map(str::to_owned).collect();
        ProjectAccess { all: false, only: only.into_iter().collect() }
    })
}

/// Returns the labels of a form, for a key with these.
///
/// # Errors
/// The lines that are no label.
pub(super) fn typed_labels(
    typed: &Fields,
    current: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, String> {
    let shown: BTreeSet<_> = current.iter().map(|(name, value)| label_line(name, value)).collect();
    let mut labels = BTreeMap::new();
    let mut errors = Vec::new();
    for line in lines_as_shown(typed.get("labels"), &shown) {
        let (name, value) = match line.split_once('=') {
            Some(label) if shown.contains(line) => label,
            Some((name, value)) => (name.trim(), value.trim()),
            None => {
                errors.push(format!("{}: write name=value.", quoted(line)));
                continue;
            }
        };
        if labels.contains_key(name) {
            errors.push(format!("{} is there twice.", quoted(name)));
        } else {
            labels.insert(name.to_owned(), value.to_owned());
        }
    }
    if errors.is_empty() { Ok(labels) } else { Err(errors.join(" ")) }
}

/// Returns a label as forms show it.
pub(super) fn label_line(name: &str, value: &str) -> String {
    format!("{name}={value}")
}

/// Returns a value that somebody typed, for a message: its beginning, if it is long.
pub(super) fn quoted(value: &str) -> String {
    match value.char_indices().nth(QUOTED_MAX) {
        Some((end, _)) => format!("“{}…”", show::isolated(&value[..end])),
        None => format!("“{}”", show::isolated(value)),
    }
}

#[cfg(test)]
mod tests {
    use key_authority_proto::v1::Key;

    use super::*;
    use crate::console::fields::query;

    #[test]
    fn labels_and_projects_are_read_from_lines() {
        let typed = Fields::parse(
            b"labels=team%3Dblue%0D%0Aenv+%3D+prod%3D1&project_access=only&project=a&other_projects=b%0Aa",
        );
        let labels = typed_labels(&typed, &BTreeMap::new()).unwrap();
        assert_eq!((labels["team"].as_str(), labels["env"].as_str()), ("blue", "prod=1"));
        assert_eq!(typed_projects(&typed, &ProjectAccess::default()).unwrap().only, ["a", "b"]);
        let wrong = typed_labels(&Fields::parse(b"labels=team%0Aa%3D1%0Aa%3D2"), &BTreeMap::new()).unwrap_err();
        assert_eq!(wrong, "“team”: write name=value. “a” is there twice.");
        assert_eq!(typed_projects(&Fields::default(), &ProjectAccess::default()), None);
    }

    #[test]
    fn lines_that_nobody_edited_keep_their_spaces() {
        let current = Key {
            display_name: " x ".to_owned(),
            labels: [(" a".to_owned(), " v=1 ".to_owned()), ("b".to_owned(), "\u{2028}x".to_owned())].into(),
            projects: Some(ProjectAccess { all: false, only: vec!["p ".to_owned(), "q".to_owned()] }),
            ..Key::default()
        };
        let form = |fields: &[(&str, &str)]| Fields::parse(query(fields.iter().copied()).as_bytes());
        let shown = [
            ("name", " x "),
            ("labels", " a= v=1 \nb=\u{2028}x"),
            ("project_access", "only"),
            ("other_projects", "p \nq"),
        ];
        let typed = form(&shown);
        let projects = current.projects.clone().unwrap();
        assert_eq!(typed_name(&typed, &current.display_name), " x ");
        assert_eq!(typed_labels(&typed, &current.labels).unwrap(), current.labels);
        assert_eq!(typed_projects(&typed, &projects).unwrap(), projects);

        let typed = form(&[
            ("name", " y "),
            ("labels", " a= v=1 \n c = d "),
            ("project_access", "only"),
            ("other_projects", "p \n r "),
        ]);
        assert_eq!(typed_name(&typed, &current.display_name), "y");
        let expected = [(" a".to_owned(), " v=1 ".to_owned()), ("c".to_owned(), "d".to_owned())].into();
        assert_eq!(typed_labels(&typed, &current.labels).unwrap(), expected);
        assert_eq!(typed_projects(&typed, &projects).unwrap().only, ["p ", "r"]);
    }
}
