//! Calls of the authority: with the caller's token, a deadline, and another try where there was no answer.

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
use crate::errors::Error;

/// The generated client.
pub(crate) type Api = KeyAuthorityClient<Channel>;

/// How long to wait before the second try; each later pause is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How large an answer may be: a page of keys that each name a thousand projects.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A caller of one authority.
pub(crate) struct Client {
    api: Api,
    authorization: Option<MetadataValue<Ascii>>,
    timeout: Duration,
}

impl Client {
    /// Connects. When nobody is there it fails at once: the likeliest reason is a wrong address.
    pub(crate) async fn connect(target: Target) -> Result<Self, Error> {
        let Target { endpoint, authorization, timeout } = target;
        let channel = endpoint.connect().await.map_err(|source| Error::Unreachable {
            endpoint: endpoint.uri().to_string().trim_end_matches('/').to_owned(),
            source: source.into(),
        })?;
        let api = KeyAuthorityClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        Ok(Self { api, authorization, timeout })
    }

    /// Asks for something that changes nothing.
    pub(crate) async fn ask<Q: Clone, A, F>(&self, question: Q, rpc: impl Fn(Api, Request<Q>) -> F) -> Result<A, Error>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.call(question, rpc, false).await
    }

    /// Asks for a change. The request must carry a `request_id`: it is sent again, as it is, when it is not known what came of
    /// it, and the authority makes it once.
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
        let mut pause = FIRST_PAUSE;
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
            if !may_be_repeated(&status) {
                return Err(Error::Refused { status: Box::new(status), is_change });
            }
            if deadline.remaining() <= pause {
                // What the authority says of itself tells more than that we stopped waiting.
                let is_told = status.get_details_error_info().is_some();
                return Err(if is_told || deadline.remaining() > Duration::ZERO {
                    Error::Refused { status: Box::new(status), is_change }
                } else {
                    Error::NoAnswer { waited: self.timeout, is_change }
                });
            }
            if pause == FIRST_PAUSE {
                console::note(&format!("no answer yet ({}); asking again for up to {:?}", said(&status), self.timeout));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Whether a call that got this is made again: it is not known what came of it, or nothing did.
fn may_be_repeated(status: &Status) -> bool {
    // A connection that ends amid a call is told by tonic under any of these.
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown)
}

/// What a status says; one of the connection says little itself, and much in its causes.
pub(crate) fn said(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => crate::errors::chain(source),
        None => status.message().to_owned(),
    }
}
