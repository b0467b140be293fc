//! The types of the messages that RPCs receive, by path.

use std::collections::HashMap;

use prost_reflect::{DescriptorError, DescriptorPool, MessageDescriptor};

/// The types of the requests of all RPCs, by HTTP path.
#[derive(Debug)]
pub(crate) struct RequestTypes(HashMap<String, MessageDescriptor>);

impl RequestTypes {
    /// Reads the services of encoded `FileDescriptorSet`s.
    ///
    /// # Errors
    /// When one of the sets does not decode, or is not complete.
    pub(crate) fn from_descriptor_sets<'a>(sets: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, DescriptorError> {
        let mut types = HashMap::new();
        for set in sets {
            for service in DescriptorPool::decode(set)?.services() {
                let of = |name: &str| format!("/{}/{name}", service.full_name());
                types.extend(service.methods().map(|method| (of(method.name()), method.input())));
            }
        }
        Ok(Self(types))
    }

    /// Returns the type of the messages of the RPC with this path, if the server has it.
    pub(crate) fn get(&self, path: &str) -> Option<MessageDescriptor> {
        self.0.get(path).cloned()
    }
}
