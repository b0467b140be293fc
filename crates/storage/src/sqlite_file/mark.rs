//! What the lock file says about the database file beside it. The module [`super`] explains the marks.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// The length of the text in the file: every mark fits, and one write replaces it.
const BYTES: usize = 128;
const PREFIX: &str = "key-authority 1 ";

/// The content of the lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing, or nothing that this build understands: an earlier build served the file, or none.
    Unknown,
    /// The first start of a new authority has begun and is not complete.
    New,
    /// A file that came from elsewhere is served, and has no mark yet.
    Adopted,
    /// The header of the database file has this value, and there is a `-wal`.
    Served(u32),
    /// A checkpoint runs. The header has one of these values, or the one between two checkpoints.
    Copying {
        /// The value of the checkpoint before.
        from: u32,
        /// The value of this checkpoint.
        to: u32,
    },
    /// The header of the database file has this value, and the file has all changes.
    Closed(u32),
}

/// The value of the database between two checkpoints, which is in the `-wal` only. Checkpoints have even values.
pub(super) fn running(value: u32) -> u32 {
    value | 1
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

    /// The value of the last complete checkpoint.
    pub(super) fn last(&self) -> Option<u32> {
        match *self {
            Self::Served(value) | Self::Closed(value) | Self::Copying { from: value, .. } => Some(value),
            Self::Unknown | Self::New | Self::Adopted => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let words: Vec<_> = text.strip_prefix(PREFIX)?.strip_suffix('\n')?.trim_end().split(' ').collect();
        let value = |text| u32::from_str_radix(text, 16).ok();
        match words[..] {
            ["new"] => Some(Self::New),
            ["adopted"] => Some(Self::Adopted),
            ["closed", closed] => value(closed).map(Self::Closed),
            ["copying", from, to] => Some(Self::Copying { from: value(from)?, to: value(to)? }),
            [served] => value(served).map(Self::Served),
            _ => None,
        }
    }

    fn text(&self) -> String {
        let rest = match self {
            Self::Unknown => return String::new(),
            Self::New => "new".to_owned(),
            Self::Adopted => "adopted".to_owned(),
            Self::Served(value) => format!("{value:08x}"),
            Self::Copying { from, to } => format!("copying {from:08x} {to:08x}"),
            Self::Closed(value) => format!("closed {value:08x}"),
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
        let copying = Mark::Copying { from: u32::MAX, to: 0 };
        for mark in [Mark::New, copying, Mark::Adopted, Mark::Served(7), Mark::Closed(8)] {
            mark.write(&file).unwrap();
            assert_eq!(Mark::read(&file).unwrap(), mark);
            assert_eq!(file.metadata().unwrap().len(), BYTES as u64);
        }
        for text in ["", "key-authority 1 ", "key-authority 2 new\n", "key-authority 1 00000007", "\u{0}\u{0}"] {
            assert_eq!(Mark::parse(text), None, "{text:?}");
        }
    }
}
