//! The fields of a protobuf message, decoded in place.
//!
//! `prost` copies every text that it decodes. The questions of Verify are short-lived, so this decoder borrows from the
//! same bytes, by the same rules. If it fails, `prost` provides the error message.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// The bytes are not the expected message.
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
    /// A varint.
    Number(u64),
    /// Any other type; no known field has it.
    Other,
}

impl<'a> Content<'a> {
    /// Returns the field as bytes.
    pub(crate) fn bytes(self) -> Result<&'a [u8], Undecodable> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(Undecodable) }
    }

    /// Returns the field as text.
    pub(crate) fn text(self) -> Result<&'a str, Undecodable> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Undecodable)
    }

    /// Returns the field as a number.
    pub(crate) fn number(self) -> Result<u64, Undecodable> {
        if let Self::Number(number) = self { Ok(number) } else { Err(Undecodable) }
    }
}

/// The remaining fields of a message.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Returns the fields of `message`.
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
