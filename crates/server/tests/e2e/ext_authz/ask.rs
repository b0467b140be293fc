//! A proxy as the authority meets it: its questions, and what it makes of the answers.

use std::collections::{BTreeMap, BTreeSet};

use key_authority_proto::ext_authz::attribute_context::{HttpRequest, Peer, Request as PeerRequest};
use key_authority_proto::ext_authz::authorization_client::AuthorizationClient;
use key_authority_proto::ext_authz::check_response::HttpResponse;
use key_authority_proto::ext_authz::header_value_option::HeaderAppendAction;
use key_authority_proto::ext_authz::*;
use serde_json::Value;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::support::Authority;

/// A proxy with a credential of its own, or without.
pub(crate) struct Proxy {
    channel: Channel,
    credential: Option<String>,
}

impl Proxy {
    pub(crate) fn new(channel: Channel, token: Option<&str>) -> Self {
        Self { channel, credential: token.map(|token| format!("Bearer {token}")) }
    }

    /// One that may ask about every account, and nothing else.
    pub(crate) async fn of(authority: &Authority) -> Self {
        let (key, _) = authority.new_caller(&["verify"], None).await;
        Self::new(authority.channel(), Some(&key.token))
    }

    pub(crate) async fn check(&self, asked: Asked) -> Result<CheckResponse, Status> {
        self.ask(asked.request()).await
    }

    pub(crate) async fn ask(&self, request: CheckRequest) -> Result<CheckResponse, Status> {
        let mut request = Request::new(request);
        if let Some(credential) = &self.credential {
            request.metadata_mut().insert("authorization", credential.parse().unwrap());
        }
        Ok(AuthorizationClient::new(self.channel.clone()).check(request).await?.into_inner())
    }

    /// What becomes of a request that passes.
    pub(crate) async fn allowed(&self, asked: Asked) -> Allowed {
        let shown = format!("{asked:?}");
        let answer = self.check(asked).await.unwrap_or_else(|status| panic!("{shown}: {status:?}"));
        let Some(HttpResponse::OkResponse(ok)) = answer.http_response else { panic!("{shown}: {answer:?}") };
        assert_eq!(answer.status.unwrap().code, 0, "{shown}");
        Allowed {
            told: values(ok.headers),
            removed: ok.headers_to_remove.into_iter().collect(),
            parameters: ok.query_parameters_to_remove,
        }
    }

    /// What the client of a request is told that does not pass.
    pub(crate) async fn denied(&self, asked: Asked) -> Denied {
        let shown = format!("{asked:?}");
        let answer = self.check(asked).await.unwrap_or_else(|status| panic!("{shown}: {status:?}"));
        let Some(HttpResponse::DeniedResponse(denied)) = answer.http_response else { panic!("{shown}: {answer:?}") };
        assert_ne!(answer.status.unwrap().code, 0, "{shown}");
        let mut headers = values(denied.headers);
        assert_eq!(headers.remove("content-type").as_deref(), Some("application/json"), "{shown}");
        let challenge = headers.remove("www-authenticate").unwrap_or_default();
        assert_eq!(headers, BTreeMap::new(), "{shown}");
        let code = denied.status.unwrap().code;
        Denied { code, challenge, body: serde_json::from_str(&denied.body).unwrap() }
    }
}

/// A request that passes.
#[derive(Debug)]
pub(crate) struct Allowed {
    pub(crate) told: BTreeMap<String, String>,
    pub(crate) removed: BTreeSet<String>,
    pub(crate) parameters: Vec<String>,
}

/// A request that does not.
#[derive(Debug)]
pub(crate) struct Denied {
    pub(crate) code: i32,
    pub(crate) challenge: String,
    pub(crate) body: Value,
}

/// Headers that are set in place of all others of their names, as a proxy of any version understands it.
fn values(headers: Vec<HeaderValueOption>) -> BTreeMap<String, String> {
    let count = headers.len();
    let values: BTreeMap<_, _> = headers
        .into_iter()
        .map(|option| {
            assert_eq!(option.append_action(), HeaderAppendAction::OverwriteIfExistsOrAdd);
            let header = option.header.unwrap();
            assert!(header.raw_value.is_empty(), "a proxy reads it in questions only");
            (header.key, header.value)
        })
        .collect();
    assert_eq!(values.len(), count, "each once");
    values
}

/// A request as a proxy tells of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    headers: Vec<(String, Vec<u8>)>,
    is_raw: bool,
    path: Vec<u8>,
    extensions: BTreeMap<String, String>,
    source: String,
}

impl Asked {
    /// A request with this path, and nothing else.
    pub(crate) fn of(path: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// A request with this token.
    pub(crate) fn bearer(token: &str) -> Self {
        Self::of("/").header("authorization", format!("Bearer {token}"))
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With the headers one by one.
    pub(crate) fn raw(mut self) -> Self {
        self.is_raw = true;
        self
    }

    /// On a route of which the configuration says this.
    pub(crate) fn route(mut self, name: &str, value: &str) -> Self {
        self.extensions.insert(name.to_owned(), value.to_owned());
        self
    }

    /// From a client at this address.
    pub(crate) fn from(mut self, source: &str) -> Self {
        source.clone_into(&mut self.source);
        self
    }

    fn request(self) -> CheckRequest {
        let Self { headers, is_raw, path, extensions, source } = self;
        let mut http = HttpRequest { path, ..HttpRequest::default() };
        if is_raw {
            let header = |(key, raw_value)| HeaderValue { key, raw_value, ..HeaderValue::default() };
            http.header_map = Some(HeaderMap { headers: headers.into_iter().map(header).collect() });
        } else {
            http.headers = headers.into_iter().collect();
        }
        let address = Some(Address { socket_address: Some(SocketAddress { address: source }) });
        let attributes = AttributeContext {
            source: Some(Peer { address }),
            request: Some(PeerRequest { http: Some(http) }),
            context_extensions: extensions,
        };
        CheckRequest { attributes: Some(attributes) }
    }
}
