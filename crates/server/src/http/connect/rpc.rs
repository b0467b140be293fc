//! The gRPC services of this process.

use std::pin::Pin;
use std::sync::Arc;

use tonic::body::Body as RpcBody;

use super::body::RequestBody;
use crate::transport::limits::BoxError;

/// The largest request of the method with a path, in bytes.
type RequestLimit = dyn Fn(&str) -> Option<usize> + Send + Sync;
/// A call of a gRPC service.
pub(crate) type RpcFuture = Pin<Box<dyn Future<Output = Result<http::Response<RpcBody>, BoxError>> + Send>>;

/// The gRPC services of this process, for the calls of one connection. Clones share them.
#[derive(Clone)]
pub(crate) struct Rpc {
    pub(super) call: Arc<dyn Fn(http::Request<RequestBody>) -> RpcFuture + Send + Sync>,
    pub(super) bytes_max: Arc<RequestLimit>,
}

impl Rpc {
    /// Makes calls by `call`. `bytes_max` returns the largest request of the method with a path, in bytes, if the
    /// method reads requests before it knows the caller.
    pub(crate) fn new(
        call: impl Fn(http::Request<RequestBody>) -> RpcFuture + Send + Sync + 'static,
        bytes_max: impl Fn(&str) -> Option<usize> + Send + Sync + 'static,
    ) -> Self {
        Self { call: Arc::new(call), bytes_max: Arc::new(bytes_max) }
    }
}
