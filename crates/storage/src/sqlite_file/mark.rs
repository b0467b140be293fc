//! What the lock file says about the database file beside it. The module [`super`] explains the marks.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// The length of the text in the file: a whole number of marks fits, and one write replaces it.
const BYTES: usize = 128;
const PREFIX: &str = "key-authority 1 ";
/// How many values fit.
pub(super) const VALUES_MAX: usize = (BYTES - PREFIX.len() - 1) / 9;

/// The content of the lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing, or nothing that this build understands: an earlier build served the file, or none.
    Unknown,
    /// The first start of a new authority has begun and is not complete.
    New,
    /// A file that came from elsewhere is served, and has no mark yet.
    Adopted,
    /// The header of the database file has one of these values while a `-wal` exists.
    Values(Vec<u32>),
}

impl Mark {
    pub(super) fn read(file: &File) -> std::io::Result<Self> {
        let mut text = vec![0; BYTES];
        let length = file.read_at(&mut text, 0)?;
        text.truncate(length);
        Ok(String::from_utf8(text).ok().and_then(|text| Self::parse(&text)).unwrap_or(Self::Unknown))
    }

    /// Replaces the content of the file durably.
    pub(super) fn write(&self, file: &File) -> std::io::Result<()> {
        let text = format!("{:<width$}\n", self.text(), width = BYTES - 1);
        file.write_all_at(text.as_bytes(), 0)?;
        file.sync_all()
    }

    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix(PREFIX)?.strip_suffix('\n')?.trim_end() {
            "new" => Some(Self::New),
            "adopted" => Some(Self::Adopted),
            values => {
                let values = values.split(' ').map(|value| u32::from_str_radix(value, 16));
                values.collect::<Result<_, _>>().ok().map(Self::Values)
            }
        }
    }

    fn text(&self) -> String {
        let rest = match self {
            Self::Unknown => return String::new(),
            Self::New => "new".to_owned(),
            Self::Adopted => "adopted".to_owned(),
            Self::Values(values) => values.iter().map(|value| format!("{value:08x}")).collect::<Vec<_>>().join(" "),
        };
        format!("{PREFIX}{rest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Mark::read(&file).unwrap(), Mark::Unknown);
        for mark in [Mark::New, Mark::Values(vec![1, u32::MAX, 0]), Mark::Adopted, Mark::Values(vec![7])] {
            mark.write(&file).unwrap();
            assert_eq!(Mark::read(&file).unwrap(), mark);
            assert_eq!(file.metadata().unwrap().len(), BYTES as u64);
        }
        for text in ["", "key-authority 1 ", "key-authority 2 new\n", "key-authority 1 00000007", "\u{0}\u{0}"] {
            assert_eq!(Mark::parse(text), None, "{text:?}");
        }
    }
}
