//! Messages as JSON, by protobuf's mapping.
//!
//! Errors state where the text is wrong. They never repeat a value, which may be a secret in the wrong field.

use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};

use super::malformed::malformed;
use super::names;
use crate::rpc::errors::RpcError;

/// Appends the message of this type that `text` is the JSON of.
///
/// # Errors
/// `INVALID_ARGUMENT` if the text is no JSON, or has an unknown field, a repeated field or a value of another type.
pub(super) fn append_message(input: &MessageDescriptor, text: &[u8], out: &mut Vec<u8>) -> Result<(), RpcError> {
    names::check(input, text)?;
    let mut reader = serde_json::Deserializer::from_slice(text);
    let message = DynamicMessage::deserialize(input.clone(), &mut reader).map_err(|error| malformed(&error))?;
    // It fails only for a buffer that does not grow.
    let _ = message.encode(out);
    Ok(())
}

/// Returns the JSON of a message of this type.
///
/// # Errors
/// When the bytes are no such message.
pub(super) fn text_of(output: MessageDescriptor, message: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    Ok(serde_json::to_vec(&DynamicMessage::decode(output, message)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use key_authority_proto::v1::{BatchVerifyRequest, CreateKeyRequest, VerifyRequest};
    use prost::Name;
    use prost_reflect::DescriptorPool;

    fn read<M: prost::Message + Name + Default>(text: &str) -> Result<M, String> {
        let pool = DescriptorPool::decode(key_authority_proto::FILE_DESCRIPTOR_SET).unwrap();
        let input = pool.get_message_by_name(&M::full_name()).unwrap();
        let mut message = Vec::new();
        append_message(&input, text.as_bytes(), &mut message).map_err(|error| error.message())?;
        Ok(M::decode(&message[..]).unwrap())
    }

    #[test]
    fn both_names_of_a_field_are_read() {
        let expected = VerifyRequest { client_ip: "10.0.0.1".into(), ..VerifyRequest::default() };
        assert_eq!(read(r#"{"clientIp": "10.0.0.1"}"#), Ok(expected.clone()));
        assert_eq!(read(r#"{"client_ip": "10.0.0.1", "token": null}"#), Ok(expected));
    }

    #[test]
    fn a_text_of_very_many_values_is_refused_before_it_is_converted() {
        use super::names::VALUES_MAX;

        let scopes = |count: usize| format!(r#"{{"scopes":[{}""]}}"#, r#""","#.repeat(count - 1));
        // The list itself is a field.
        assert!(read::<CreateKeyRequest>(&scopes(VALUES_MAX - 1)).is_ok());
        for text in [scopes(VALUES_MAX), format!(r#"{{"requests":[{}{{}}]}}"#, "{},".repeat(VALUES_MAX))] {
            let read = if text.starts_with(r#"{"s"#) {
                read::<CreateKeyRequest>(&text).map(drop)
            } else {
                read::<BatchVerifyRequest>(&text).map(drop)
            };
            let error = read.unwrap_err();
            assert!(error.starts_with("body must have at most 100000 fields and elements of lists"), "{error}");
        }
    }

    #[test]
    fn an_error_says_where_and_repeats_no_value() {
        for (text, error) in [
            ("", "body must be JSON: EOF while parsing a value at line 1 column 0"),
            ("{\"keyId\":\n\"canary\",}", "body must be JSON: trailing comma at line 2 column 10"),
            ("{} {}", "body must be JSON: trailing characters at line 1 column 4"),
            ("[]", "body must be an object; see line 1 column 2"),
            (
                r#"{"scops": ["canary"]}"#,
                "scops must be a field of keyauthority.v1.CreateKeyRequest; see line 1 column 8",
            ),
            (r#"{"scopes": ["a"], "scopes": []}"#, "scopes must be set once; see line 1 column 26"),
            (r#"{"key_id": "a", "keyId": "b"}"#, "keyId must be set once; see line 1 column 23"),
            (r#"{"labels": {"a": "1", "a": "2"}}"#, "labels.a must be set once; see line 1 column 25"),
            (
                r#"{"projects": {"al": true}}"#,
                "projects.al must be a field of keyauthority.v1.ProjectAccess; see line 1 column 18",
            ),
            (
                r#"{"scopes": "canary"}"#,
                "body must have values of the types that the API defines; see line 1 column 19",
            ),
        ] {
            let found = read::<CreateKeyRequest>(text).unwrap_err();
            assert_eq!(found, error, "{text}");
        }
    }
}
