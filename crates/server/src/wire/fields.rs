//! The fields of a protobuf message, read where they lie.
//!
//! `prost` copies every text that it decodes. For the questions of Verify, which are judged and forgotten, this reads the
//! same bytes by the same rules; where it cannot, `prost` is asked for the words.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// The bytes are not the message that they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Undecodable;

impl From<prost::DecodeError> for Undecodable {
    fn from(_: prost::DecodeError) -> Self {
        Self
    }
}

/// The content of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    /// A text, bytes or a message.
    Bytes(&'a [u8]),
    /// A number of variable length.
    Number(u64),
    /// Anything else; no field that is read here has it.
    Other,
}

impl<'a> Content<'a> {
    /// The field as bytes.
    pub(crate) fn bytes(self) -> Result<&'a [u8], Undecodable> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(Undecodable) }
    }

    /// The field as text.
    pub(crate) fn text(self) -> Result<&'a str, Undecodable> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Undecodable)
    }

    /// The field as a number.
    pub(crate) fn number(self) -> Result<u64, Undecodable> {
        if let Self::Number(number) = self { Ok(number) } else { Err(Undecodable) }
    }
}

/// The fields that are left of a message.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of `message`.
    #[must_use]
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn read(&mut self) -> Result<(u32, Content<'a>), Undecodable> {
        let (number, wire_type) = decode_key(&mut self.0)?;
        let content = match wire_type {
            WireType::LengthDelimited => {
                let len = usize::try_from(decode_varint(&mut self.0)?).map_err(|_| Undecodable)?;
                let (bytes, rest) = self.0.split_at_checked(len).ok_or(Undecodable)?;
                self.0 = rest;
                Content::Bytes(bytes)
            }
            WireType::Varint => Content::Number(decode_varint(&mut self.0)?),
            _ => {
                skip_field(wire_type, number, &mut self.0, DecodeContext::default())?;
                Content::Other
            }
        };
        Ok((number, content))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Content<'a>), Undecodable>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}
