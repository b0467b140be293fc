//! JSON schemas of messages, by protobuf's mapping to JSON.

use std::collections::BTreeMap;

use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, Value as Reflected};
use serde_json::{Map, Value, json};

use super::comments::Comments;

/// The option of a field that states how it is used (`google/api/field_behavior.proto`).
const FIELD_BEHAVIOR: &str = "google.api.field_behavior";
/// `REQUIRED` of that option.
const REQUIRED: i32 = 2;
/// `OUTPUT_ONLY` of that option.
const OUTPUT_ONLY: i32 = 3;

/// The schemas of messages and enums that were referred to, by full name.
pub(super) struct Schemas<'a> {
    comments: &'a Comments,
    found: BTreeMap<String, Value>,
}

impl<'a> Schemas<'a> {
    pub(super) fn new(comments: &'a Comments) -> Self {
        Self { comments, found: BTreeMap::new() }
    }

    /// Returns the schemas.
    pub(super) fn into_value(self) -> Map<String, Value> {
        self.found.into_iter().collect()
    }

    /// Returns a reference to the schema of a message.
    pub(super) fn message(&mut self, message: &MessageDescriptor) -> Value {
        let name = message.full_name();
        if !self.found.contains_key(name) {
            // A message may contain itself.
            self.found.insert(name.to_owned(), Value::Null);
            let schema = self.object(message);
            self.found.insert(name.to_owned(), schema);
        }
        reference(name)
    }

    fn object(&mut self, message: &MessageDescriptor) -> Value {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for field in message.fields() {
            let behavior = behavior(&field);
            let mut schema = self.field(&field);
            if let Some(fields) = schema.as_object_mut() {
                let comment = self.comments.get(&message.parent_file(), field.path());
                if !comment.is_empty() {
                    fields.insert("description".to_owned(), comment.into());
                }
                if behavior.contains(&OUTPUT_ONLY) {
                    fields.insert("readOnly".to_owned(), true.into());
                }
            }
            if behavior.contains(&REQUIRED) {
                required.push(field.json_name().to_owned());
            }
            properties.insert(field.json_name().to_owned(), schema);
        }
        let mut schema = json!({
            "type": "object",
            "description": self.comments.get(&message.parent_file(), message.path()),
            "properties": properties,
            "additionalProperties": false,
        });
        if let (false, Some(fields)) = (required.is_empty(), schema.as_object_mut()) {
            fields.insert("required".to_owned(), required.into());
        }
        schema
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                json!({ "type": "object", "additionalProperties": self.kind(&entry.map_entry_value_field().kind()) })
            }
            kind if field.is_list() => json!({ "type": "array", "items": self.kind(&kind) }),
            kind => self.kind(&kind),
        }
    }

    fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Double | Kind::Float => json!({ "type": "number" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({ "type": "integer", "format": "int32" }),
            Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
            // Responses have strings: not every reader of JSON has integers of 64 bits.
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({ "type": ["string", "integer"], "format": "int64", "pattern": "^-?[0-9]+$" })
            }
            Kind::Uint64 | Kind::Fixed64 => {
                json!({ "type": ["string", "integer"], "format": "uint64", "pattern": "^[0-9]+$" })
            }
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Enum(values) => self.enumeration(values),
            Kind::Message(message) => match message.full_name() {
                "google.protobuf.Timestamp" => json!({ "type": "string", "format": "date-time" }),
                "google.protobuf.Duration" => {
                    json!({ "type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$", "examples": ["3600s"] })
                }
                "google.protobuf.FieldMask" => json!({ "type": "string", "examples": ["displayName,scopes"] }),
                "google.protobuf.Struct" => json!({ "type": "object" }),
                _ => self.message(message),
            },
        }
    }

    fn enumeration(&mut self, values: &EnumDescriptor) -> Value {
        let name = values.full_name();
        if !self.found.contains_key(name) {
            let names: Vec<_> = values.values().map(|value| value.name().to_owned()).collect();
            let file = values.parent_file();
            let mut description = self.comments.get(&file, values.path()).to_owned();
            for value in values.values() {
                let comment = self.comments.get(&file, value.path()).replace('\n', " ");
                description.extend(["\n- `", value.name(), "`: ", comment.as_str()]);
            }
            let schema = json!({ "type": "string", "enum": names, "description": description });
            self.found.insert(name.to_owned(), schema);
        }
        reference(name)
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Returns the values of the option [`FIELD_BEHAVIOR`].
fn behavior(field: &FieldDescriptor) -> Vec<i32> {
    let Some(option) = field.parent_pool().get_extension_by_name(FIELD_BEHAVIOR) else { return Vec::new() };
    let options: DynamicMessage = field.options();
    let values = options.get_extension(&option);
    values.as_list().unwrap_or_default().iter().filter_map(Reflected::as_enum_number).collect()
}
