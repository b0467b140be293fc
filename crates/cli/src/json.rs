//! Conversion of messages to and from JSON with the descriptors of the API. The format is the same as that of grpcurl.

use std::sync::LazyLock;

use key_authority_proto::FILE_DESCRIPTOR_SET;
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde::Serialize;

use crate::errors::Error;
use crate::escape;

/// Converts a message to JSON.
pub(crate) fn text<M: Message + Name>(message: &M) -> Result<String, Error> {
    pretty(&dynamic(message)?)
}

/// Converts a message to a JSON value.
pub(crate) fn value<M: Message + Name>(message: &M) -> Result<serde_json::Value, Error> {
    serde_json::to_value(dynamic(message)?).map_err(|error| Error::Json(error.to_string()))
}

/// Converts a value to JSON on several lines, without characters that would act on a terminal.
pub(crate) fn pretty(value: &impl Serialize) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Json(error.to_string()))?;
    Ok(escape::json(&text))
}

fn dynamic<M: Message + Name>(message: &M) -> Result<DynamicMessage, Error> {
    DynamicMessage::decode(descriptor::<M>()?, message.encode_to_vec().as_slice())
        .map_err(|error| Error::Json(error.to_string()))
}

/// Parses a message from JSON. The caller adds the name of the file to the error.
pub(crate) fn read<M: Message + Name + Default>(text: &str) -> Result<M, Error> {
    let json = |error: &dyn std::fmt::Display| Error::Usage(error.to_string());
    let mut reader = serde_json::Deserializer::from_str(text);
    let dynamic = DynamicMessage::deserialize(descriptor::<M>()?, &mut reader).map_err(|error| json(&error))?;
    reader.end().map_err(|error| json(&error))?;
    dynamic.transcode_to().map_err(|error| json(&error))
}

/// Converts a JSON value to a message. Errors are dropped, because they may contain values, which may be secrets.
pub(crate) fn message<M: Message + Name + Default>(value: serde_json::Value) -> Option<M> {
    DynamicMessage::deserialize(descriptor::<M>().ok()?, value).ok()?.transcode_to().ok()
}

fn descriptor<M: Name>() -> Result<MessageDescriptor, Error> {
    static POOL: LazyLock<Result<DescriptorPool, String>> =
        LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).map_err(|error| error.to_string()));
    let pool = POOL.as_ref().map_err(|error| Error::Json(error.clone()))?;
    let name = M::full_name();
    pool.get_message_by_name(&name).ok_or_else(|| Error::Json(format!("unknown message {name}")))
}

#[cfg(test)]
mod tests {
    use key_authority_proto::v1::{CreateAccountRequest, Key, ProjectAccess};

    use super::*;

    #[test]
    fn a_message_is_printed_as_proto3_json() {
        let key = Key {
            id: "ci".into(),
            state: 1,
            use_count: 7,
            projects: Some(ProjectAccess { all: true, only: Vec::new() }),
            expire_time: Some(prost_types::Timestamp { seconds: 1_801_396_800, nanos: 0 }),
            ..Key::default()
        };
        let shown: serde_json::Value = serde_json::from_str(&text(&key).unwrap()).unwrap();
        let expected = serde_json::json!({
            "id": "ci", "state": "KEY_STATE_ACTIVE", "projects": {"all": true}, "useCount": "7",
            "expireTime": "2027-01-31T12:00:00Z",
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_example_policies_can_be_parsed() {
        let example = include_str!("../../../docs/examples/meko.json");
        let account = read::<CreateAccountRequest>(example).unwrap().account.unwrap();
        assert_eq!(account.id, "meko-user-42");
        assert_eq!(account.policy.unwrap().max_keys, 10);
        for wrong in ["", "{", "{} {}", r#"{"acount": {}}"#] {
            assert!(read::<CreateAccountRequest>(wrong).is_err(), "{wrong}");
        }
    }
}
