//! Checks the names in a JSON message: each is a field of its message, and stands there once. It also counts values: a
//! short one becomes more than a hundred bytes when it is converted.
//!
//! The readers of JSON take the last one of repeated names, and a client that repeats a name expects otherwise. An
//! unknown name is often a misspelled one: `scops` must not create a key without scopes.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::malformed::{BODY, malformed};
use crate::rpc::errors::RpcError;
use crate::wire::violations::{Violation, Violations};

/// The maximum number of fields and elements of lists in a JSON text: a `BatchVerify` with a hundred for each
/// question.
pub(super) const VALUES_MAX: usize = 100_000;

/// Checks a JSON text against the type of its message.
///
/// # Errors
/// `INVALID_ARGUMENT`, with the first name that is wrong, or that the text is no JSON.
pub(super) fn check(input: &MessageDescriptor, text: &[u8]) -> Result<(), RpcError> {
    let (violation, count) = (RefCell::new(None), Cell::new(0));
    let mut reader = serde_json::Deserializer::from_slice(text);
    let root =
        Names { shape: Shape::Message(input.clone()), place: &Place::Root, violation: &violation, count: &count };
    let checked = root.deserialize(&mut reader).and_then(|()| reader.end());
    checked.map_err(|error| match violation.take() {
        Some(Violation { field, rule }) => {
            let (line, column) = (error.line(), error.column());
            Violations::one(field, format!("{rule}; see line {line} column {column}")).into()
        }
        None => malformed(&error),
    })
}

/// What the names in an object are.
#[derive(Clone)]
enum Shape {
    /// The fields of a message.
    Message(MessageDescriptor),
    /// The keys of a map with values of this shape.
    Map(Box<Shape>),
    /// Not known here.
    Other,
}

impl Shape {
    fn of_kind(kind: &Kind) -> Self {
        match kind {
            // The messages of protobuf itself have forms of their own.
            Kind::Message(message) if !message.full_name().starts_with("google.protobuf.") => {
                Self::Message(message.clone())
            }
            _ => Self::Other,
        }
    }

    fn of(field: &FieldDescriptor) -> Self {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                Self::Map(Box::new(Self::of_kind(&entry.map_entry_value_field().kind())))
            }
            kind => Self::of_kind(&kind),
        }
    }
}

/// A place in a message. It is formatted only for an error.
enum Place<'a> {
    Root,
    Field(&'a Self, &'a str),
    Index(&'a Self, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => formatter.write_str(name),
            Self::Field(parent, name) => write!(formatter, "{parent}.{name}"),
            Self::Index(parent, index) => write!(formatter, "{parent}[{index}]"),
        }
    }
}

/// Checks the names in a value.
struct Names<'a> {
    shape: Shape,
    place: &'a Place<'a>,
    /// The violation that the error is about.
    violation: &'a RefCell<Option<Violation>>,
    /// The values so far.
    count: &'a Cell<usize>,
}

impl Names<'_> {
    fn fail<E: Error>(&self, place: &Place<'_>, rule: String) -> E {
        *self.violation.borrow_mut() = Some(Violation { field: place.to_string(), rule });
        E::custom("")
    }

    /// Counts a field or an element.
    fn count<E: Error>(&self) -> Result<(), E> {
        self.count.set(self.count.get() + 1);
        if self.count.get() <= VALUES_MAX {
            return Ok(());
        }
        let rule = format!("must have at most {VALUES_MAX} fields and elements of lists");
        *self.violation.borrow_mut() = Some(Violation { field: BODY.to_owned(), rule });
        Err(E::custom(""))
    }

    /// Returns the identity of a name within its object, and the shape of its value.
    fn member(&self, name: &str) -> Option<(Member, Shape)> {
        match &self.shape {
            Shape::Message(message) => {
                let field = message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name))?;
                Some((Member::Field(field.number()), Shape::of(&field)))
            }
            Shape::Map(value) => Some((Member::Name(name.to_owned()), (**value).clone())),
            Shape::Other => Some((Member::Name(name.to_owned()), Shape::Other)),
        }
    }
}

#[derive(PartialEq, Eq, Hash)]
enum Member {
    Field(u32),
    Name(String),
}

impl<'de> DeserializeSeed<'de> for Names<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Names<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            self.count()?;
            let place = Place::Field(self.place, &name);
            let Some((member, shape)) = self.member(&name) else {
                let Shape::Message(message) = &self.shape else { continue };
                return Err(self.fail(&place, format!("must be a field of {}", message.full_name())));
            };
            if !seen.insert(member) {
                return Err(self.fail(&place, "must be set once".to_owned()));
            }
            map.next_value_seed(Names { shape, place: &place, violation: self.violation, count: self.count })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.expect_no_root()?;
        // Lists of numbers and texts have no names.
        if matches!(self.shape, Shape::Other) {
            while list.next_element::<IgnoredAny>()?.is_some() {
                self.count()?;
            }
            return Ok(());
        }
        let mut index = 0;
        loop {
            let place = Place::Index(self.place, index);
            let (shape, violation, count) = (self.shape.clone(), self.violation, self.count);
            let names = Names { shape, place: &place, violation, count };
            if list.next_element_seed(names)?.is_none() {
                return Ok(());
            }
            self.count()?;
            index += 1;
        }
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.expect_no_root()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.expect_no_root()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.expect_no_root()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.expect_no_root()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.expect_no_root()
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.expect_no_root()
    }
}

impl Names<'_> {
    /// Fails for a whole text that is no object. Within a message, the conversion reports a value of another type.
    fn expect_no_root<E: Error>(&self) -> Result<(), E> {
        match self.place {
            Place::Root => {
                *self.violation.borrow_mut() =
                    Some(Violation { field: BODY.to_owned(), rule: "must be an object".to_owned() });
                Err(E::custom(""))
            }
            _ => Ok(()),
        }
    }
}
