//! Counts the fields of a message while its bytes arrive.
//!
//! A field of two bytes becomes an element of 24 bytes and more in memory, or of hundreds if it is a message. So a
//! message of few MiB can become gigabytes when it is decoded, before any rule about its fields applies.

use prost_reflect::{Kind, MessageDescriptor};

/// The maximum number of fields of a message, with those of the messages in it: a key with every list at its limit has
/// some two thousand.
pub(crate) const FIELDS_MAX: usize = 5_000;
/// The maximum number of fields of a proxy's request: each header of its client has three. As its size, far above a
/// proxy's own limit: if a proxy lets requests pass on an error, one over this limit would pass.
pub(crate) const CHECK_FIELDS_MAX: usize = 100_000;
/// The maximum number of fields of an import itself: ten thousand keys, and the rest.
pub(crate) const IMPORT_OWN_FIELDS_MAX: usize = 20_000;
/// The maximum number of fields of an import with those of its keys: of a message of 16 MiB, each may have 5 bytes.
pub(crate) const IMPORT_FIELDS_MAX: usize = 3_000_000;
/// The depth from which messages in messages are not decoded.
const DEPTH_MAX: usize = 100;

/// The fields of a message that have begun.
#[derive(Debug)]
pub(crate) struct FieldCount {
    /// The number of fields, with those of the messages in the message.
    all: usize,
    /// The number of fields of the message itself.
    own: usize,
    /// The number of bytes so far.
    at: u64,
    state: State,
    /// What is being read: the message, and messages in it.
    open: Vec<Open>,
    /// Whether a field ends after the message in which it is.
    is_broken: bool,
}

/// A message that has begun.
#[derive(Debug)]
struct Open {
    /// Without a type, no field is known to be a message.
    of: Option<MessageDescriptor>,
    /// Where it ends.
    end: u64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// In a varint with the bits so far.
    Varint { what: Varint, value: u64, shift: u32 },
    /// In the contents of a field, up to this byte.
    Contents { end: u64 },
}

#[derive(Debug, Clone, Copy)]
enum Varint {
    Tag,
    /// The length of the field with this number.
    Length(u32),
    Value,
}

impl State {
    const TAG: Self = Self::begin(Varint::Tag);

    const fn begin(what: Varint) -> Self {
        Self::Varint { what, value: 0, shift: 0 }
    }
}

impl FieldCount {
    /// Counts the fields of a message of this type. Without a type, the fields of messages in it are not counted.
    pub(crate) fn of(message: Option<MessageDescriptor>) -> Self {
        Self {
            all: 0,
            own: 0,
            at: 0,
            state: State::TAG,
            open: vec![Open { of: message, end: u64::MAX }],
            is_broken: false,
        }
    }

    /// Returns the number of fields so far, with those of the messages in the message.
    pub(crate) fn all(&self) -> usize {
        self.all
    }

    /// Returns the number of fields of the message itself so far.
    pub(crate) fn own(&self) -> usize {
        self.own
    }

    /// Whether a field ends after the message in which it is. Such a message must not be decoded: prost would decode
    /// the field, with more than was counted, before it fails.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Adds bytes of the message. What is no message is counted in some way, and is broken or fails when it is decoded.
    pub(crate) fn add(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            match self.state {
                State::Contents { end } => {
                    let count = usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = bytes.get(count..).unwrap_or_default();
                    self.at += count as u64;
                    if self.at >= end {
                        self.state = State::TAG;
                    }
                }
                State::Varint { what, value, shift } => {
                    bytes = rest;
                    self.at += 1;
                    let value = value | u64::from(first & 0x7f).checked_shl(shift).unwrap_or_default();
                    self.state = if first & 0x80 == 0 {
                        self.after(what, value)
                    } else {
                        State::Varint { what, value, shift: shift + 7 }
                    };
                }
            }
            self.close();
        }
    }

    /// Closes the messages that end here.
    fn close(&mut self) {
        while self.open.len() > 1 && self.open.last().is_some_and(|open| open.end <= self.at) {
            self.open.pop();
            let is_complete = matches!(self.state, State::Varint { what: Varint::Tag, shift: 0, .. });
            self.is_broken |= !is_complete;
        }
    }

    /// The state after a complete varint.
    fn after(&mut self, what: Varint, value: u64) -> State {
        match what {
            Varint::Tag => {
                self.all += 1;
                self.own += usize::from(self.open.len() == 1);
                match value & 7 {
                    0 => State::begin(Varint::Value),
                    1 => self.skip(8),
                    2 => State::begin(Varint::Length(u32::try_from(value >> 3).unwrap_or(0))),
                    5 => self.skip(4),
                    _ => State::TAG,
                }
            }
            Varint::Length(field) if value > 0 => self.enter(field, value),
            Varint::Length(_) | Varint::Value => State::TAG,
        }
    }

    /// The state in contents of `count` bytes.
    fn skip(&mut self, count: u64) -> State {
        State::Contents { end: self.end_after(count) }
    }

    /// Returns where `count` further bytes end.
    fn end_after(&mut self, count: u64) -> u64 {
        let end = self.at.saturating_add(count);
        self.is_broken |= self.open.last().is_some_and(|open| open.end < end);
        end
    }

    /// The state in a field of `count` bytes: its contents, or the message that it is.
    fn enter(&mut self, field: u32, count: u64) -> State {
        let of = self.open.last().and_then(|open| open.of.as_ref());
        let field = of.and_then(|of| of.get_field(field));
        let end = self.end_after(count);
        match field.map(|field| (field.kind(), field.is_list())) {
            Some((Kind::Message(message), _)) if self.open.len() < DEPTH_MAX => {
                self.open.push(Open { of: Some(message), end });
                State::TAG
            }
            Some((Kind::Message(_) | Kind::String | Kind::Bytes, _) | (_, false)) | None => State::Contents { end },
            // A packed list of numbers: each has at least one byte.
            Some((_, true)) => {
                let elements = usize::try_from(count).unwrap_or(usize::MAX);
                self.all = self.all.saturating_add(elements);
                self.own = self.own.saturating_add(if self.open.len() == 1 { elements } else { 0 });
                State::Contents { end }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use key_authority_proto::v1;
    use prost::Message as _;
    use prost_reflect::DescriptorPool;

    fn descriptor(name: &str) -> MessageDescriptor {
        let pool = DescriptorPool::decode(key_authority_proto::FILE_DESCRIPTOR_SET).unwrap();
        pool.get_message_by_name(&format!("keyauthority.v1.{name}")).unwrap()
    }

    fn counted(of: Option<&str>, chunks: &[&[u8]]) -> (usize, usize) {
        let mut fields = FieldCount::of(of.map(descriptor));
        for chunk in chunks {
            fields.add(chunk);
        }
        assert!(!fields.is_broken());
        (fields.own(), fields.all())
    }

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
            let chunks: Vec<_> = bytes.chunks(step).collect();
            assert_eq!(counted(Some("CreateKeyRequest"), &chunks), (5, 7), "{step}");
            assert_eq!(counted(None, &chunks), (5, 5), "{step}");
        }
    }

    #[test]
    fn elements_in_a_message_are_counted_and_it_ends_where_its_field_ends() {
        let key = v1::Key { secrets: vec![v1::KeySecret::default(); 1_000], ..Default::default() };
        let request = v1::UpdateKeyRequest { key: Some(key), request_id: "r".into(), ..Default::default() };
        assert_eq!(counted(Some("UpdateKeyRequest"), &[&request.encode_to_vec()]), (2, 1_002));
        let labels = (0..10).map(|n| (n.to_string(), "value".into())).collect();
        let imported = v1::ImportedKey { labels, scopes: vec![String::new(); 5], ..Default::default() };
        let request = v1::ImportKeysRequest { keys: vec![imported; 3], ..Default::default() };
        assert_eq!(counted(Some("ImportKeysRequest"), &[&request.encode_to_vec()]), (3, 3 + 3 * (5 + 10 * 3)));
    }

    #[test]
    fn what_is_no_message_ends_nothing() {
        assert_eq!(counted(None, &[&[0xff; 100], &[0x7f]]).1, 1);
        assert_eq!(counted(None, &[&[0x03; 10]]).1, 10);
        let fixed = [0x0d, 1, 2, 3, 4, 0x09, 1, 2, 3, 4, 5, 6, 7, 8, 0x08, 0x96, 0x01];
        assert_eq!(counted(None, &[&fixed]).1, 3);
    }

    #[test]
    fn a_field_that_ends_after_its_message_is_broken() {
        let whole = [0x0a, 4, 0x12, 2, b'a', b'b'];
        let broken: [&[u8]; 4] = [
            // A text, the length of a text, a number, and a tag.
            &[0x0a, 2, 0x12, 0x7f],
            &[0x0a, 2, 0x12, 0x80, 1],
            &[0x0a, 2, 0x08, 0x80, 1],
            &[0x0a, 1, 0x80, 1],
        ];
        for (bytes, is_broken) in broken.into_iter().map(|bytes| (bytes, true)).chain([(&whole[..], false)]) {
            for step in 1..=bytes.len() {
                let mut fields = FieldCount::of(Some(descriptor("UpdateKeyRequest")));
                for chunk in bytes.chunks(step) {
                    fields.add(chunk);
                }
                assert_eq!(fields.is_broken(), is_broken, "{bytes:?}");
            }
        }
    }

    #[test]
    fn the_elements_of_a_packed_list_are_counted() {
        let packed = [0x12, 3, 1, 2, 1];
        assert_eq!(counted(Some("ListKeysRequest"), &[&packed]), (4, 4));
    }
}
