//! The fields of a protobuf message, decoded in place.
//!
//! `prost` copies every text that it decodes. The questions of Verify are short-lived, so this decoder borrows from the
//! same bytes, by the same rules. If it fails, `prost` provides the error message.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// How deep fields may be nested, as in prost.
const DEPTH_MAX: u32 = 100;

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
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    /// How deep the fields may be nested.
    depth_max: u32,
}

impl<'a> Fields<'a> {
    /// Returns the fields of `message`.
    #[must_use]
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self { rest: message, depth_max: DEPTH_MAX }
    }

    /// Returns the fields of `message`, which is a field itself.
    #[must_use]
    pub(crate) fn nested(message: &'a [u8]) -> Self {
        Self { rest: message, depth_max: DEPTH_MAX - 1 }
    }

    fn read(&mut self) -> Result<(u32, Content<'a>), Undecodable> {
        let (number, wire_type) = decode_key(&mut self.rest)?;
        let content = match wire_type {
            WireType::LengthDelimited => {
                let len = usize::try_from(decode_varint(&mut self.rest)?).map_err(|_| Undecodable)?;
                let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Undecodable)?;
                self.rest = rest;
                Content::Bytes(bytes)
            }
            WireType::Varint => Content::Number(decode_varint(&mut self.rest)?),
            _ => {
                skip(wire_type, number, &mut self.rest, self.depth_max)?;
                Content::Other
            }
        };
        Ok((number, content))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Content<'a>), Undecodable>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Skips the content of a field, as prost's `skip_field` does; that function cannot be called for a nested message,
/// since its depth is private.
fn skip(wire_type: WireType, number: u32, rest: &mut &[u8], depth_max: u32) -> Result<(), Undecodable> {
    if depth_max == 0 {
        return Err(Undecodable);
    }
    if wire_type != WireType::StartGroup {
        return Ok(skip_field(wire_type, number, rest, DecodeContext::default())?);
    }
    loop {
        match decode_key(rest)? {
            (end, WireType::EndGroup) => return if end == number { Ok(()) } else { Err(Undecodable) },
            (inner, wire_type) => skip(wire_type, inner, rest, depth_max - 1)?,
        }
    }
}
