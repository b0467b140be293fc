//! The header of a database file. <https://www.sqlite.org/fileformat2.html#the_database_header>

use std::fs::File;
use std::os::unix::fs::FileExt as _;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// What the first bytes of a file show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// The file has no content.
    Empty,
    /// The header of a database.
    Database(Header),
    /// The file is not a database.
    Other,
}

/// The fields of the header that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The number that SQLite leaves to the application: the mark.
    pub(super) user_version: u32,
    /// The size of the file according to the header. None if the header does not say.
    pub(super) bytes: Option<u64>,
    /// Whether changes go into a `-wal`.
    pub(super) is_wal: bool,
}

impl Content {
    /// Whether changes go into a `-wal`.
    pub(super) fn is_wal(self) -> bool {
        matches!(self, Self::Database(Header { is_wal: true, .. }))
    }
}

/// Reads the header.
pub(super) fn read(file: &File) -> std::io::Result<Content> {
    if file.metadata()?.len() == 0 {
        return Ok(Content::Empty);
    }
    let mut bytes = [0; 100];
    if let Err(error) = file.read_exact_at(&mut bytes, 0) {
        return if error.kind() == std::io::ErrorKind::UnexpectedEof { Ok(Content::Other) } else { Err(error) };
    }
    Ok(parse(&bytes))
}

fn parse(bytes: &[u8; 100]) -> Content {
    let Some((magic, fields)) = bytes.split_first_chunk::<16>() else { return Content::Other };
    if magic != MAGIC {
        return Content::Other;
    }
    let field = |offset: usize| {
        let at = offset - magic.len();
        fields.get(at..at + 4).and_then(|field| field.try_into().ok()).map_or(0, u32::from_be_bytes)
    };
    // The page size has two bytes; 1 stands for 65,536. The number of pages is valid if two counters agree.
    let page = match field(16) >> 16 {
        1 => 65_536,
        page => page,
    };
    let pages = Some(field(28)).filter(|pages| *pages > 0 && field(24) == field(92));
    Content::Database(Header {
        user_version: field(60),
        bytes: pages.map(|pages| u64::from(page) * u64::from(pages)),
        // The versions of the format for writing and for reading.
        is_wal: field(16) & 0xffff == 0x0202,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn content_of(bytes: &[u8]) -> Content {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        read(&file).unwrap()
    }

    #[test]
    fn a_file_shows_what_it_is() {
        assert_eq!(content_of(b""), Content::Empty);
        assert_eq!(content_of(b"SQLite"), Content::Other);
        assert_eq!(content_of(&[0; 4096]), Content::Other);
        let mut bytes = [0; 100];
        bytes[..16].copy_from_slice(MAGIC);
        bytes[16..18].copy_from_slice(&4096_u16.to_be_bytes());
        bytes[28..32].copy_from_slice(&3_u32.to_be_bytes());
        bytes[60..64].copy_from_slice(&7_u32.to_be_bytes());
        let header = Header { user_version: 7, bytes: Some(12_288), is_wal: false };
        assert_eq!(content_of(&bytes), Content::Database(header));
        bytes[18..20].fill(2);
        bytes[24] = 1;
        assert_eq!(content_of(&bytes), Content::Database(Header { bytes: None, is_wal: true, ..header }));
    }
}
