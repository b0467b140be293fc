//! Counts the fields of a message while its bytes arrive.
//!
//! A message of two bytes a field becomes an element of 24 bytes and more in memory, or of hundreds if the field is a
//! message. So a message of few MiB can become gigabytes when it is decoded, before any rule about its fields applies.

/// The maximum number of fields of a message: ten thousand keys to import, and the rest.
pub(crate) const FIELDS_MAX: usize = 20_000;

/// The fields of a message that have begun.
#[derive(Debug, Default)]
pub(crate) struct FieldCount {
    count: usize,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// In a varint with the bits so far.
    Varint { what: Varint, value: u64, shift: u32 },
    /// In the contents of a field, with this number of bytes to come.
    Contents(u64),
}

#[derive(Debug, Clone, Copy)]
enum Varint {
    Tag,
    Length,
    Value,
}

impl State {
    const TAG: Self = Self::begin(Varint::Tag);

    const fn begin(what: Varint) -> Self {
        Self::Varint { what, value: 0, shift: 0 }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::TAG
    }
}

impl FieldCount {
    /// Adds bytes of the message, and returns the number of fields so far. What is no message is counted in some way,
    /// and fails when it is decoded.
    pub(crate) fn add(&mut self, mut bytes: &[u8]) -> usize {
        while let Some((first, rest)) = bytes.split_first() {
            match self.state {
                State::Contents(missing) => {
                    let count = usize::try_from(missing).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = bytes.get(count..).unwrap_or_default();
                    let missing = missing - count as u64;
                    self.state = if missing == 0 { State::TAG } else { State::Contents(missing) };
                }
                State::Varint { what, value, shift } => {
                    bytes = rest;
                    let value = value | u64::from(first & 0x7f).checked_shl(shift).unwrap_or_default();
                    self.state = if first & 0x80 == 0 {
                        self.after(what, value)
                    } else {
                        State::Varint { what, value, shift: shift + 7 }
                    };
                }
            }
        }
        self.count
    }

    /// The state after a complete varint.
    fn after(&mut self, what: Varint, value: u64) -> State {
        match what {
            Varint::Tag => {
                self.count += 1;
                match value & 7 {
                    0 => State::begin(Varint::Value),
                    1 => State::Contents(8),
                    2 => State::begin(Varint::Length),
                    5 => State::Contents(4),
                    _ => State::TAG,
                }
            }
            Varint::Length if value > 0 => State::Contents(value),
            Varint::Length | Varint::Value => State::TAG,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use key_authority_proto::v1;
    use prost::Message as _;

    #[test]
    fn the_fields_are_counted_in_chunks_of_any_size() {
        let message = v1::CreateKeyRequest {
            account: "acme".into(),
            scopes: vec![String::new(), "a".repeat(300)],
            disabled: true,
            projects: Some(v1::ProjectAccess { all: false, only: vec!["one".into(), "two".into()] }),
            ..Default::default()
        };
        let bytes = message.encode_to_vec();
        for step in 1..=bytes.len() {
            let mut fields = FieldCount::default();
            let counts: Vec<_> = bytes.chunks(step).map(|chunk| fields.add(chunk)).collect();
            assert_eq!(counts.last(), Some(&5), "{step}");
        }
    }

    #[test]
    fn endless_varints_and_unknown_wire_types_end_nothing() {
        let mut fields = FieldCount::default();
        fields.add(&[0xff; 100]);
        assert_eq!(fields.add(&[0x7f]), 1);
        assert_eq!(FieldCount::default().add(&[0x03; 10]), 10);
        let fixed = [0x0d, 1, 2, 3, 4, 0x09, 1, 2, 3, 4, 5, 6, 7, 8, 0x08, 0x96, 0x01];
        assert_eq!(FieldCount::default().add(&fixed), 3);
    }
}
