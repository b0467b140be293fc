//! Client of Key Authority, for services that verify API keys.
//!
//! - [`Verifier`] asks the authority whether the holder of a token may do something. It keeps one stream open to each
//!   replica, balances questions over the healthy replicas, and repeats a question when its connection is lost.
//! - `RequireKey` is a `tower` layer that protects an HTTP or gRPC service with a [`Verifier`] (feature `tower`).
//!
//! ```no_run
//! use key_authority_client::{Question, Verdict, Verifier};
//!
//! # async fn ask(token: String) -> Result<(), Box<dyn std::error::Error>> {
//! let verifier = Verifier::builder()
//!     .endpoint("http://127.0.0.1:50051")
//!     .endpoint("http://127.0.0.1:50052")
//!     .token_file("checkout.token")
//!     .connect()
//!     .await?;
//! match verifier.verify(&Question::new(token).account("acme").scopes(["deploy"])).await? {
//!     Verdict::Allowed(key) => println!("{} of {} may deploy", key.key_id, key.account),
//!     Verdict::Denied(denial) => println!("denied: {}", denial.reason),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Verdicts and errors
//!
//! A [`Verdict`] is the authority's decision: [`Verdict::Allowed`] or [`Verdict::Denied`]. An [`Error`] means that
//! there is no decision. Never treat an error as a denial: respond with 503, not with 401 or 403.
//! [`Error::is_retryable`] says whether the same question can succeed later. The causes of an error are in its
//! [`source`](std::error::Error::source).
//!
//! # No caching
//!
//! The client does not cache verdicts. When a call that changes a key returns, every replica already enforces the
//! change. A cache would accept a revoked key until its entry expires. It would also save little: a question costs one
//! round trip and some microseconds on the server. A repeated question is safe, because Verify changes nothing and a
//! later answer is never older than an earlier one.
//!
//! # Requirements
//!
#![doc = concat!("- Rust ", env!("CARGO_PKG_RUST_VERSION"), " or later.")]
//! - A Tokio runtime with I/O and time enabled. [`VerifierBuilder::connect`] starts background tasks on it.
//! - For TLS, rustls. It uses the process-wide `CryptoProvider` if one is installed, and `ring` otherwise.
//!
//! # Features
//!
//! | feature | default | effect |
//! |---|---|---|
//! | `tower` | yes | the layer `RequireKey` |
//! | `health` | yes | watches `grpc.health.v1`; without it, a replica counts as healthy until a question fails there |
//! | `tls-native-roots` | yes | TLS that trusts the system's certificates by default |
//! | `tls-webpki-roots` | no | TLS that trusts Mozilla's certificates by default; `tls-native-roots` takes precedence |
//! | `tls` | yes | TLS; alone, it trusts only the certificates given to the builder. Both root features imply it |
//! | `tracing` | yes | log events for failed connections and undecided requests |

mod backoff;
mod builder;
mod endpoint_task;
mod error;
mod pool;
mod question;
mod replica_error;
#[cfg(feature = "tower")]
mod require_key;
mod session;
mod tls;
mod token;
mod token_source;
mod verdict;
mod verifier;

pub use builder::VerifierBuilder;
pub use error::{Error, SetupError};
pub use question::Question;
#[cfg(feature = "tower")]
pub use require_key::{RequireKey, RequireKeyService};
pub use verdict::{Denial, KeyIdentity, Reason, Verdict};
pub use verifier::Verifier;
