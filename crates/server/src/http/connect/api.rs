//! The methods of the API with their message types, from the descriptor set.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use key_authority_proto::FILE_DESCRIPTOR_SET;
use key_authority_proto::v1::key_authority_server;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use tokio::sync::Semaphore;

/// The descriptor sets of the API cannot be read.
pub(crate) type ApiError = prost_reflect::DescriptorError;

/// A method of the API.
pub(in crate::http) struct ApiMethod {
    pub(super) input: MessageDescriptor,
    pub(super) output: MessageDescriptor,
    /// Whether either side may send more than one message.
    pub(super) is_streaming: bool,
}

/// The API by its descriptors.
pub(in crate::http) struct Api {
    methods: HashMap<String, ApiMethod>,
    pool: DescriptorPool,
    /// The messages of error details.
    pub(super) details: DescriptorPool,
    /// A decoded message can be many times as large as its text, so large requests are converted one at a time.
    pub(super) large_requests: Arc<Semaphore>,
    /// The same for responses, which do not wait for the requests of other callers.
    pub(super) large_responses: Semaphore,
    /// How long a response waits for its turn.
    pub(super) request_timeout: Duration,
}

impl Api {
    pub(in crate::http) fn read(request_timeout: Duration) -> Result<Self, ApiError> {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET)?;
        let service = pool.get_service_by_name(key_authority_server::SERVICE_NAME);
        let methods = service.iter().flat_map(|service| service.methods().collect::<Vec<_>>()).map(|method| {
            let (input, output) = (method.input(), method.output());
            let is_streaming = method.is_client_streaming() || method.is_server_streaming();
            (method.name().to_owned(), ApiMethod { input, output, is_streaming })
        });
        let details = DescriptorPool::decode(tonic_types::pb::FILE_DESCRIPTOR_SET)?;
        Ok(Self {
            methods: methods.collect(),
            pool,
            details,
            large_requests: Arc::new(Semaphore::new(1)),
            large_responses: Semaphore::new(1),
            request_timeout,
        })
    }

    /// Returns the descriptors of the API.
    pub(in crate::http) fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    /// Returns the method with this name.
    pub(super) fn get(&self, name: &str) -> Option<&ApiMethod> {
        self.methods.get(name)
    }
}
