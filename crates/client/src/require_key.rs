//! A `tower` layer that lets a request through only when its API key is allowed.
//!
//! It works on headers alone, so it fits every server that uses the `http` crate: axum, tonic, hyper.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use tower::{Layer, Service};

use crate::question::Question;
use crate::token::Token;
use crate::verdict::{KeyIdentity, Verdict};
use crate::verifier::Verifier;

mod headers;
mod rejection;

use headers::{ConflictingTokens, take_token};
use rejection::Rejection;

type WithRequest = dyn Fn(&Parts, Question) -> Question + Send + Sync;

/// A layer that requires an API key for each request.
///
/// It reads the token from `authorization: Bearer …` or `x-api-key`, and **removes it from the request**, so that the
/// service behind the layer cannot log it or pass it on. An allowed request has a [`KeyIdentity`] in its extensions.
/// Credentials of other schemes stay in the request.
///
/// The layer responds itself in these cases:
///
/// | case | HTTP | gRPC |
/// |---|---|---|
/// | no token, or the token is denied | 401 | `UNAUTHENTICATED` |
/// | the key lacks a scope, or is denied for the project or the network | 403 | `PERMISSION_DENIED` |
/// | different tokens, or a value from the request breaks a rule of [`Question`] | 400 | `INVALID_ARGUMENT` |
/// | there is no verdict, such as in an outage | 503 with `Retry-After` | `UNAVAILABLE` |
///
/// Responses 400, 401 and 403 carry `WWW-Authenticate` according to RFC 6750. A request counts as gRPC when its
/// `content-type` begins with `application/grpc`. Put routes that need no key, such as CORS and health checks, outside
/// of the layer.
///
/// A request waits for the verdict, at most for the verifier's deadline.
#[derive(Clone)]
pub struct RequireKey {
    verifier: Verifier,
    scopes: Vec<String>,
    account: Option<String>,
    project: Option<String>,
    with_request: Option<Arc<WithRequest>>,
}

impl std::fmt::Debug for RequireKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequireKey")
            .field("scopes", &self.scopes)
            .field("account", &self.account)
            .field("project", &self.project)
            .finish_non_exhaustive()
    }
}

impl RequireKey {
    /// Requires any valid key. Each further call adds a condition.
    #[must_use]
    pub fn new(verifier: Verifier) -> Self {
        Self { verifier, scopes: Vec::new(), account: None, project: None, with_request: None }
    }

    /// Requires that the key has these scopes, in addition to those of earlier calls.
    #[must_use]
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// Requires that the key belongs to this account.
    #[must_use]
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// Requires that the key covers this project.
    #[must_use]
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.project = Some(project.into());
        self
    }

    /// Adds conditions that depend on the request, such as its project or the client's address.
    ///
    /// The closure gets the request without its token, and a question that has the token and all fixed conditions. A
    /// second call replaces the closure. An empty value from the request does not remove a condition: the layer
    /// responds with 400.
    ///
    /// ```
    /// # fn guard(layer: key_authority_client::RequireKey) -> key_authority_client::RequireKey {
    /// // /projects/PROJECT/…
    /// layer.with_request(|request, question| {
    ///     question.project(request.uri.path().split('/').nth(2).unwrap_or_default())
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn with_request(mut self, add: impl Fn(&Parts, Question) -> Question + Send + Sync + 'static) -> Self {
        self.with_request = Some(Arc::new(add));
        self
    }

    fn build_question(&self, token: Token, parts: &Parts) -> Question {
        let mut question = Question::from_token(token).scopes(self.scopes.iter().cloned());
        if let Some(account) = &self.account {
            question = question.account(account);
        }
        if let Some(project) = &self.project {
            question = question.project(project);
        }
        match &self.with_request {
            Some(add) => add(parts, question),
            None => question,
        }
    }

    /// Removes the token from a request, and verifies it.
    async fn authorize(&self, parts: &mut Parts) -> Result<KeyIdentity, Rejection> {
        let token = match take_token(&mut parts.headers) {
            Ok(token) => token.ok_or(Rejection::MissingToken)?,
            Err(ConflictingTokens) => {
                return Err(Rejection::InvalidRequest("the request has more than one API key".to_owned()));
            }
        };
        let question = self.build_question(token, parts);
        match self.verifier.verify(&question).await {
            Ok(Verdict::Allowed(identity)) => Ok(identity),
            Ok(Verdict::Denied(denial)) => {
                Err(Rejection::Denied { denial, required_scopes: question.required_scopes().to_vec() })
            }
            Err(error) => Err(Rejection::from_error(&error)),
        }
    }
}

impl<S> Layer<S> for RequireKey {
    type Service = RequireKeyService<S>;

    fn layer(&self, inner: S) -> RequireKeyService<S> {
        RequireKeyService { inner, layer: Arc::new(self.clone()) }
    }
}

/// A service that gets only requests with an allowed key. [`RequireKey`] creates it.
#[derive(Debug, Clone)]
pub struct RequireKeyService<S> {
    inner: S,
    layer: Arc<RequireKey>,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for RequireKeyService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    ReqBody: Send + 'static,
    ResBody: Default,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        // `poll_ready` has reserved capacity in this instance, and not in a clone. So this instance takes the call.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let layer = Arc::clone(&self.layer);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match layer.authorize(&mut parts).await {
                Ok(identity) => {
                    parts.extensions.insert(identity);
                    inner.call(Request::from_parts(parts, body)).await
                }
                Err(rejection) => Ok(rejection.response(&parts.headers)),
            }
        })
    }
}

impl<S: tonic::server::NamedService> tonic::server::NamedService for RequireKeyService<S> {
    const NAME: &'static str = S::NAME;
}
