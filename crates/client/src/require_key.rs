//! A layer that lets a request through when the holder of its token may do it.
//!
//! It reads the token (`require_key/presented`), asks a [`Verifier`], and either calls the service behind it or answers in its
//! place (`require_key/refusal`). It is about headers alone, so it fits every server over the `http` crate: axum, tonic, hyper.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use tower::{Layer, Service};

use crate::question::Question;
use crate::verdict::{KeyIdentity, Verdict};
use crate::verifier::Verifier;

mod presented;
mod refusal;

use presented::Presented;
use refusal::Refusal;

type Narrow = dyn Fn(&Parts, Question) -> Question + Send + Sync;

/// A layer that demands a key of each request.
///
/// The token is looked for in `authorization: Bearer …` and in `x-api-key`, and **taken out of the request**: what stands behind the
/// layer needs no secret that it might log or hand on. It finds a [`KeyIdentity`] in the request's extensions instead.
///
/// | what is wrong | HTTP | gRPC |
/// |---|---|---|
/// | no token, or one that is not accepted | 401 | `UNAUTHENTICATED` |
/// | the key may not do this: scope, project, network | 403 | `PERMISSION_DENIED` |
/// | two different tokens; a question that breaks the rules of its fields | 400 | `INVALID_ARGUMENT` |
/// | it could not be found out | 503 with `Retry-After` | `UNAVAILABLE` |
///
/// 401 and 403 carry `WWW-Authenticate` as RFC 6750 has it. A request is of gRPC when its `content-type` begins with
/// `application/grpc`. Put what answers without a key, such as CORS or health, outside of the layer.
///
/// A request waits for the answer of the authority, at most as long as the verifier's deadline.
#[derive(Clone)]
pub struct RequireKey {
    verifier: Verifier,
    scopes: Vec<String>,
    account: Option<String>,
    project: Option<String>,
    narrow: Option<Arc<Narrow>>,
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
    /// Demands any valid key. Each call after this one demands more of it.
    #[must_use]
    pub fn new(verifier: Verifier) -> Self {
        Self { verifier, scopes: Vec::new(), account: None, project: None, narrow: None }
    }

    /// The key must have these scopes, beside those named before.
    #[must_use]
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// The key must belong to this account.
    #[must_use]
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// The key must cover this project.
    #[must_use]
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.project = Some(project.into());
        self
    }

    /// Demands what the request itself says: its project, its client's address. The token is in the question already, and not in
    /// the request any more.
    ///
    /// An empty text that is taken from a request does not widen the question; it ends the request with 400.
    ///
    /// ```
    /// # fn guard(layer: key_authority_client::RequireKey) -> key_authority_client::RequireKey {
    /// // /projects/PROJECT/…
    /// layer.narrow(|request, question| {
    ///     question.project(request.uri.path().split('/').nth(2).unwrap_or_default())
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn narrow(mut self, narrow: impl Fn(&Parts, Question) -> Question + Send + Sync + 'static) -> Self {
        self.narrow = Some(Arc::new(narrow));
        self
    }

    fn question(&self, token: String, parts: &Parts) -> Question {
        let mut question = Question::new(token).scopes(self.scopes.iter().cloned());
        if let Some(account) = &self.account {
            question = question.account(account);
        }
        if let Some(project) = &self.project {
            question = question.project(project);
        }
        match &self.narrow {
            Some(narrow) => narrow(parts, question),
            None => question,
        }
    }

    /// Takes the token out of a request, and finds out whose it is and whether that key may do this.
    async fn admit(&self, parts: &mut Parts) -> Result<KeyIdentity, Refusal> {
        let token = match presented::take(&mut parts.headers) {
            Presented::Token(token) => token,
            Presented::Nothing => return Err(Refusal::NoToken),
            Presented::Several => return Err(Refusal::Invalid("more than one token is presented".to_owned())),
        };
        let question = self.question(token, parts);
        match self.verifier.verify(&question).await {
            Ok(Verdict::Allowed(identity)) => Ok(identity),
            Ok(Verdict::Denied(denial)) => Err(Refusal::Denied { denial, scopes: question.demanded_scopes().to_vec() }),
            Err(error) => Err(Refusal::undecided(&error)),
        }
    }
}

impl<S> Layer<S> for RequireKey {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, demand: Arc::new(self.clone()) }
    }
}

/// A service that only requests with a key reach; made by [`RequireKey`].
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    inner: S,
    demand: Arc<RequireKey>,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Guarded<S>
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
        // The one that was made ready is called; the clone has yet to be.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let demand = Arc::clone(&self.demand);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match demand.admit(&mut parts).await {
                Ok(identity) => {
                    parts.extensions.insert(identity);
                    inner.call(Request::from_parts(parts, body)).await
                }
                Err(refusal) => Ok(refusal.response(&parts.headers)),
            }
        })
    }
}

impl<S: tonic::server::NamedService> tonic::server::NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}
