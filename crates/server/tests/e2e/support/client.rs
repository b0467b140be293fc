//! The generated client with a credential, and short words for what every scenario does.

use std::time::Duration;

use key_authority_proto::v1::key_authority_client::KeyAuthorityClient;
use key_authority_proto::v1::*;
use tokio_stream::Stream;
use tonic::metadata::Ascii;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

/// Sets `authorization: Bearer <token>`, if there is a token.
#[derive(Debug, Clone)]
pub(crate) struct Credential(Option<MetadataValue<Ascii>>);

impl Interceptor for Credential {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// A caller. Clones share the connection.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    rpc: KeyAuthorityClient<InterceptedService<Channel, Credential>>,
}

/// A key with its token, as the answer to its creation has them.
#[derive(Debug, Clone)]
pub(crate) struct NewKey {
    pub(crate) key: Key,
    pub(crate) token: String,
}

impl NewKey {
    /// The ID of the key.
    pub(crate) fn id(&self) -> String {
        self.key.id.clone()
    }
}

macro_rules! unary {
    ($($name:ident($request:ident) -> $response:ident;)*) => {
        impl Client {
            $(pub(crate) async fn $name(&self, request: $request) -> Result<$response, Status> {
                Ok(self.rpc.clone().$name(request).await?.into_inner())
            })*
        }
    };
}

unary! {
    verify(VerifyRequest) -> VerifyResponse;
    batch_verify(BatchVerifyRequest) -> BatchVerifyResponse;
    create_key(CreateKeyRequest) -> CreateKeyResponse;
    get_key(GetKeyRequest) -> Key;
    list_keys(ListKeysRequest) -> ListKeysResponse;
    update_key(UpdateKeyRequest) -> UpdateKeyResponse;
    disable_key(DisableKeyRequest) -> DisableKeyResponse;
    enable_key(EnableKeyRequest) -> EnableKeyResponse;
    revoke_key(RevokeKeyRequest) -> RevokeKeyResponse;
    revoke_keys(RevokeKeysRequest) -> RevokeKeysResponse;
    revoke_token(RevokeTokenRequest) -> RevokeTokenResponse;
    renew_token(RenewTokenRequest) -> RenewTokenResponse;
    renew_key(RenewKeyRequest) -> RenewKeyResponse;
    delete_key(DeleteKeyRequest) -> DeleteKeyResponse;
    reveal_token(RevealTokenRequest) -> RevealTokenResponse;
    prepare_connection(PrepareConnectionRequest) -> PrepareConnectionResponse;
    create_account(CreateAccountRequest) -> CreateAccountResponse;
    get_account(GetAccountRequest) -> Account;
    list_accounts(ListAccountsRequest) -> ListAccountsResponse;
    update_account(UpdateAccountRequest) -> UpdateAccountResponse;
    suspend_account(SuspendAccountRequest) -> SuspendAccountResponse;
    resume_account(ResumeAccountRequest) -> ResumeAccountResponse;
    delete_account(DeleteAccountRequest) -> DeleteAccountResponse;
    list_audit_events(ListAuditEventsRequest) -> ListAuditEventsResponse;
    create_portal_session(CreatePortalSessionRequest) -> CreatePortalSessionResponse;
    await_revision(AwaitRevisionRequest) -> AwaitRevisionResponse;
    accept_restore(AcceptRestoreRequest) -> AcceptRestoreResponse;
    get_authority_status(GetAuthorityStatusRequest) -> GetAuthorityStatusResponse;
}

impl Client {
    /// A caller with this `authorization`, whole.
    pub(crate) fn with_authorization(channel: Channel, value: Option<&str>) -> Self {
        let value = value.map(|value| value.parse().expect("a token is ASCII"));
        // The limit of the server is what the tests are about, not the client's.
        let rpc = KeyAuthorityClient::with_interceptor(channel, Credential(value)).max_decoding_message_size(64 << 20);
        Self { rpc }
    }

    /// Opens a stream of questions.
    pub(crate) async fn verify_stream(
        &self,
        questions: impl Stream<Item = VerifyStreamRequest> + Send + 'static,
    ) -> Result<Streaming<VerifyStreamResponse>, Status> {
        Ok(self.rpc.clone().verify_stream(questions).await?.into_inner())
    }

    /// Opens a stream of keys to import.
    pub(crate) async fn import_keys(
        &self,
        messages: impl Stream<Item = ImportKeysRequest> + Send + 'static,
    ) -> Result<Streaming<ImportKeysResponse>, Status> {
        Ok(self.rpc.clone().import_keys(messages).await?.into_inner())
    }

    /// Imports one message of keys.
    pub(crate) async fn import(&self, message: ImportKeysRequest) -> Result<ImportKeysResponse, Status> {
        let mut answers = self.import_keys(tokio_stream::iter([message])).await?;
        let answer = answers.message().await?.expect("an answer");
        assert!(answers.message().await?.is_none(), "no more than one");
        Ok(answer)
    }

    /// Creates an account.
    pub(crate) async fn new_account(&self, id: &str, policy: KeyPolicy) -> Account {
        let account = Account { id: id.into(), policy: Some(policy), ..Account::default() };
        let request = CreateAccountRequest { account: Some(account), request_id: String::new() };
        self.create_account(request).await.unwrap().account.unwrap()
    }

    /// Creates a key.
    pub(crate) async fn new_key(&self, request: CreateKeyRequest) -> NewKey {
        let answer = self.create_key(request).await.unwrap();
        NewKey { key: answer.key.unwrap(), token: answer.token }
    }

    /// Creates a key of which nothing is said but the account.
    pub(crate) async fn key_in(&self, account: &str) -> NewKey {
        self.new_key(key_for(account)).await
    }

    /// Reads a key.
    pub(crate) async fn key(&self, id: &str) -> Key {
        self.get_key(GetKeyRequest { key_id: id.into() }).await.unwrap()
    }

    /// Revokes a key, and says how that reached the replicas.
    pub(crate) async fn revoke_everywhere(&self, id: &str) -> Propagation {
        let request = RevokeKeyRequest { key_id: id.into(), ..RevokeKeyRequest::default() };
        self.revoke_key(request).await.unwrap().propagation.unwrap()
    }

    /// Revokes a key within a time.
    pub(crate) async fn revoke_within(
        &self,
        request: RevokeKeyRequest,
        patience: Duration,
    ) -> Result<RevokeKeyResponse, Status> {
        let mut request = Request::new(request);
        request.set_timeout(patience);
        Ok(self.rpc.clone().revoke_key(request).await?.into_inner())
    }

    /// Revokes a key.
    pub(crate) async fn revoke(&self, id: &str) -> Key {
        let request = RevokeKeyRequest { key_id: id.into(), ..RevokeKeyRequest::default() };
        self.revoke_key(request).await.unwrap().key.unwrap()
    }

    /// All keys of an account, on one page.
    pub(crate) async fn keys_of(&self, account: &str) -> Vec<Key> {
        let request = ListKeysRequest { account: account.into(), page_size: 1000, ..ListKeysRequest::default() };
        self.list_keys(request).await.unwrap().keys
    }

    /// All events, page by page.
    pub(crate) async fn events(&self, filter: ListAuditEventsRequest) -> Vec<AuditEvent> {
        let mut request = ListAuditEventsRequest { page_size: 1000, ..filter };
        let mut events = Vec::new();
        loop {
            let page = self.list_audit_events(request.clone()).await.unwrap();
            events.extend(page.events);
            if page.next_page_token.is_empty() {
                return events;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// The answer to a question about a token.
    pub(crate) async fn ask(&self, token: &str) -> VerifyResponse {
        self.verify(question(token)).await.unwrap()
    }

    /// The verdict about a token.
    pub(crate) async fn verdict(&self, token: &str) -> Verdict {
        self.ask(token).await.verdict()
    }

    /// The answer to a question that names the account, as a question about a caller's token must.
    pub(crate) async fn ask_in(&self, account: &str, token: &str) -> VerifyResponse {
        self.verify(VerifyRequest { account: account.into(), ..question(token) }).await.unwrap()
    }

    /// The verdict about a caller's token.
    pub(crate) async fn caller_verdict(&self, token: &str) -> Verdict {
        self.ask_in("system", token).await.verdict()
    }

    /// The verdict about a token in a project.
    pub(crate) async fn verdict_in(&self, token: &str, project: &str) -> Verdict {
        let question = VerifyRequest { project: project.into(), ..question(token) };
        self.verify(question).await.unwrap().verdict()
    }
}

/// A question about a token, and nothing else.
pub(crate) fn question(token: &str) -> VerifyRequest {
    VerifyRequest { token: token.into(), ..VerifyRequest::default() }
}

/// A question about a caller's token.
pub(crate) fn caller_question(token: &str) -> VerifyRequest {
    VerifyRequest { account: "system".into(), ..question(token) }
}

/// A key of which nothing is said but the account.
pub(crate) fn key_for(account: &str) -> CreateKeyRequest {
    CreateKeyRequest { account: account.into(), ..CreateKeyRequest::default() }
}

/// Every client connected to a server, with a key of which nothing is said but the account.
pub(crate) fn connection_of(account: &str) -> PrepareConnectionRequest {
    PrepareConnectionRequest {
        account: account.into(),
        server_name: "acme".into(),
        url: "https://mcp.example.com/mcp".into(),
        ..PrepareConnectionRequest::default()
    }
}

/// These projects and no others.
#[expect(clippy::unnecessary_wraps, reason = "as the fields of requests have it")]
pub(crate) fn only(projects: &[&str]) -> Option<ProjectAccess> {
    Some(ProjectAccess { all: false, only: projects.iter().map(|&project| project.into()).collect() })
}

/// All projects.
#[expect(clippy::unnecessary_wraps, reason = "as the fields of requests have it")]
pub(crate) fn all_projects() -> Option<ProjectAccess> {
    Some(ProjectAccess { all: true, only: Vec::new() })
}

/// The paths of a mask.
#[expect(clippy::unnecessary_wraps, reason = "as the fields of requests have it")]
pub(crate) fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
    Some(prost_types::FieldMask { paths: paths.iter().map(|&path| path.into()).collect() })
}

/// Every permission there is.
pub(crate) const PERMISSIONS: [&str; 10] = [
    "verify",
    "keys.read",
    "keys.write",
    "keys.revoke",
    "tokens.reveal",
    "accounts.read",
    "accounts.write",
    "audit.read",
    "portal.write",
    "operate",
];
