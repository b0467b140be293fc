//! A client of one replica: the generated client with a credential, and methods for the calls of the harness.

use std::time::Duration;

use anyhow::{Context as _, Result};
use key_authority_proto::v1::key_authority_client::KeyAuthorityClient;
use key_authority_proto::v1::{
    Account, AuditEvent, CreateAccountRequest, CreateKeyRequest, CreateKeyResponse, GetAuthorityStatusRequest,
    ListAuditEventsRequest, RevokeKeyRequest, RevokeKeyResponse, VerifyRequest, VerifyResponse, VerifyStreamRequest,
    VerifyStreamResponse,
};
use tokio_stream::Stream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt as _;

/// The account that owns all keys of the harness.
pub(crate) const ACCOUNT: &str = "faults";

/// Sets `authorization: Bearer <token>`.
#[derive(Debug, Clone)]
pub(crate) struct Credential(MetadataValue<Ascii>);

impl Interceptor for Credential {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A client. Clones share one connection. It connects on first use, and reconnects after a connection is lost.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    rpc: KeyAuthorityClient<InterceptedService<Channel, Credential>>,
}

impl Client {
    pub(crate) fn new(address: &str, token: &str) -> Result<Self> {
        let endpoint = Endpoint::try_from(format!("http://{address}")).context("invalid address")?;
        let channel = endpoint.connect_timeout(Duration::from_secs(2)).tcp_nodelay(true).connect_lazy();
        let credential = Credential(format!("Bearer {token}").parse().context("invalid token")?);
        Ok(Self { rpc: KeyAuthorityClient::with_interceptor(channel, credential) })
    }

    /// Calls `Verify` for a token.
    pub(crate) async fn verify(&self, token: &str) -> Result<VerifyResponse, Status> {
        Ok(self.rpc.clone().verify(verify_request(token)).await?.into_inner())
    }

    /// Opens a `VerifyStream`.
    pub(crate) async fn verify_stream(
        &self,
        requests: impl Stream<Item = VerifyStreamRequest> + Send + 'static,
    ) -> Result<Streaming<VerifyStreamResponse>, Status> {
        Ok(self.rpc.clone().verify_stream(requests).await?.into_inner())
    }

    /// Creates the account of the harness.
    pub(crate) async fn create_account(&self) -> Result<(), Status> {
        let account = Account { id: ACCOUNT.into(), ..Account::default() };
        let request = CreateAccountRequest { account: Some(account), request_id: String::new() };
        self.rpc.clone().create_account(request).await.map(drop)
    }

    /// Creates a key.
    pub(crate) async fn create_key(&self, request: CreateKeyRequest) -> Result<CreateKeyResponse, Status> {
        Ok(self.rpc.clone().create_key(request).await?.into_inner())
    }

    /// Creates a caller with the scope `verify` only, and returns its token.
    pub(crate) async fn create_verifier(&self) -> Result<String, Status> {
        let scopes = vec!["verify".to_owned()];
        let request = CreateKeyRequest { account: "system".into(), scopes, ..CreateKeyRequest::default() };
        Ok(self.create_key(request).await?.token)
    }

    /// Creates a caller that may change keys, and returns the ID of its key and its token.
    pub(crate) async fn create_key_writer(&self, request_id: &str) -> Result<(String, String), Status> {
        let request = CreateKeyRequest {
            account: "system".into(),
            scopes: vec!["keys.write".to_owned()],
            request_id: request_id.into(),
            ..CreateKeyRequest::default()
        };
        let created = self.create_key(request).await?;
        Ok((created.key.map(|key| key.id).unwrap_or_default(), created.token))
    }

    /// Revokes a key.
    pub(crate) async fn revoke(&self, key_id: &str, request_id: &str) -> Result<RevokeKeyResponse, Status> {
        let request = RevokeKeyRequest { key_id: key_id.into(), reason: String::new(), request_id: request_id.into() };
        Ok(self.rpc.clone().revoke_key(request).await?.into_inner())
    }

    /// The number of replicas with a lease, as far as this replica knows, and the number of registered ones.
    pub(crate) async fn replicas_alive(&self) -> Result<(usize, usize), Status> {
        let status = self.rpc.clone().get_authority_status(GetAuthorityStatusRequest {}).await?.into_inner();
        let has_lease = |left: &prost_types::Duration| left.seconds > 0 || left.nanos > 0;
        let alive = status.replicas.iter().filter(|replica| replica.lease_remaining.as_ref().is_some_and(has_lease));
        Ok((alive.count(), status.replicas.len()))
    }

    /// All audit events of the account of the harness.
    pub(crate) async fn events(&self) -> Result<Vec<AuditEvent>, Status> {
        self.list_events(ListAuditEventsRequest { account: ACCOUNT.into(), ..ListAuditEventsRequest::default() }).await
    }

    /// All audit events of a caller.
    pub(crate) async fn events_by(&self, key_id: &str) -> Result<Vec<AuditEvent>, Status> {
        self.list_events(ListAuditEventsRequest { actor: key_id.into(), ..ListAuditEventsRequest::default() }).await
    }

    async fn list_events(&self, filter: ListAuditEventsRequest) -> Result<Vec<AuditEvent>, Status> {
        let mut request = ListAuditEventsRequest { page_size: 1000, ..filter };
        let mut events = Vec::new();
        loop {
            let page = self.rpc.clone().list_audit_events(request.clone()).await?.into_inner();
            events.extend(page.events);
            if page.next_page_token.is_empty() {
                return Ok(events);
            }
            request.page_token = page.next_page_token;
        }
    }
}

/// A request for a new key, with a `request_id`.
pub(crate) fn new_key(request_id: &str) -> CreateKeyRequest {
    CreateKeyRequest { account: ACCOUNT.into(), request_id: request_id.into(), ..CreateKeyRequest::default() }
}

/// A request about a token, without scopes.
pub(crate) fn verify_request(token: &str) -> VerifyRequest {
    VerifyRequest { token: token.into(), ..VerifyRequest::default() }
}

/// Whether a call with this status must be retried: its outcome is unknown, or it had no effect.
pub(crate) fn is_retryable(status: &Status) -> bool {
    // tonic reports a lost connection under any of these codes.
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown)
}

/// The gRPC code of an error, and the reason in its `ErrorInfo` if there is one.
pub(crate) fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let reason = details.error_info().map_or("no connection", |info| info.reason.as_str());
    format!("{:?}: {reason}", status.code())
}
