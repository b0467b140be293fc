//! The stream of `ImportKeys`: one response for each message.

use std::sync::Arc;

use futures_util::{Stream, stream};
use key_authority_domain::permission::Permission;
use key_authority_proto::v1;
use tonic::{Status, Streaming};

use super::context::Admin;
use crate::auth::call::{CallAuthorizer, CallContext};
use crate::rpc::decode_errors;
use crate::rpc::errors::RpcError;

/// A running import stream.
pub(super) struct ImportStream {
    pub(super) admin: Arc<Admin>,
    pub(super) calls: CallAuthorizer,
    pub(super) context: CallContext,
    pub(super) messages: Streaming<v1::ImportKeysRequest>,
}

impl ImportStream {
    /// Returns the responses, one for each message. The first failed message ends the stream.
    pub(super) fn responses(self) -> impl Stream<Item = Result<v1::ImportKeysResponse, Status>> + Send {
        stream::try_unfold(self, Self::next)
    }

    async fn next(mut self) -> Result<Option<(v1::ImportKeysResponse, Self)>, Status> {
        // A message that has begun is completed; the end of the connection only ends the wait for the next one.
        let message = self.context.closing().run_until_cancelled(self.messages.message()).await;
        let Some(message) = message else { return Ok(None) };
        let message = message.map_err(|status| decode_errors::from_status(&status).map_or(status, Status::from))?;
        let Some(message) = message else { return Ok(None) };
        let outcome = self.import(message).await;
        let response = self.calls.answer(&self.context, outcome)?;
        Ok(Some((response, self)))
    }

    /// Imports a message. The caller is authorized for each message, since its key may be revoked in the meantime.
    async fn import(&self, message: v1::ImportKeysRequest) -> Result<v1::ImportKeysResponse, RpcError> {
        let call = self.calls.authorize(&self.context, &[Permission::KeysWrite])?;
        self.admin.import_keys(&call, message).await
    }
}
