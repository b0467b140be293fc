//! The stream of an import: a message, its answer, and the next.

use futures_util::{Stream, stream};
use key_authority_domain::permission::Permission;
use key_authority_proto::v1;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::service::{Caller, Service};
use crate::auth::permit::Credential;
use crate::rpc::deadline::Deadline;
use crate::rpc::decode_errors;
use crate::rpc::errors::RpcError;

const METHOD: &str = "ImportKeys";

/// An import that goes on.
pub(super) struct Imports {
    pub(super) service: Service,
    pub(super) credential: Credential,
    pub(super) caller: Caller,
    pub(super) deadline: Option<Deadline>,
    pub(super) messages: Streaming<v1::ImportKeysRequest>,
}

impl Imports {
    /// The answers, one for each message. The first message that fails ends them.
    pub(super) fn answers(self) -> impl Stream<Item = Result<v1::ImportKeysResponse, Status>> + Send {
        stream::try_unfold(self, Self::next)
    }

    async fn next(mut self) -> Result<Option<(v1::ImportKeysResponse, Self)>, Status> {
        let ending: &CancellationToken = &self.service.ending;
        // What has begun is brought to its end; only the next message is not waited for any more.
        let Some(message) = ending.run_until_cancelled(self.messages.message()).await else { return Ok(None) };
        let message = message.map_err(|status| decode_errors::failure(&status).map_or(status, Status::from))?;
        let Some(message) = message else { return Ok(None) };
        let outcome = self.import(message).await;
        let answer = self.service.outcome(METHOD, &self.caller, outcome)?;
        Ok(Some((answer, self)))
    }

    /// The caller is judged again, since its key may be revoked meanwhile.
    async fn import(&mut self, message: v1::ImportKeysRequest) -> Result<v1::ImportKeysResponse, RpcError> {
        let permit = self.service.callers.authorize_any(&self.credential, &[Permission::KeysWrite])?;
        self.caller.actor = permit.actor().ok();
        self.service.admin.until(self.deadline).import_keys(&permit, message).await
    }
}
