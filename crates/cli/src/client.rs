//! Calls to the authority, with the caller's token, a deadline, and retries if there is no response.

use std::future::Future;
use std::time::Duration;

use key_authority_proto::v1::key_authority_client::KeyAuthorityClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;

use crate::clock::Deadline;
use crate::connection::Target;
use crate::console;
use crate::errors::{self, Error};

/// The generated client.
pub(crate) type Api = KeyAuthorityClient<Channel>;

/// Delay before the first retry. It doubles with each further retry.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Maximum delay between retries.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Maximum size of a response, in bytes: a page of keys with a thousand projects each.
const RESPONSE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A client of one authority.
pub(crate) struct Client {
    api: Api,
    authorization: Option<MetadataValue<Ascii>>,
    timeout: Duration,
}

impl Client {
    /// Connects. It does not retry, because the most likely cause of an error is a wrong address.
    pub(crate) async fn connect(target: Target) -> Result<Self, Error> {
        let Target { endpoint, authorization, timeout } = target;
        let channel = endpoint.connect().await.map_err(|source| Error::Unreachable {
            endpoint: endpoint.uri().to_string().trim_end_matches('/').to_owned(),
            source: source.into(),
        })?;
        let api = KeyAuthorityClient::new(channel).max_decoding_message_size(RESPONSE_BYTES_MAX);
        Ok(Self { api, authorization, timeout })
    }

    /// Makes a call that changes nothing.
    pub(crate) async fn ask<Q: Clone, A, F>(&self, question: Q, rpc: impl Fn(Api, Request<Q>) -> F) -> Result<A, Error>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.call(question, rpc, false).await
    }

    /// Makes a call that changes something. The request must have a `request_id`: if the outcome is unknown, the same
    /// request is sent again, and the authority applies it once.
    pub(crate) async fn change<Q: Clone, A, F>(
        &self,
        request: Q,
        rpc: impl Fn(Api, Request<Q>) -> F,
    ) -> Result<A, Error>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.call(request, rpc, true).await
    }

    async fn call<Q: Clone, A, F>(
        &self,
        message: Q,
        rpc: impl Fn(Api, Request<Q>) -> F,
        is_change: bool,
    ) -> Result<A, Error>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let deadline = Deadline::after(self.timeout);
        let mut backoff = BACKOFF_MIN;
        loop {
            let mut request = Request::new(message.clone());
            request.set_timeout(deadline.remaining());
            if let Some(authorization) = &self.authorization {
                request.metadata_mut().insert("authorization", authorization.clone());
            }
            let status = match rpc(self.api.clone(), request).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            if !is_retryable(&status) {
                return Err(Error::Refused { status: Box::new(status), is_change });
            }
            if deadline.remaining() <= backoff {
                // An error of the authority is more specific than a timeout.
                let has_reason = status.get_details_error_info().is_some();
                return Err(if has_reason || deadline.remaining() > Duration::ZERO {
                    Error::Refused { status: Box::new(status), is_change }
                } else {
                    Error::NoAnswer { waited: self.timeout, is_change }
                });
            }
            if backoff == BACKOFF_MIN {
                console::note(&format!(
                    "no response yet ({}); retrying for up to {:?}",
                    errors::message(&status),
                    self.timeout
                ));
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }
}

/// Whether a call with this status is retried: its outcome is unknown, or it had no effect.
fn is_retryable(status: &Status) -> bool {
    // tonic reports a connection that is lost during a call with any of these.
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown)
}
