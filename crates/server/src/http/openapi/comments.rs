//! The comments of the proto files.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, FileDescriptor};

/// The comments of all descriptors, by file and path.
pub(super) struct Comments(HashMap<(String, Vec<i32>), String>);

impl Comments {
    pub(super) fn of(pool: &DescriptorPool) -> Self {
        let mut comments = HashMap::new();
        for file in pool.file_descriptor_protos() {
            for location in file.source_code_info.iter().flat_map(|info| &info.location) {
                let text = [location.leading_comments(), location.trailing_comments()].map(tidy).join("\n");
                comments.insert((file.name().to_owned(), location.path.clone()), text.trim().to_owned());
            }
        }
        Self(comments)
    }

    /// Returns the comment of the descriptor at `path` in `file`; empty if it has none.
    pub(super) fn get(&self, file: &FileDescriptor, path: &[i32]) -> &str {
        self.0.get(&(file.name().to_owned(), path.to_vec())).map_or("", String::as_str)
    }
}

/// Removes the space that follows the comment sign of each line.
fn tidy(comment: &str) -> String {
    comment.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// Returns the first sentence of a comment, without its last period.
pub(super) fn summary(comment: &str) -> String {
    let paragraph = comment.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let end = paragraph.find(". ").unwrap_or(paragraph.len());
    paragraph.get(..end).unwrap_or_default().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_the_first_sentence() {
        assert_eq!(summary("Creates a key.\nIt is shown once.\n\nMore."), "Creates a key");
        assert_eq!(summary("Creates a key\nof an account."), "Creates a key of an account");
        assert_eq!(summary(""), "");
    }
}
